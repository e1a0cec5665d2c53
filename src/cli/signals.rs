//! Signals to the daemon, as events.

use super::failure::Failure;
use nix::sys::signal::{SigSet, Signal};
use std::io;
use std::thread;

/// Signals that end the daemon wait until they are forwarded. To be called before any thread is made: they
/// inherit it.
pub(super) fn block_signals() -> Result<SigSet, Failure> {
    let signals = SigSet::from_iter([
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        // lxcfs reloads on the one and is told what to show by the other. Either would kill a program that
        // does not take it.
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ]);
    signals.thread_block().map_err(|e| cannot_wait(e.into()))?;
    Ok(signals)
}

fn cannot_wait(error: io::Error) -> Failure {
    Failure::Other(format!("cannot wait for signals: {error}; check the limit on processes"))
}

/// Signals become events, so that the daemon ends by unmounting.
pub(super) fn forward_signals(
    signals: SigSet,
    mut forward: impl FnMut(Signal) -> bool + Send + 'static,
) -> Result<(), Failure> {
    let wait = move || {
        while let Ok(signal) = signals.wait() {
            if !forward(signal) {
                break;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map_err(cannot_wait)?;
    Ok(())
}
