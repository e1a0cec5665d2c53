//! A connection to the kernel, with all that a successor of this process needs to go on serving it.

use crate::service::{KeptTrigger, LEDGERS, LOADS, PersistentState, StartedLedger, TRIGGERS};
use crate::state::{Record, Table, Word};
use crate::sys;
use cgprocfs_core::load_average::LoadState;
use rustix::fs::{MemfdFlags, SealFlags};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use crate::fuse::seams::request_buffers;
use crate::mount::Anchors;
use crate::mount::Writes;
use crate::state::in_flight::{self, InFlightRequest, InFlightTable};

/// First word of the memory: who wrote it, and how it is laid out.
const MAGIC: u64 = u64::from_ne_bytes(*b"cgprocf1");

/// Places in the memory, in words of 64 bits.
mod place {
    pub(crate) const MAGIC: usize = 0;
    /// Which server of the connection the present one is, whatever its version.
    pub(crate) const GENERATION: usize = 1;
    /// Where in the memory, in bytes, the last requests are; 0 where there is no room for them.
    pub(crate) const REQUESTS: usize = 3;
    /// 1 where nothing can be written to the file system; 0 where that is not known.
    pub(crate) const READ_ONLY: usize = 9;
    /// Where in the memory, in bytes, the parts are that outlive a server, and behind each of what shape it is. So a version
    /// that keeps something else, or in another way, goes on with the memory of another without what it does not understand.
    pub(crate) const JOURNAL: usize = 10;
    pub(crate) const LEDGERS: usize = 12;
    pub(crate) const TRIGGERS: usize = 14;
    pub(crate) const LOADS: usize = 16;
    /// The last server that has kept these: where that is not the predecessor, they are of long ago.
    pub(crate) const KEPT_BY: usize = 18;
    /// 1 where the anchors were laid for this connection; 0 where they were there before, or that is not known.
    pub(crate) const NEW_ANCHORS: usize = 19;
    /// Its length in bytes, then room for 63 words of it.
    pub(crate) const GREETING: usize = 64;
    /// Its length in bytes, then room for `PATH_MAX` bytes of it.
    pub(crate) const MOUNT_POINT: usize = 128;
    // Words 2 and 4 to 8, and 128 words from 1024 on, are where the first versions, which ask for no shape, had other
    // things: they find no room in the former, and nothing in the latter.
    pub(crate) const END: usize = 1024 + 128;
}

/// Where a memory of this version has them, in bytes, and where it ends.
const JOURNAL: usize = (place::END * 8).next_multiple_of(4096);
const LEDGERS_AT: usize = (JOURNAL + in_flight::WORDS * 8).next_multiple_of(4096);
const TRIGGERS_AT: usize = (LEDGERS_AT + Table::<StartedLedger>::words(LEDGERS) * 8).next_multiple_of(4096);
const LOADS_AT: usize = (TRIGGERS_AT + Table::<KeptTrigger>::words(TRIGGERS) * 8).next_multiple_of(4096);
const REQUESTS: usize = (LOADS_AT + Table::<LoadState>::words(LOADS) * 8).next_multiple_of(4096);
const LENGTH: usize = REQUESTS + request_buffers::LENGTH;

/// Why a connection can't be served.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConnectionError {
    #[error("the previous daemon's memory has another format")]
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
    words: &'static [Word],
    /// Of the memory, in bytes.
    length: usize,
    journal: InFlightTable,
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
        for (place, value) in [
            (place::JOURNAL, JOURNAL as u64),
            (place::JOURNAL + 1, in_flight::SHAPE),
            (place::LEDGERS, LEDGERS_AT as u64),
            (place::LEDGERS + 1, Table::<StartedLedger>::shape(LEDGERS)),
            (place::TRIGGERS, TRIGGERS_AT as u64),
            (place::TRIGGERS + 1, Table::<KeptTrigger>::shape(TRIGGERS)),
            (place::LOADS, LOADS_AT as u64),
            (place::LOADS + 1, Table::<LoadState>::shape(LOADS)),
            (place::REQUESTS, REQUESTS as u64),
            (place::READ_ONLY, u64::from(writes == Writes::Nothing)),
        ] {
            words[place].store(value, Ordering::Relaxed);
        }
        let connection = Self::with_journal(device, memory, words, LENGTH, mount_point.into())?;
        connection.put(place::GREETING, 63, &greeting).ok_or(ConnectionError::Greeting(length))?;
        connection
            .put(place::MOUNT_POINT, 4096 / 8, mount_point.as_os_str().as_bytes())
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENAMETOOLONG))?;
        words[place::MAGIC].store(MAGIC, Ordering::Release);
        Ok(connection)
    }

    fn with_journal(
        device: OwnedFd,
        memory: OwnedFd,
        words: &'static [Word],
        length: usize,
        mount_point: PathBuf,
    ) -> io::Result<Self> {
        let journal = (place::JOURNAL, in_flight::SHAPE, in_flight::WORDS);
        let journal = InFlightTable::new(map(memory.as_fd(), words, length, journal)?);
        Ok(Self { device, memory, words, length, journal, mount_point })
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
    pub(crate) fn resume_here(&self) -> Result<(), ConnectionError> {
        if self.is_aborted()? {
            return Err(ConnectionError::Aborted);
        }
        let before = self.words[place::GENERATION].load(Ordering::Relaxed);
        let kept_by = self.words[place::KEPT_BY].load(Ordering::Relaxed);
        // The other is one that died between the two lines below.
        if kept_by != before && kept_by != before.wrapping_add(1) {
            self.forget()?;
        }
        self.words[place::KEPT_BY].store(before.wrapping_add(1), Ordering::Release);
        self.words[place::GENERATION].store(before.wrapping_add(1), Ordering::Release);
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
        Ok(Self::with_journal(device, memory, words, length, mount_point)?)
    }

    /// The same connection for another thread.
    ///
    /// # Errors
    /// The kernel's.
    pub fn try_clone(&self) -> io::Result<Self> {
        let (device, memory) = (self.device.try_clone()?, self.memory.try_clone()?);
        let mount_point = self.mount_point.clone();
        Ok(Self {
            device,
            memory,
            words: self.words,
            length: self.length,
            journal: self.journal,
            mount_point,
        })
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
        let generation = self.words[place::GENERATION].load(Ordering::Relaxed);
        u32::try_from(generation & u64::from(u32::MAX)).unwrap_or(u32::MAX)
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

    /// Whether that was in_flight.
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

    /// Operation is in flight.
    #[must_use]
    pub fn journal(&self) -> InFlightTable {
        self.journal
    }

    /// Memory for the service's own use, which outlives this process; none where another version made it.
    ///
    /// # Errors
    /// Where it can't be mapped.
    pub fn kept(&self) -> io::Result<PersistentState> {
        Ok(PersistentState {
            ledgers: self.table(place::LEDGERS, LEDGERS)?,
            triggers: self.table(place::TRIGGERS, TRIGGERS)?,
            loads: self.table(place::LOADS, LOADS)?,
        })
    }

    fn table<R: Record>(&self, place: usize, slots: usize) -> io::Result<Table<R>> {
        let table = (place, Table::<R>::shape(slots), Table::<R>::words(slots));
        Ok(Table::new(map(self.memory.as_fd(), self.words, self.length, table)?))
    }

    /// Empties what a version has left that is not the predecessor's.
    fn forget(&self) -> io::Result<()> {
        let kept = self.kept()?;
        kept.ledgers.clear();
        kept.triggers.clear();
        kept.loads.clear();
        self.journal.clear();
        Ok(())
    }

    /// The last requests that a predecessor's threads have fetched.
    pub(crate) fn last_fetched(&self) -> io::Result<Vec<InFlightRequest>> {
        let offset = part(self.words, self.length, place::REQUESTS, request_buffers::LENGTH);
        offset.map_or(Ok(Vec::new()), |offset| request_buffers::last_fetched(self.memory.as_fd(), offset))
    }

    /// Has the requests that so many threads fetch be kept for a successor.
    pub(crate) fn keep_requests(&self, threads: usize) -> io::Result<()> {
        let offset = part(self.words, self.length, place::REQUESTS, request_buffers::LENGTH);
        offset.map_or(Ok(()), |offset| request_buffers::keep(self.memory.as_fd(), offset, threads))
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

fn get(words: &[Word], at: usize, room: usize) -> Vec<u8> {
    let length = usize::try_from(words[at].load(Ordering::Relaxed)).unwrap_or(0).min(room * 8);
    let words = words[at + 1..].iter().take(length.div_ceil(8));
    let mut bytes: Vec<u8> = words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
    bytes.truncate(length);
    bytes
}

/// Where in a memory of that length, in bytes, a part is that is as long, if it is there as a whole.
fn part(words: &[Word], length: usize, place: usize, of_part: usize) -> Option<u64> {
    let offset = words[place].load(Ordering::Relaxed);
    let end = usize::try_from(offset).ok()?.checked_add(of_part)?;
    (offset >= (place::END * 8) as u64 && offset.is_multiple_of(4096) && end <= length).then_some(offset)
}

/// A part of that shape and so many words; none where it is another.
fn map(
    memory: BorrowedFd<'_>,
    words: &[Word],
    length: usize,
    (place, shape, count): (usize, u64, usize),
) -> io::Result<&'static [Word]> {
    match part(words, length, place, count * 8) {
        Some(offset) if words[place + 1].load(Ordering::Relaxed) == shape => {
            sys::map_shared(memory, offset, count)
        }
        _ => Ok(&[]),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::service::Service;
    use cgprocfs_core::load_average::{CpuUsageAt, LoadAverages};
    use cgprocfs_core::machine::Ticks;
    use std::os::unix::net::UnixDatagram;

    /// One whose kernel is at the other end of a pair of sockets.
    pub(crate) fn connection() -> (UnixDatagram, Connection) {
        let (kernel, device) = UnixDatagram::pair().unwrap();
        kernel.send(b"greeting").unwrap();
        let connection = Connection::begin(device.into(), Path::new("/mnt/x"), Writes::Nothing).unwrap();
        (kernel, connection)
    }

    fn successor(connection: &Connection) -> Connection {
        let device = connection.device().try_clone_to_owned().unwrap();
        Connection::resume(device, connection.memory().try_clone_to_owned().unwrap()).unwrap()
    }

    /// Of the memory, in bytes.
    fn touched(connection: &Connection) -> i64 {
        rustix::fs::fstat(connection.memory()).unwrap().st_blocks * 512
    }

    #[test]
    fn a_successor_finds_what_it_needs_to_know() {
        let (_kernel, first) = connection();
        assert_eq!((first.generation(), first.is_read_only()), (0, true));
        let next = successor(&first);
        assert_eq!((next.generation(), next.is_read_only()), (1, true));
        assert_eq!((next.greeting(), next.mount_point()), (b"greeting".to_vec(), "/mnt/x".into()));
        assert!(next.has_memory(first.memory()));
    }

    #[test]
    fn to_look_for_what_a_predecessor_has_left_touches_little() {
        let (_kernel, connection) = connection();
        let next = successor(&connection);
        let left = next.journal().left();
        next.journal().resume(&left);
        let kept = next.kept().unwrap();
        assert_eq!((left.len(), kept.ledgers.iter().count()), (0, 0));
        assert_eq!((kept.triggers.iter().count(), kept.loads.iter().count()), (0, 0));
        let source = crate::kernel::Source::open(Path::new("/"), None).unwrap();
        Service::new(source, 1024).keep_in(&kept);
        println!("{} bytes were touched", touched(&connection));
        assert!(touched(&connection) < 100_000);
    }

    #[test]
    fn a_memory_of_another_version_is_gone_on_with() {
        let (_kernel, first) = connection();
        let mut averages = LoadAverages::default();
        averages.add(1.0, 60.0);
        let record =
            LoadState { averages, at: 5, ran: Some(CpuUsageAt { at: 4, time: 2 }), start: Ticks::new(3) };
        first.kept().unwrap().loads.put(0, 7, &record);
        let next = successor(&first);
        assert_eq!(next.kept().unwrap().loads.get(0), Some((7, record)));
        // A version has served meanwhile that has left it alone.
        next.words[place::GENERATION].fetch_add(5, Ordering::Relaxed);
        let later = successor(&first);
        assert_eq!(later.kept().unwrap().loads.get(0), None);
        // One made it that has other things there, or nothing at all.
        later.kept().unwrap().loads.put(0, 7, &record);
        first.words[place::LOADS + 1].fetch_add(1, Ordering::Relaxed);
        assert!(successor(&first).kept().unwrap().loads.is_empty());
        (place::REQUESTS..=place::KEPT_BY).for_each(|place| first.words[place].store(0, Ordering::Relaxed));
        let next = successor(&first);
        assert!(next.kept().unwrap().ledgers.is_empty() && next.last_fetched().unwrap().is_empty());
        next.journal().resume(&[]);
        let fetched =
            InFlightRequest { unique: 2, pid: 1, ino: 1, what: crate::state::in_flight::Operation::Lookup };
        assert_eq!(next.journal().during(fetched, || next.journal().fetched().len()), Some(1));
    }
}
