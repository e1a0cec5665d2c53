//! A request in flight, and how it is written down.

use crate::state::Record;

/// A request, as far as it is needed to answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlightRequest {
    /// The kernel's number for it, never 0.
    pub unique: u64,
    /// Process or thread that waits for the answer; 0 if it can't be seen.
    pub pid: u32,
    /// Of what it is about.
    pub ino: u64,
    /// Operation it asks for.
    pub what: Operation,
}

/// Operation a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A part of a text.
    Read {
        /// The open file.
        handle: u64,
        /// Where in it.
        offset: u64,
        /// How much of it.
        size: u32,
    },
    /// That a file be opened.
    Open {
        /// As open(2) has them.
        flags: i32,
    },
    /// Something that the kernel's callers ask again for, once, if told that it is stale.
    Lookup,
    /// That a file is closed.
    Release,
    /// Anything else.
    Other,
}

/// Operation a successor has to know of a request, which it finds under its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) fetched: InFlightRequest,
    /// When a thread began with it, in nanoseconds; [`WAITING`] where none has yet.
    pub(crate) since: u64,
    /// How many servers have ended while they had it.
    pub(crate) attempts: u32,
    pub(crate) state: State,
}

/// Later than any time.
pub(crate) const WAITING: u64 = u64::MAX;

impl Request {
    /// Whether a thread is about it.
    pub(crate) fn is_begun(&self) -> bool {
        self.state == State::InFlightRequest && self.since != WAITING
    }
}

/// Which word the time is.
pub(crate) const SINCE: usize = 6;

/// Who has a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The server of the connection.
    InFlightRequest,
    /// The kernel, which a predecessor had it from: it is to be fetched again.
    Again,
}

const READ: u64 = 1 << 32;
const LOOKUP: u64 = 2 << 32;
const RELEASE: u64 = 3 << 32;
const OTHER: u64 = 4 << 32;
const OPEN: u64 = 5 << 32;
const AGAIN: u64 = 1 << 32;

impl Record for Request {
    const VERSION: u64 = 1;
    const WORDS: usize = 8;

    fn save(&self) -> impl Iterator<Item = u64> {
        let InFlightRequest { unique, pid, ino, what } = self.fetched;
        let (what, handle, offset) = match what {
            Operation::Read { handle, offset, size } => (READ | u64::from(size), handle, offset),
            Operation::Open { flags } => (OPEN | u64::from(flags.cast_unsigned()), 0, 0),
            Operation::Lookup => (LOOKUP, 0, 0),
            Operation::Release => (RELEASE, 0, 0),
            Operation::Other => (OTHER, 0, 0),
        };
        let state = match self.state {
            State::InFlightRequest => 0,
            State::Again => AGAIN,
        };
        let history = state | u64::from(self.attempts);
        [unique, u64::from(pid), ino, what, handle, offset, self.since, history].into_iter()
    }

    fn restore(words: &[u64]) -> Option<Self> {
        let &[unique, pid, ino, what, handle, offset, since, history] = words else { return None };
        let (kind, size) = (what & !u64::from(u32::MAX), low_half(what));
        let what = match kind {
            READ => Operation::Read { handle, offset, size },
            OPEN => Operation::Open { flags: size.cast_signed() },
            LOOKUP => Operation::Lookup,
            RELEASE => Operation::Release,
            _ => Operation::Other,
        };
        let state = if history & AGAIN == 0 { State::InFlightRequest } else { State::Again };
        let fetched = InFlightRequest { unique, pid: low_half(pid), ino, what };
        Some(Self { fetched, since, attempts: low_half(history), state })
    }
}

pub(crate) fn low_half(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}
