//! A mount and the threads that serve it.

mod mount;

pub use self::mount::{MountError, attach, mount, unmount};

use crate::fuse::ViewFs;
use fuser::{Config, Session, SessionACL};
use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};

/// How many threads serve: as many as processors, from two to four. A second one doubles what two readers get. Idle ones
/// take turns, so that each more than needed makes a single reader slower.
#[must_use]
pub fn threads() -> usize {
    thread::available_parallelism().map_or(2, NonZero::get).clamp(2, 4)
}

/// Starts to serve a connection. The thread ends when the file system is unmounted everywhere, or the
/// connection is aborted; it is `ended` that is called then.
///
/// # Errors
/// Where the kernel's greeting is not understood, or no thread can be made.
pub fn serve(
    fs: ViewFs,
    device: OwnedFd,
    ended: impl FnOnce(io::Result<()>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let mut config = Config::default();
    config.n_threads = Some(threads());
    // A request that was read through a clone of the device dies with that clone.
    config.clone_fd = false;
    let session = Session::from_fd(fs, device, SessionACL::All, config)?;
    thread::Builder::new().name("session".into()).spawn(move || ended(session.run()))
}
