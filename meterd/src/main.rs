//! The `meterd` binary: hands over to `cli`, and says where memory comes from. Nothing else.

use std::process::ExitCode;

/// A call is some dozens of small allocations that one thread makes and another frees: the system's allocator took a third of
/// the time that an event takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    meterd::cli::main()
}
