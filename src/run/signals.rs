//! Signals that this process gets are the program's.

use super::error::RunError;
use crate::process::pidfd;
use cgprocfs_core::parse::pid::Pid;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::pidfd_send_signal;
use std::thread;

const FORWARDED: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGWINCH,
];

/// Keeps the signals from acting on this process. To be called before there are other threads.
pub(super) fn block() -> Result<SignalFd, RunError> {
    let signals = SigSet::from_iter(FORWARDED);
    let failed = |e: nix::Error| RunError::System("cannot block signals", e.into());
    signals.thread_block().map_err(failed)?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).map_err(failed)
}

/// Passes signals on to the program from now on, with those that came before.
pub(super) fn forward(signals: SignalFd, program: Pid) -> Result<(), RunError> {
    // By its descriptor: the number may be another process's once the program has ended.
    let program = pidfd(program).map_err(|e| RunError::System("cannot watch the program", e))?;
    let pass_on = move || {
        while let Ok(Some(info)) = signals.read_signal() {
            // The kernel has sent the program what a terminal's keys send; that the terminal hung up it tells
            // the leader of the session alone.
            let for_us_only = info.ssi_code <= 0 || info.ssi_signo == Signal::SIGHUP as u32;
            let signal = i32::try_from(info.ssi_signo).ok().and_then(rustix::process::Signal::from_named_raw);
            if let (true, Some(signal)) = (for_us_only, signal) {
                // The program may have ended meanwhile.
                let _ = pidfd_send_signal(&program, signal);
            }
        }
    };
    let thread = thread::Builder::new().name("signals".into()).spawn(pass_on);
    thread.map(drop).map_err(|e| RunError::System("cannot start a thread", e))
}
