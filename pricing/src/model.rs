//! Model and tool names: normalisation and match precedence. Never a price.
