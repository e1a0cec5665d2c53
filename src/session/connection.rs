//! A connection to the kernel, with all that a successor of this process needs to go on serving it.

use crate::service::{Kept, LEDGER_WORDS, LOAD_WORDS, TRIGGER_WORDS};
use crate::sys;
use rustix::fs::{MemfdFlags, SealFlags};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::Writes;
use super::anchors::Anchors;
use super::request_buffers;
use crate::journal::{Fetched, Journal, low_half};

/// First word of the memory: who wrote it, and how it is laid out.
const MAGIC: u64 = u64::from_ne_bytes(*b"cgprocf1");

/// Places in the memory, in words of 64 bits.
mod place {
    pub(super) const MAGIC: usize = 0;
    pub(super) const GENERATION: usize = 1;
    /// Where in the memory, in bytes, the service's words and the last requests are; 0 where there is no room for them. So
    /// a version that has more to keep, or less, goes on with the memory of another.
    pub(super) const SERVICE: usize = 2;
    pub(super) const REQUESTS: usize = 3;
    /// How many words the service has: those of another version are not understood.
    pub(super) const SERVICE_WORDS: usize = 4;
    /// The same of pressure triggers, and of load averages.
    pub(super) const TRIGGERS: usize = 5;
    pub(super) const TRIGGER_WORDS: usize = 6;
    pub(super) const LOADS: usize = 7;
    pub(super) const LOAD_WORDS: usize = 8;
    /// 1 where nothing can be written to the file system; 0 where that is not known.
    pub(super) const READ_ONLY: usize = 9;
    /// 1 where the anchors were laid for this connection; 0 where they were there before, or that is not known.
    pub(super) const NEW_ANCHORS: usize = 10;
    /// Its length in bytes, then room for 63 words of it.
    pub(super) const GREETING: usize = 64;
    /// Its length in bytes, then room for `PATH_MAX` bytes of it.
    pub(super) const MOUNT_POINT: usize = 128;
    pub(super) const JOURNAL: usize = 1024;
    pub(super) const END: usize = JOURNAL + crate::journal::WORDS;
}

/// Where a memory of this version has them, and where it ends.
const SERVICE: usize = (place::END * 8).next_multiple_of(4096);
const REQUESTS: usize = (SERVICE + LEDGER_WORDS * 8).next_multiple_of(4096);
const TRIGGERS: usize = (REQUESTS + request_buffers::LENGTH).next_multiple_of(4096);
const LOADS: usize = (TRIGGERS + TRIGGER_WORDS * 8).next_multiple_of(4096);
const LENGTH: usize = LOADS + LOAD_WORDS * 8;

/// Why a connection can't be served.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConnectionError {
    #[error("the previous daemon's memory has another format; run `cgprocfs unmount`, then start again")]
    OtherVersion,
    #[error("the connection was aborted")]
    Aborted,
    #[error("the kernel's first request has {0} bytes, more than can be kept")]
    Greeting(usize),
    #[error(transparent)]
    System(#[from] io::Error),
}

/// A connection that was greeted by the kernel: the open `/dev/fuse`, and a memory that outlives this process
/// together with it.
pub struct Connection {
    device: OwnedFd,
    /// A memfd: what was said on the connection, and the journal of what is being answered.
    memory: OwnedFd,
    words: &'static [AtomicU64],
    /// Of the memory, in bytes.
    length: usize,
    /// As it was when it was looked at: others have the memory, too, and may write to it.
    mount_point: PathBuf,
}

impl Connection {
    /// Takes the kernel's first request from a file system that was just mounted on `mount_point`. It is given
    /// only once, and whoever serves has to have read it.
    ///
    /// # Errors
    /// Where the kernel does not greet, or there is no memory.
    pub fn begin(device: OwnedFd, mount_point: &Path, writes: Writes) -> Result<Self, ConnectionError> {
        // The kernel refuses a buffer that could not hold its largest request (`fuse_dev_do_read()`,
        // fs/fuse/dev.c): FUSE_MIN_READ_BUFFER, as nothing was agreed upon yet.
        let mut greeting = vec![0; 64 << 10];
        let length = rustix::io::read(&device, &mut greeting).map_err(io::Error::from)?;
        greeting.truncate(length);
        let memory = rustix::fs::memfd_create("cgprocfs", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(io::Error::from)?;
        rustix::fs::ftruncate(&memory, LENGTH as u64).map_err(io::Error::from)?;
        // A memory that shrinks kills whoever looks at it.
        rustix::fs::fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
            .map_err(io::Error::from)?;
        let words = sys::map_shared(memory.as_fd(), 0, place::END)?;
        let connection = Self { device, memory, words, length: LENGTH, mount_point: mount_point.into() };
        connection.put(place::GREETING, 63, &greeting).ok_or(ConnectionError::Greeting(length))?;
        connection
            .put(place::MOUNT_POINT, 4096 / 8, mount_point.as_os_str().as_bytes())
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENAMETOOLONG))?;
        for (place, value) in [
            (place::SERVICE, SERVICE),
            (place::SERVICE_WORDS, LEDGER_WORDS),
            (place::REQUESTS, REQUESTS),
            (place::TRIGGERS, TRIGGERS),
            (place::TRIGGER_WORDS, TRIGGER_WORDS),
            (place::LOADS, LOADS),
            (place::LOAD_WORDS, LOAD_WORDS),
            (place::READ_ONLY, usize::from(writes == Writes::Nothing)),
        ] {
            connection.words[place].store(value as u64, Ordering::Relaxed);
        }
        connection.words[place::MAGIC].store(MAGIC, Ordering::Release);
        Ok(connection)
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

    /// Goes on with one that was looked at.
    pub(super) fn resume_here(&self) -> Result<(), ConnectionError> {
        if self.is_aborted()? {
            return Err(ConnectionError::Aborted);
        }
        self.words[place::GENERATION].fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// A look at a connection that somebody else serves.
    ///
    /// # Errors
    /// Where this is none.
    pub fn look(device: OwnedFd, memory: OwnedFd) -> Result<Self, ConnectionError> {
        let length = rustix::fs::fstat(&memory).map_err(io::Error::from)?.st_size;
        let seals = rustix::fs::fcntl_get_seals(&memory).map_err(io::Error::from)?;
        let length = usize::try_from(length).unwrap_or(0);
        if length < place::END * 8 || !seals.contains(SealFlags::SHRINK) {
            return Err(ConnectionError::OtherVersion);
        }
        let words = sys::map_shared(memory.as_fd(), 0, place::END)?;
        if words[place::MAGIC].load(Ordering::Acquire) != MAGIC {
            return Err(ConnectionError::OtherVersion);
        }
        let mount_point = PathBuf::from(OsStr::from_bytes(&get(words, place::MOUNT_POINT, 4096 / 8)));
        Ok(Self { device, memory, words, length, mount_point })
    }

    /// The same connection for another thread.
    ///
    /// # Errors
    /// The kernel's.
    pub fn try_clone(&self) -> io::Result<Self> {
        let (device, memory) = (self.device.try_clone()?, self.memory.try_clone()?);
        let mount_point = self.mount_point.clone();
        Ok(Self { device, memory, words: self.words, length: self.length, mount_point })
    }

    /// Whether the kernel has given it up: it polls as an error then (`fuse_dev_poll()`, fs/fuse/dev.c).
    ///
    /// # Errors
    /// The kernel's.
    pub fn is_aborted(&self) -> io::Result<bool> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut polled = [PollFd::new(self.device.as_fd(), PollFlags::empty())];
        poll(&mut polled, PollTimeout::ZERO)?;
        Ok(polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR)))
    }

    /// Whether `memory` is this connection's.
    #[must_use]
    pub fn has_memory(&self, memory: BorrowedFd<'_>) -> bool {
        let number =
            |file: BorrowedFd<'_>| rustix::fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino)).ok();
        number(self.memory.as_fd()) == number(memory)
    }

    /// The open `/dev/fuse`.
    #[must_use]
    pub fn device(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    /// The memfd that goes with it.
    #[must_use]
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Which server of this connection this is, from 0.
    #[must_use]
    pub fn generation(&self) -> u32 {
        low_half(self.words[place::GENERATION].load(Ordering::Relaxed))
    }

    /// Whether nothing can be written to its file system, whoever serves it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.words[place::READ_ONLY].load(Ordering::Relaxed) == 1
    }

    /// Notes that there were no anchors before: in the end there need be none again.
    pub fn note_new_anchors(&self) {
        self.words[place::NEW_ANCHORS].store(1, Ordering::Relaxed);
    }

    /// Whether that was noted.
    #[must_use]
    pub fn has_new_anchors(&self) -> bool {
        self.words[place::NEW_ANCHORS].load(Ordering::Relaxed) == 1
    }

    /// The kernel's INIT request as it came.
    #[must_use]
    pub fn greeting(&self) -> Vec<u8> {
        get(self.words, place::GREETING, 63)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mount_point(&self) -> PathBuf {
        self.mount_point.clone()
    }

    /// The anchors around that, if it was mounted among some.
    #[must_use]
    pub fn anchors(&self) -> Option<Anchors> {
        Anchors::around(&self.mount_point())
    }

    /// The directory that a person named: of the anchors, or the mount point.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.anchors().map_or_else(|| self.mount_point(), |anchors| anchors.directory().to_path_buf())
    }

    /// What is being answered.
    #[must_use]
    pub fn journal(&self) -> Journal {
        Journal::new(&self.words[place::JOURNAL..place::END])
    }

    /// Memory for the service's own use, which outlives this process; empty where another version made it.
    ///
    /// # Errors
    /// Where it can't be mapped.
    pub fn kept(&self) -> io::Result<Kept> {
        Ok(Kept {
            ledgers: self.for_service(place::SERVICE, place::SERVICE_WORDS, LEDGER_WORDS)?,
            triggers: self.for_service(place::TRIGGERS, place::TRIGGER_WORDS, TRIGGER_WORDS)?,
            loads: self.for_service(place::LOADS, place::LOAD_WORDS, LOAD_WORDS)?,
        })
    }

    fn for_service(&self, place: usize, count: usize, words: usize) -> io::Result<&'static [AtomicU64]> {
        match self.part(place, words * 8) {
            Some(offset) if self.words[count].load(Ordering::Relaxed) == words as u64 => {
                sys::map_shared(self.memory.as_fd(), offset, words)
            }
            _ => Ok(&[]),
        }
    }

    /// The last requests that a predecessor's threads have fetched.
    pub(super) fn last_fetched(&self) -> io::Result<Vec<Fetched>> {
        let offset = self.part(place::REQUESTS, request_buffers::LENGTH);
        offset.map_or(Ok(Vec::new()), |offset| request_buffers::last_fetched(self.memory.as_fd(), offset))
    }

    /// Has the requests that so many threads fetch be kept for a successor.
    pub(super) fn keep_requests(&self, threads: usize) -> io::Result<()> {
        let offset = self.part(place::REQUESTS, request_buffers::LENGTH);
        offset.map_or(Ok(()), |offset| request_buffers::keep(self.memory.as_fd(), offset, threads))
    }

    /// Where a part of the memory is, if it is there as a whole.
    fn part(&self, place: usize, length: usize) -> Option<u64> {
        let offset = self.words[place].load(Ordering::Relaxed);
        let end = usize::try_from(offset).ok()?.checked_add(length)?;
        (offset >= (place::END * 8) as u64 && offset.is_multiple_of(4096) && end <= self.length)
            .then_some(offset)
    }

    /// `None` if there is no room for it.
    fn put(&self, at: usize, room: usize, bytes: &[u8]) -> Option<()> {
        let chunks = bytes.chunks(8);
        if chunks.len() > room {
            return None;
        }
        self.words[at].store(bytes.len() as u64, Ordering::Relaxed);
        for (word, chunk) in self.words[at + 1..].iter().zip(chunks) {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
        }
        Some(())
    }
}

fn get(words: &[AtomicU64], at: usize, room: usize) -> Vec<u8> {
    let length = usize::try_from(words[at].load(Ordering::Relaxed)).unwrap_or(0).min(room * 8);
    let words = words[at + 1..].iter().take(length.div_ceil(8));
    let mut bytes: Vec<u8> = words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
    bytes.truncate(length);
    bytes
}
