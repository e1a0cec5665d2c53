//! The program's system calls that are answered for it.

use super::error::RunError;
use crate::descriptors;
use crate::service::Service;
use crate::sys::Listening;
use crate::syscalls::{Answering, Call, Listener, program};
use cgprocfs_core::syscalls::sysinfo::UptimeOf;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

/// What the program is to install before it starts, and where its listener arrives then.
pub(super) fn prepare() -> Result<(Listening, UnixStream), RunError> {
    let (ours, theirs) = UnixStream::pair().map_err(|e| RunError::System("cannot make a socket", e))?;
    let program = program(&[Call::SysInfo, Call::GetAffinity]);
    Ok((Listening { program, to: OwnedFd::from(theirs) }, ours))
}

/// Answers the calls from now on, on a thread of its own. Where the kernel has refused the filter, it answers
/// them itself, with the numbers of the host.
pub(super) fn answer(service: &Arc<Service>, from: &UnixStream, uptime: UptimeOf) -> Result<(), RunError> {
    let listener = match listener(from) {
        Ok(listener) => listener,
        Err(error) => {
            log::warn!("the program's sysinfo(2) and sched_getaffinity(2) are not answered: {error}");
            return Ok(());
        }
    };
    let answering = Answering::new(Arc::clone(service), Some(uptime));
    let thread = thread::Builder::new().name("syscalls".into()).spawn(move || answering.run(&listener));
    thread.map(drop).map_err(|e| RunError::System("cannot start a thread", e))
}

fn listener(from: &UnixStream) -> io::Result<Listener> {
    let mut error = [0; 4];
    let (length, descriptors) = descriptors::receive(from, &mut error)?;
    match (descriptors.into_iter().next(), i32::from_ne_bytes(error)) {
        (Some(descriptor), _) => Ok(Listener::new(descriptor)),
        (None, 1..) if length == error.len() => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(error))),
        (None, _) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
