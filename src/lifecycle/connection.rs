//! A connection to the kernel: the open `/dev/fuse`, and the state that goes with it from one server to the
//! next.

use crate::fuse::seams::request_buffers;
use crate::mount::Anchors;
use crate::mount::Writes;
use crate::state::in_flight::{InFlightRequest, InFlightTable};
use crate::state::{PersistentState, StateError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Why a connection can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// What a predecessor has handed over is not understood.
    #[error("the previous daemon's memory has another format")]
    OtherVersion,
    /// The kernel has given the connection up.
    #[error("the connection was aborted")]
    Aborted,
    /// The kernel's INIT request is too long; its length in bytes.
    #[error("the kernel's first request has {0} bytes, more than can be kept")]
    InitTooLong(usize),
    /// A system call failed.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl From<StateError> for ConnectionError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::OtherFormat => Self::OtherVersion,
            StateError::InitTooLong(length) => Self::InitTooLong(length),
            StateError::System(error) => Self::System(error),
        }
    }
}

/// A connection on which the kernel has sent its INIT request.
pub struct Connection {
    device: OwnedFd,
    state: PersistentState,
    /// As it was when the connection was opened: others have the memory, too, and may write to it.
    mount_point: PathBuf,
}

impl Connection {
    /// Takes the kernel's INIT request from a file system that was just mounted on `mount_point`. The kernel
    /// sends it only once, and every server has to know it.
    ///
    /// # Errors
    /// Where the kernel sends none, or there is no memory.
    pub fn begin(device: OwnedFd, mount_point: &Path, writes: Writes) -> Result<Self, ConnectionError> {
        // The kernel refuses a buffer that could not hold its largest request (`fuse_dev_do_read()`,
        // fs/fuse/dev.c), which is FUSE_MIN_READ_BUFFER before anything was agreed upon.
        let mut request = vec![0; 64 << 10];
        let length = rustix::io::read(&device, &mut request).map_err(io::Error::from)?;
        request.truncate(length);
        let state = PersistentState::create(&request, mount_point, writes == Writes::Nothing)?;
        Ok(Self { device, state, mount_point: mount_point.into() })
    }

    /// Goes on with the connection of a predecessor.
    ///
    /// # Errors
    /// Where this is none, or one that is over.
    pub fn resume(device: OwnedFd, memory: OwnedFd) -> Result<Self, ConnectionError> {
        let connection = Self::look(device, memory)?;
        connection.resume_here()?;
        Ok(connection)
    }

    /// Makes this process the server of a connection that it has looked at.
    pub(crate) fn resume_here(&self) -> Result<(), ConnectionError> {
        if self.is_aborted()? {
            return Err(ConnectionError::Aborted);
        }
        self.state.attach();
        Ok(())
    }

    /// Looks at a connection that another process serves.
    ///
    /// # Errors
    /// Where the memory is not that of a connection.
    pub fn look(device: OwnedFd, memory: OwnedFd) -> Result<Self, ConnectionError> {
        let state = PersistentState::open(memory)?;
        let mount_point = state.mount_point();
        Ok(Self { device, state, mount_point })
    }

    /// The same connection for another thread.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub fn try_clone(&self) -> io::Result<Self> {
        let (state, mount_point) = (self.state.clone(), self.mount_point.clone());
        Ok(Self { device: self.device.try_clone()?, state, mount_point })
    }

    /// Whether the kernel has given it up: it polls as an error then (`fuse_dev_poll()`, fs/fuse/dev.c).
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub fn is_aborted(&self) -> io::Result<bool> {
        let mut polled = [PollFd::new(&self.device, PollFlags::empty())];
        poll(&mut polled, Some(&Timespec::default()))?;
        Ok(polled[0].revents().contains(PollFlags::ERR))
    }

    /// Whether `memory` is this connection's.
    #[must_use]
    pub fn has_memory(&self, memory: BorrowedFd<'_>) -> bool {
        let inode =
            |file: BorrowedFd<'_>| rustix::fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino)).ok();
        inode(self.memory()) == inode(memory)
    }

    /// The open `/dev/fuse`.
    #[must_use]
    pub fn device(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    /// The memfd that goes with it.
    #[must_use]
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.state.memory()
    }

    /// What is in that.
    #[must_use]
    pub fn state(&self) -> &PersistentState {
        &self.state
    }

    /// Requests that were fetched and are not answered yet.
    #[must_use]
    pub fn in_flight(&self) -> InFlightTable {
        self.state.in_flight()
    }

    /// How many servers this connection has had before this one.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.state.generation()
    }

    /// Whether nothing can be written to its file system, whoever serves it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.state.is_read_only()
    }

    /// Remembers that there were no anchors before: the last server is to remove them.
    pub fn note_new_anchors(&self) {
        self.state.set_new_anchors();
    }

    /// Whether there were no anchors before.
    #[must_use]
    pub fn has_new_anchors(&self) -> bool {
        self.state.has_new_anchors()
    }

    /// The kernel's INIT request as it came.
    #[must_use]
    pub fn init_request(&self) -> Vec<u8> {
        self.state.init_request()
    }

    /// Where the file system is mounted.
    #[must_use]
    pub fn mount_point(&self) -> PathBuf {
        self.mount_point.clone()
    }

    /// The anchors that the mount point is among, if it is.
    #[must_use]
    pub fn anchors(&self) -> Option<Anchors> {
        Anchors::around(&self.mount_point())
    }

    /// The directory that an administrator has named: that of the anchors, or else the mount point.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.anchors().map_or_else(|| self.mount_point(), |anchors| anchors.directory().to_path_buf())
    }

    /// The last request that each thread of a predecessor has fetched.
    pub(crate) fn last_fetched(&self) -> io::Result<Vec<InFlightRequest>> {
        match self.state.request_buffers() {
            Some(offset) => request_buffers::last_fetched(self.memory(), offset),
            None => Ok(Vec::new()),
        }
    }

    /// A connection whose kernel is the other end of a pair of sockets.
    #[cfg(test)]
    pub(crate) fn over_sockets() -> (std::os::unix::net::UnixDatagram, Self) {
        let (kernel, device) = std::os::unix::net::UnixDatagram::pair().unwrap();
        kernel.send(b"INIT").unwrap();
        let connection = Self::begin(device.into(), Path::new("/mnt/x"), Writes::Nothing).unwrap();
        (kernel, connection)
    }

    /// Makes `threads` threads read their requests into the shared memory, for a successor.
    pub(crate) fn keep_requests(&self, threads: usize) -> io::Result<()> {
        match self.state.request_buffers() {
            Some(offset) => request_buffers::keep(self.memory(), offset, threads),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Service;

    fn successor(connection: &Connection) -> Connection {
        let device = connection.device().try_clone_to_owned().unwrap();
        Connection::resume(device, connection.memory().try_clone_to_owned().unwrap()).unwrap()
    }

    #[test]
    fn a_successor_finds_what_it_needs_to_know() {
        let (_kernel, first) = Connection::over_sockets();
        assert_eq!((first.generation(), first.is_read_only()), (0, true));
        let next = successor(&first);
        assert_eq!((next.generation(), next.is_read_only()), (1, true));
        assert_eq!((next.init_request(), next.mount_point()), (b"INIT".to_vec(), "/mnt/x".into()));
        assert!(next.has_memory(first.memory()));
    }

    /// Bytes of the memory that exist, because somebody has read or written them.
    fn touched(connection: &Connection) -> i64 {
        rustix::fs::fstat(connection.memory()).unwrap().st_blocks * 512
    }

    #[test]
    fn a_fresh_daemon_touches_less_than_100_kb() {
        let (_kernel, first) = Connection::over_sockets();
        let next = successor(&first);
        let orphaned = next.in_flight().orphaned();
        next.in_flight().resume(&orphaned);
        let source = crate::kernel::Source::open(Path::new("/"), None).unwrap();
        Service::new(source, 1024).attach(next.state());
        let (idle, state) = (touched(&next), next.state());
        assert_eq!((orphaned.len(), state.cpu_accounts().iter().count()), (0, 0));
        assert_eq!((state.psi_triggers().iter().count(), state.loads().iter().count()), (0, 0));
        println!("{idle} bytes were touched");
        assert!(idle < 100_000, "{idle} bytes");
    }
}
