//! The meter in a world where everything fails: seeded lives of the real core, ledger and followers on a simulated disk, clock
//! and network, each answer compared with an independent oracle.
//!
//! `METERD_SIM_SEEDS` (how many), `METERD_SIM_FROM` (the first), `METERD_SIM_STEPS` (steps a seed) make a long run; `METERD_SIM_TRACE` prints each
//! command with its answer. A seed that
//! fails is printed with the command that repeats it, and kept in `seeds.txt`, which is run first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]
#![allow(missing_docs, unreachable_pub)]

mod clocks;
mod disk;
#[cfg(feature = "mistakes")]
mod mistakes;
mod network;
mod oracle;
mod prng;
mod seeds;
mod tally;
mod translate;
mod words;
mod workload;
mod world;
