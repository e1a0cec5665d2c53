//! All that a server leaves to its successor, opened from the descriptor of the shared memory.

use super::header::{self, MAGIC_NUMBER};
use super::in_flight::InFlightTable;
use super::layout::{
    CPU_ACCOUNTS, IN_FLIGHT, LENGTH, LOADS, PSI_TRIGGERS, REQUEST_BUFFERS, REQUEST_BUFFERS_LENGTH, TABLES,
};
use super::memory::SharedMemory;
use super::records::{ContainerAccount, OrphanedTrigger};
use super::table::Table;
use super::word::Ordering;
use cgprocfs_core::load_average::LoadState;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why there is no persistent state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The memory is not this program's, or that of a version whose header is another.
    #[error("the memory has another format")]
    OtherFormat,
    /// The kernel's INIT request does not fit; its length in bytes.
    #[error("an INIT request of {0} bytes does not fit")]
    InitTooLong(usize),
    /// A system call failed.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// The tables in shared memory, and what its header says of the connection to the kernel.
///
/// A table that the maker of the memory did not have, or had in another format, has no slots here. Clones
/// share the memory.
#[derive(Clone)]
pub struct PersistentState {
    memory: Arc<SharedMemory>,
    in_flight: InFlightTable,
    cpu_accounts: Table<ContainerAccount>,
    psi_triggers: Table<OrphanedTrigger>,
    loads: Table<LoadState>,
}

impl PersistentState {
    /// Makes a memory for a connection whose kernel has sent this INIT request for a file system at
    /// `mount_point`.
    ///
    /// # Errors
    /// ENAMETOOLONG for a mount point longer than `PATH_MAX`, [`StateError::InitTooLong`], and the kernel's,
    /// above all ENOMEM.
    pub fn create(init_request: &[u8], mount_point: &Path, is_read_only: bool) -> Result<Self, StateError> {
        let memory = SharedMemory::create(LENGTH)?;
        let store = |index, value| memory.word(index).store(value, Ordering::Relaxed);
        for table in TABLES {
            store(table.index, table.offset as u64);
            store(table.index + 1, table.format);
        }
        store(header::REQUEST_BUFFERS, REQUEST_BUFFERS as u64);
        store(header::READ_ONLY, u64::from(is_read_only));
        memory
            .store_bytes(header::INIT_REQUEST, init_request)
            .ok_or(StateError::InitTooLong(init_request.len()))?;
        memory
            .store_bytes(header::MOUNT_POINT, mount_point.as_os_str().as_bytes())
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENAMETOOLONG))?;
        // Last: whoever sees it sees the rest.
        memory.word(header::MAGIC).store(MAGIC_NUMBER, Ordering::Release);
        Self::map(memory)
    }

    /// Opens the memory that a server of this version or another has made, without changing it.
    ///
    /// # Errors
    /// [`StateError::OtherFormat`] where it is none, and the kernel's, above all ENOMEM.
    pub fn open(memory: OwnedFd) -> Result<Self, StateError> {
        let memory = SharedMemory::open(memory)?.ok_or(StateError::OtherFormat)?;
        if memory.word(header::MAGIC).load(Ordering::Acquire) != MAGIC_NUMBER {
            return Err(StateError::OtherFormat);
        }
        Self::map(memory)
    }

    fn map(memory: SharedMemory) -> Result<Self, StateError> {
        Ok(Self {
            in_flight: InFlightTable::new(memory.map(IN_FLIGHT)?),
            cpu_accounts: Table::new(memory.map(CPU_ACCOUNTS)?),
            psi_triggers: Table::new(memory.map(PSI_TRIGGERS)?),
            loads: Table::new(memory.map(LOADS)?),
            memory: Arc::new(memory),
        })
    }

    /// Makes this process the server of the connection. Tables that the last server did not keep up to date
    /// are emptied.
    pub(crate) fn attach(&self) {
        let word = |index| self.memory.word(index);
        let before = word(header::GENERATION).load(Ordering::Relaxed);
        let attached_by = word(header::ATTACHED_BY).load(Ordering::Relaxed);
        // It is one ahead if the last server died between the two stores below.
        if attached_by != before && attached_by != before.wrapping_add(1) {
            self.clear();
        }
        word(header::ATTACHED_BY).store(before.wrapping_add(1), Ordering::Release);
        word(header::GENERATION).store(before.wrapping_add(1), Ordering::Release);
    }

    fn clear(&self) {
        self.cpu_accounts.clear();
        self.psi_triggers.clear();
        self.loads.clear();
        self.in_flight.clear();
    }

    /// The memfd, to be handed to a successor.
    #[must_use]
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.memory.file()
    }

    /// Requests that were fetched from the kernel and are not answered yet.
    #[must_use]
    pub fn in_flight(&self) -> InFlightTable {
        self.in_flight
    }

    /// CPU accounts of containers, by the id of their cgroup.
    #[must_use]
    pub fn cpu_accounts(&self) -> Table<ContainerAccount> {
        self.cpu_accounts
    }

    /// Pressure triggers, by the number of the open file plus 1.
    #[must_use]
    pub fn psi_triggers(&self) -> Table<OrphanedTrigger> {
        self.psi_triggers
    }

    /// Load averages of containers, by the id of their cgroup.
    #[must_use]
    pub fn loads(&self) -> Table<LoadState> {
        self.loads
    }

    /// Where in the memory the buffers lie that requests are read into, in bytes; `None` where there are
    /// none.
    #[must_use]
    pub fn request_buffers(&self) -> Option<u64> {
        self.memory.offset(header::REQUEST_BUFFERS, REQUEST_BUFFERS_LENGTH)
    }

    /// How many servers of the connection there have been before this one.
    #[must_use]
    pub fn generation(&self) -> u32 {
        let generation = self.memory.word(header::GENERATION).load(Ordering::Relaxed);
        u32::try_from(generation & u64::from(u32::MAX)).unwrap_or(u32::MAX)
    }

    /// Whether nothing can be written to the file system, whoever serves it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.memory.word(header::READ_ONLY).load(Ordering::Relaxed) == 1
    }

    /// Remembers that the anchors were made for this connection, and are to go with it.
    pub fn set_new_anchors(&self) {
        self.memory.word(header::NEW_ANCHORS).store(1, Ordering::Relaxed);
    }

    /// Whether the anchors were made for this connection.
    #[must_use]
    pub fn has_new_anchors(&self) -> bool {
        self.memory.word(header::NEW_ANCHORS).load(Ordering::Relaxed) == 1
    }

    /// The kernel's INIT request as it came.
    #[must_use]
    pub fn init_request(&self) -> Vec<u8> {
        self.memory.bytes(header::INIT_REQUEST)
    }

    /// Where the file system is mounted. Others can write to the memory, so this may change.
    #[must_use]
    pub fn mount_point(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.memory.bytes(header::MOUNT_POINT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::in_flight::{InFlightRequest, Ino, Operation, Unique};
    use cgprocfs_core::load_average::{CpuUsageAt, LoadAverages};
    use cgprocfs_core::parse::pid::Pid;
    use cgprocfs_core::time::{BootTime, Nanos, Ticks};

    fn first() -> PersistentState {
        PersistentState::create(b"init", Path::new("/mnt/x"), true).unwrap()
    }

    fn successor(state: &PersistentState) -> PersistentState {
        let next = PersistentState::open(state.memory().try_clone_to_owned().unwrap()).unwrap();
        next.attach();
        next
    }

    fn add(state: &PersistentState, index: usize, number: u64) {
        state.memory.word(index).fetch_add(number, Ordering::Relaxed);
    }

    fn record() -> LoadState {
        let mut averages = LoadAverages::default();
        averages.add(1.0, Nanos::SECOND.times(60));
        let at = BootTime::from_nanos(5);
        LoadState { averages, at, ran: Some(CpuUsageAt { at, time: Nanos::new(2) }), start: Ticks::new(3) }
    }

    #[test]
    fn a_successor_finds_what_its_predecessor_stored() {
        let first = first();
        first.loads().put(0, 7, &record());
        first.set_new_anchors();
        let next = successor(&first);
        assert_eq!((next.generation(), next.is_read_only()), (1, true));
        assert_eq!((next.init_request(), next.mount_point()), (b"init".to_vec(), "/mnt/x".into()));
        assert_eq!((next.loads().get(0), next.has_new_anchors()), (Some((7, record())), true));
    }

    #[test]
    fn tables_that_the_last_server_did_not_know_are_emptied() {
        let first = first();
        first.loads().put(0, 7, &record());
        // Servers of a version that leaves these tables alone.
        add(&first, header::GENERATION, 5);
        assert_eq!(successor(&first).loads().get(0), None);
        // One that has died while it took over.
        first.loads().put(0, 7, &record());
        add(&first, header::ATTACHED_BY, 1);
        assert_eq!(successor(&first).loads().get(0), Some((7, record())));
    }

    #[test]
    fn parts_in_another_format_are_dropped_and_the_others_kept() {
        let first = first();
        first.loads().put(0, 7, &record());
        add(&first, header::PSI_TRIGGERS + 1, 1);
        let next = successor(&first);
        assert!(next.psi_triggers().is_empty() && next.loads().get(0).is_some());
        // A version that has none of them.
        for index in header::REQUEST_BUFFERS..=header::ATTACHED_BY {
            first.memory.word(index).store(0, Ordering::Relaxed);
        }
        let next = successor(&first);
        assert!(next.cpu_accounts().is_empty() && next.loads().is_empty());
        assert_eq!(next.request_buffers(), None);
        next.in_flight().resume(&[]);
        let request = InFlightRequest {
            unique: Unique::new(2),
            pid: Pid::new(1),
            ino: Ino::new(1),
            operation: Operation::Lookup,
        };
        let in_flight = next.in_flight();
        assert_eq!(in_flight.track_while(request, || in_flight.begun().len()), Some(1));
    }

    #[test]
    fn a_memory_of_somebody_else_is_refused() {
        let is_refused = |memory: BorrowedFd<'_>| {
            let opened = PersistentState::open(memory.try_clone_to_owned().unwrap());
            matches!(opened, Err(StateError::OtherFormat))
        };
        assert!(is_refused(SharedMemory::create(LENGTH).unwrap().file()));
        let first = first();
        assert!(!is_refused(first.memory()));
        add(&first, header::MAGIC, 1);
        assert!(is_refused(first.memory()));
        assert!(matches!(
            PersistentState::create(&[0; 505], Path::new("/"), false),
            Err(StateError::InitTooLong(505))
        ));
        assert!(PersistentState::create(b"", Path::new(&"x".repeat(4097)), false).is_err());
    }
}
