//! The `meterd` binary: hands over to `cli`.
fn main() {}
