//! `cgprocfs answer`: answers system calls for the containers of OCI runtimes.

use super::failure::Failure;
use crate::confinement::sandbox::{self, Refusal};
use crate::containers::bind::DIRECTORY;
use crate::containers::seccomp_profile::SOCKET;
use crate::lifecycle::daemon::DaemonError;
use crate::syscalls::{Answering, CallTable, Listener, Pool, ServedNumbers, oci};
use crate::{limits, sys};
use rustix::fs::{MemfdFlags, memfd_create};
use sd_notify::NotifyState;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Answer containers' sysinfo(2) and sched_getaffinity(2), which no file covers
///
/// OCI runtimes hand the calls of a container over at the socket if its seccomp profile says so: see
/// `cgprocfs seccomp-profile`. The numbers are those of the daemon's files.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where the daemon mounts
    #[arg(default_value = DIRECTORY)]
    directory: PathBuf,
    /// Where runtimes hand over calls, unless systemd listens there
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
}

/// How listeners are named in systemd's descriptor store, with a number behind it. It drops each once its
/// container has ended.
const LISTENER: &str = "listener-";
/// How the table of calls is named there.
const TABLE: &str = "calls";

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let failed = |what: &str| {
        let what = what.to_string();
        move |e: io::Error| Failure::Other(format!("{what}: {e}"))
    };
    sys::share_one_heap();
    // There is a listener for each container.
    let _ = limits::raise_open_files();
    let passed = sys::passed_descriptors().map_err(failed("cannot take what systemd has passed"))?;
    let (mut sockets, mut tables, mut stored) = (Vec::new(), Vec::new(), Vec::new());
    for (descriptor, name) in passed {
        match name.strip_prefix(LISTENER).map(str::parse) {
            Some(Ok(number)) => stored.push((number, Listener::new(descriptor))),
            _ if name == TABLE => tables.push(descriptor),
            _ => sockets.push(descriptor),
        }
    }
    let socket = match sockets.pop() {
        Some(socket) => UnixListener::from(socket),
        None => listen(&arguments.socket)?,
    };
    let table = tables.pop().map_or_else(new_table, Ok).map_err(failed("cannot make a table of calls"))?;
    let table = CallTable::open(table.as_fd()).map_err(failed("cannot map the table of calls"))?;
    let numbers = ServedNumbers::new(arguments.directory.join("live"));
    let pool = Pool::new(Answering::new(numbers, None)).map_err(failed("cannot wait for calls"))?;
    let next_number = stored.iter().map(|(number, _)| *number).max().unwrap_or(0) + 1;
    let containers = stored.len();
    // Capabilities are each thread's own and inherited, so they are dropped before any thread is started.
    sandbox::keep_only(sandbox::ANSWERING_CAPABILITIES).map_err(DaemonError::from)?;
    sandbox::restrict_answering(Refusal::OF_BUILD).map_err(DaemonError::from)?;
    let mut left = table.left();
    for (number, listener) in stored {
        let (own, others) = left.into_iter().partition(|left| left.listener == number);
        left = others;
        let listener = listener.tracked(table, number);
        listener.pass_unnoted();
        if let Err(error) = pool.add(listener, own) {
            log::error!("cannot wait for a container's calls, so that it waits for answers: {error}");
        }
    }
    let accepting = Arc::clone(&pool);
    let accept = move || accept(&socket, &accepting, table, next_number);
    thread::Builder::new().name("accept".into()).spawn(accept).map_err(failed("cannot start a thread"))?;
    log::info!("answering the calls of {containers} containers, and of those that start");
    notify(&[NotifyState::Ready], &[]);
    pool.run().map_err(failed("cannot wait for calls"))?;
    Ok(ExitCode::SUCCESS)
}

/// Memory that systemd keeps.
fn new_table() -> io::Result<OwnedFd> {
    let table = memfd_create("calls", MemfdFlags::CLOEXEC)?;
    store(TABLE, table.as_fd());
    Ok(table)
}

/// Listens at a path, in the place of whoever listened there before and has ended.
fn listen(path: &Path) -> Result<UnixListener, Failure> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        // Whoever made it has ended.
        let _ = fs::remove_file(path);
    }
    // Runtimes run as root.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    UnixListener::bind(path).map_err(|e| {
        let path = path.display();
        Failure::Other(format!(
            "cannot listen at {path}: {e}; end what listens there, or name another by --socket"
        ))
    })
}

/// Takes the listeners of containers from runtimes, one after the other.
fn accept(socket: &UnixListener, pool: &Arc<Pool>, table: CallTable, mut number: u64) {
    loop {
        let listener = match socket.accept() {
            Ok((runtime, _)) => oci::receive(&runtime),
            Err(error) => Err(error),
        };
        let taken = listener.and_then(|listener| {
            // Before its first call is received.
            store(&format!("{LISTENER}{number}"), listener.as_fd());
            pool.add(listener.tracked(table, number), Vec::new())
        });
        number += 1;
        if let Err(error) = taken {
            log::warn!("a runtime has handed over no listener, so that its container's calls fail: {error}");
            // Where too many files are open, the next attempt fails as well.
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Has systemd keep a descriptor: without its listener the calls of a container would fail.
fn store(name: &str, descriptor: BorrowedFd<'_>) {
    notify(&[NotifyState::FdStore, NotifyState::FdName(name)], &[descriptor]);
}

fn notify(state: &[NotifyState<'_>], descriptors: &[BorrowedFd<'_>]) {
    let told = match descriptors.is_empty() {
        true => sd_notify::notify(state),
        false => sd_notify::notify_with_fds(state, descriptors),
    };
    if let Err(error) = told {
        log::warn!("cannot notify systemd: {error}");
    }
}
