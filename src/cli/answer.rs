//! `cgprocfs answer`: answers system calls for the containers of OCI runtimes.

use super::failure::Failure;
use crate::confinement::sandbox::{self, Refusal};
use crate::containers::bind::DIRECTORY;
use crate::containers::seccomp_profile::SOCKET;
use crate::lifecycle::daemon::DaemonError;
use crate::syscalls::{Answering, Listener, Pool, ServedNumbers, oci};
use crate::{limits, sys};
use sd_notify::NotifyState;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

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

/// How listeners are named in systemd's descriptor store. It drops each once its container has ended.
const STORED: &str = "listener";

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let failed = |what: &str| {
        let what = what.to_string();
        move |e: io::Error| Failure::Other(format!("{what}: {e}"))
    };
    sys::share_one_heap();
    // There is a listener for each container.
    let _ = limits::raise_open_files();
    let passed = sys::passed_descriptors().map_err(failed("cannot take what systemd has passed"))?;
    let (stored, listening): (Vec<_>, Vec<_>) = passed.into_iter().partition(|(_, name)| name == STORED);
    let socket = match listening.into_iter().next() {
        Some((socket, _)) => UnixListener::from(socket),
        None => listen(&arguments.socket)?,
    };
    let numbers = ServedNumbers::new(arguments.directory.join("live"));
    let pool = Pool::new(Answering::new(numbers, None)).map_err(failed("cannot wait for calls"))?;
    let number = stored.len();
    for (listener, _) in stored {
        pool.add(Listener::new(listener)).map_err(failed("cannot wait for a container's calls"))?;
    }
    sandbox::keep_only(sandbox::ANSWERING_CAPABILITIES).map_err(DaemonError::from)?;
    sandbox::restrict_answering(Refusal::OF_BUILD).map_err(DaemonError::from)?;
    let accepting = Arc::clone(&pool);
    let accept = move || accept(&socket, &accepting);
    thread::Builder::new().name("accept".into()).spawn(accept).map_err(failed("cannot start a thread"))?;
    log::info!("answering the calls of {number} containers, and of those that start");
    notify(&[NotifyState::Ready], &[]);
    pool.run().map_err(failed("cannot wait for calls"))?;
    Ok(ExitCode::SUCCESS)
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
fn accept(socket: &UnixListener, pool: &Pool) {
    loop {
        let listener = match socket.accept() {
            Ok((runtime, _)) => oci::receive(&runtime),
            Err(error) => Err(error),
        };
        let taken = listener.and_then(|listener| {
            let copy = listener.as_fd().try_clone_to_owned()?;
            pool.add(listener)?;
            Ok(copy)
        });
        match taken {
            Ok(copy) => store(&copy),
            Err(error) => {
                log::warn!(
                    "a runtime has handed over no listener, so that its container waits for none: {error}"
                );
                // Where too many files are open, the next attempt fails as well.
                thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

/// Has systemd keep a listener: without one the calls of its container would fail.
fn store(listener: &OwnedFd) {
    notify(&[NotifyState::FdStore, NotifyState::FdName(STORED)], &[listener.as_fd()]);
}

fn notify(state: &[NotifyState<'_>], descriptors: &[std::os::fd::BorrowedFd<'_>]) {
    let told = match descriptors.is_empty() {
        true => sd_notify::notify(state),
        false => sd_notify::notify_with_fds(state, descriptors),
    };
    if let Err(error) = told {
        log::warn!("cannot notify systemd: {error}");
    }
}
