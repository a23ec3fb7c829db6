//! The real binary, from outside, with real peers.
