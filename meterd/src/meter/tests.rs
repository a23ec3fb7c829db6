//! The meter over a real directory: duplicates, conflicts, restart.
