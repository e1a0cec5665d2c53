//! A request in flight, and the record of it.

use super::clock::Moment;
use crate::state::open_file::OpenFile;
use crate::state::record::Record;
use cgprocfs_core::parse::pid::Pid;

/// The kernel's number for a request, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unique(u64);

impl Unique {
    /// `FUSE_UNIQUE_RESEND` of include/uapi/linux/fuse.h: set in the number of a request that is given out
    /// again.
    const RESEND: u64 = 1 << 63;

    /// The number in a request's header. A request that is given out again has the number that it had before.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number & !Self::RESEND)
    }

    /// The plain number, as its answer has it.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The number of a file in the file system that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ino(u64);

impl Ino {
    /// The file of this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The plain number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A request, as far as is needed to answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlightRequest {
    /// The kernel's number for it.
    pub unique: Unique,
    /// The process or thread that waits for the answer; 0 if it cannot be seen from here.
    pub pid: Pid,
    /// The inode that it is about.
    pub ino: Ino,
    /// What it asks for.
    pub operation: Operation,
}

impl InFlightRequest {
    /// Stands for one that does not come from the kernel.
    pub(crate) const NONE: Self =
        Self { unique: Unique::new(0), pid: Pid::UNSEEN, ino: Ino::new(0), operation: Operation::Other };
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A part of a text.
    Read {
        /// From which file.
        file: OpenFile,
        /// Where the part begins, in bytes.
        offset: u64,
        /// How long it may be, in bytes.
        size: u32,
    },
    /// That a file be opened.
    Open {
        /// The flags of open(2).
        flags: i32,
    },
    /// Something that the kernel's callers ask for again, once, if told that it is stale.
    Lookup,
    /// That an open file be closed.
    Release,
    /// Anything else.
    Other,
}

/// The record of a request, under its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestRecord {
    pub(crate) request: InFlightRequest,
    /// When a thread began with it; `None` while it waits for one.
    pub(crate) begun: Option<Moment>,
    /// How many servers have ended while they had it.
    pub(crate) attempts: u32,
    pub(crate) holder: Holder,
}

/// Who has a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The server of the connection.
    Server,
    /// The kernel, which is to give it out again after a predecessor has fetched it.
    Kernel,
}

/// Stands for the moment at which a thread began if none has: later than any.
const WAITING: u64 = u64::MAX;

impl RequestRecord {
    /// Which word of the record has the moment at which a thread began.
    pub(crate) const BEGUN_WORD: usize = 6;

    /// That word.
    pub(crate) fn begun_word(begun: Option<Moment>) -> u64 {
        begun.map_or(WAITING, |moment| moment.0)
    }

    /// When one of this server's threads began with the request, if one has.
    pub(crate) fn begun_by_server(&self) -> Option<Moment> {
        self.begun.filter(|_| self.holder == Holder::Server)
    }
}

const READ: u64 = 1 << 32;
const LOOKUP: u64 = 2 << 32;
const RELEASE: u64 = 3 << 32;
const OTHER: u64 = 4 << 32;
const OPEN: u64 = 5 << 32;
const HELD_BY_KERNEL: u64 = 1 << 32;

impl Record for RequestRecord {
    const VERSION: u64 = 1;
    const MAX_WORDS: usize = 8;

    fn save(&self) -> impl Iterator<Item = u64> {
        let InFlightRequest { unique, pid, ino, operation } = self.request;
        let (operation, handle, offset) = match operation {
            Operation::Read { file, offset, size } => (READ | u64::from(size), file.handle(), offset),
            Operation::Open { flags } => (OPEN | u64::from(u32::from_ne_bytes(flags.to_ne_bytes())), 0, 0),
            Operation::Lookup => (LOOKUP, 0, 0),
            Operation::Release => (RELEASE, 0, 0),
            Operation::Other => (OTHER, 0, 0),
        };
        let holder = match self.holder {
            Holder::Server => 0,
            Holder::Kernel => HELD_BY_KERNEL,
        };
        let history = holder | u64::from(self.attempts);
        let begun = Self::begun_word(self.begun);
        [unique.get(), u64::from(pid.get()), ino.get(), operation, handle, offset, begun, history].into_iter()
    }

    fn restore(words: &[u64]) -> Option<Self> {
        let &[unique, pid, ino, operation, handle, offset, begun, history] = words else { return None };
        let (kind, size) = (operation & !u64::from(u32::MAX), low_half(operation));
        let operation = match kind {
            READ => Operation::Read { file: OpenFile::new(handle), offset, size },
            OPEN => Operation::Open { flags: i32::from_ne_bytes(size.to_ne_bytes()) },
            LOOKUP => Operation::Lookup,
            RELEASE => Operation::Release,
            _ => Operation::Other,
        };
        let request = InFlightRequest {
            unique: Unique::new(unique),
            pid: Pid::new(low_half(pid)),
            ino: Ino::new(ino),
            operation,
        };
        let begun = (begun != WAITING).then_some(Moment(begun));
        let holder = if history & HELD_BY_KERNEL == 0 { Holder::Server } else { Holder::Kernel };
        Some(Self { request, begun, attempts: low_half(history), holder })
    }
}

fn low_half(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}
