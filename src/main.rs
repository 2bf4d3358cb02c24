//! The `tidegate` command: one crypto provider for all of TLS, then the command line, then one sentence if it fails.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use tidegate::cli;

/// Delivery takes entries apart into many small pieces on one thread per destination: with this allocator a record costs
/// the node a third less than with the C library's (docs/speed.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Fails only where one is installed already, and nothing came before this.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // The allocator keeps memory for each thread, and of a huge page that is hardly used all 2 MiB are resident: without
    // them a node has less than half of what it had, at no cost in time (docs/speed.md). Refused only by a kernel without them.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    // None in a program that was not built for tests.
    let _failpoints = tidegate_actors::failpoint::from_environment();
    let cli = cli::Cli::parse();
    match actix_rt::System::new().block_on(cli::run(cli)) {
        Ok(code) => code,
        // Whoever reads our output has gone: `tidegate export | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tidegate: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error with its causes; a cause that the sentence holds already is not said twice.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |sentence, cause| {
        let cause = cause.to_string();
        match sentence.as_str() {
            "" => cause,
            said if said.contains(&cause) => sentence,
            said => format!("{said}: {cause}"),
        }
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
