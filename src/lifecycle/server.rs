//! The threads that serve a connection.

use super::connection::Connection;
use super::recovery;
use crate::fuse::{QuiesceGate, ViewFs, answer_again};
use crate::service::Service;
use cgprocfs_core::view::ViewId;
use fuser::{Config, Session, SessionACL};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Starts to serve a connection, be it new or a predecessor's. The thread ends when the file system is unmounted
/// everywhere, or the connection is aborted; it is `ended` that is called then.
///
/// # Errors
/// Where the kernel's greeting is not understood, or no thread can be made.
pub fn serve(
    connection: &Connection,
    service: &Arc<Service>,
    views: &[ViewId],
    gate: &Arc<QuiesceGate>,
    ended: impl FnOnce(io::Result<()>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    crate::failpoint::start();
    let server = (connection.generation(), connection.in_flight());
    let session = greeted(
        connection,
        ViewFs::new(Arc::clone(service), views, server, connection.is_read_only(), Arc::clone(gate)),
        gate.threads(),
    )?;
    // Before anything is answered from it.
    let waiters = service.attach(connection.state());
    let poisoned = recovery::settle(connection, gate.threads(), |request, in_flight, reply| {
        answer_again(service, views, *request, Arc::clone(in_flight), reply);
    })?;
    poisoned.iter().for_each(|&pid| service.leave_aside(pid));
    if !poisoned.is_empty() {
        log::warn!(
            "requests of the processes {poisoned:?} get an error: servers have ended, or hung, while they had them"
        );
    }
    let device = connection.device().try_clone_to_owned()?;
    // A waiter that is gone by now needs no word.
    let wake = move |waiter| drop(recovery::wake(device.as_fd(), waiter));
    waiters.into_iter().for_each(&wake);
    service.follow_triggers(wake)?;
    thread::Builder::new().name("session".into()).spawn(move || ended(session.run()))
}

/// `FUSE_ASYNC_DIO`, which is not to be asked for: the kernel would let a process have its direct reads answered while it does
/// something else (io_submit(2)), an exec say. That waits for the reads (`exit_aio()`, fs/aio.c), and whoever looks at the
/// process, as this one does to know who reads, for the exec. Without it who waits for our answer does nothing else.
const ASYNC_DIO: u32 = 1 << 15;

/// Whether an answer to the kernel's greeting asks for what one of the first 32 flags stands for.
fn asks_for(answer: &[u8], flag: u32) -> bool {
    /// Where flags are in `struct fuse_init_out` behind `struct fuse_out_header` (include/uapi/linux/fuse.h).
    const AT: usize = 16 + 12;
    let flags = answer.get(AT..AT + 4).and_then(|flags| flags.try_into().ok());
    flags.is_some_and(|flags| u32::from_ne_bytes(flags) & flag != 0)
}

/// A session that was greeted through a pair of sockets with what the kernel once said, and goes on with the
/// connection itself. Only the first server's answer is news to the kernel.
fn greeted(connection: &Connection, fs: ViewFs, threads: usize) -> io::Result<Session<ViewFs>> {
    let mut config = Config::default();
    config.n_threads = Some(threads);
    // A request that was read through a clone of the device dies with that clone.
    config.clone_fd = false;
    // Datagrams: one read is one message, as with the device.
    let (kernel, server) = UnixDatagram::pair()?;
    kernel.send(&connection.greeting())?;
    let session = Session::from_fd(fs, server.into(), SessionACL::All, config)?;
    let mut answer = [0; 4096];
    let length = kernel.recv(&mut answer)?;
    if asks_for(&answer[..length], ASYNC_DIO) {
        return Err(io::Error::other("the answer to the kernel's greeting asks for FUSE_ASYNC_DIO"));
    }
    crate::sys::replace(session.as_fd(), connection.device())?;
    recovery::reply(connection.device(), &answer[..length])?;
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_an_answer() {
        // FUSE_INIT of protocol 7.31, with FUSE_ASYNC_READ (1 << 0) and FUSE_BIG_WRITES (1 << 5).
        let mut answer = vec![0; 16 + 64];
        answer[28..32].copy_from_slice(&0x21_u32.to_ne_bytes());
        assert!(asks_for(&answer, 1) && asks_for(&answer, 1 << 5) && !asks_for(&answer, ASYNC_DIO));
        answer[28..32].copy_from_slice(&0x8021_u32.to_ne_bytes());
        assert!(asks_for(&answer, ASYNC_DIO));
        assert!(!asks_for(&answer[..24], ASYNC_DIO), "it has no flags");
    }
}
