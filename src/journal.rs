//! What was fetched from the kernel and is not yet answered, in memory that outlives this process.
//!
//! Since Linux 6.9 the kernel gives such requests out again when asked to; before that a successor answers
//! them from here, and those that were not even noted from the buffers that they were read into. It also shows whether a serving thread is stuck.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

/// One for each serving thread, and some to spare.
const SLOTS: usize = 16;
const SLOT_WORDS: usize = 8;
/// How much memory it takes, in words of 64 bits.
pub(crate) const WORDS: usize = SLOTS * SLOT_WORDS;

/// A request, as far as it is needed to answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// The kernel's number for it, never 0.
    pub unique: u64,
    /// Process or thread that waits for the answer; 0 if it can't be seen.
    pub pid: u32,
    /// Of what it is about.
    pub ino: u64,
    /// What it asks for.
    pub what: What,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A part of a text.
    Read {
        /// The open file.
        handle: u64,
        /// Where in it.
        offset: u64,
        /// How much of it.
        size: u32,
    },
    /// Something that the kernel's callers ask again for if told that it is stale.
    Lookup,
    /// That a file is closed.
    Release,
    /// Anything else.
    Other,
}

/// The journal of a connection.
#[derive(Clone, Copy)]
pub struct Journal {
    words: &'static [AtomicU64],
}

/// Place of a word in its slot.
mod word {
    /// Written last and cleared first: 0 where nothing is being answered.
    pub(super) const UNIQUE: usize = 0;
    pub(super) const WHAT: usize = 1;
    pub(super) const PID: usize = 2;
    pub(super) const INO: usize = 3;
    pub(super) const HANDLE: usize = 4;
    pub(super) const OFFSET: usize = 5;
    /// The last `UNIQUE`, which is never cleared.
    pub(super) const LATEST: usize = 6;
    /// How many were answered.
    pub(super) const ANSWERED: usize = 7;
}

const READ: u64 = 1 << 32;
const LOOKUP: u64 = 2 << 32;
const RELEASE: u64 = 3 << 32;
const OTHER: u64 = 4 << 32;

impl Journal {
    pub(crate) fn new(words: &'static [AtomicU64]) -> Self {
        Self { words }
    }

    /// Notes a request as long as `answer` takes, which must not unwind.
    pub fn during<T>(&self, fetched: Fetched, answer: impl FnOnce() -> T) -> T {
        let Some(slot) = self.own_slot() else { return answer() };
        let (what, handle, offset) = match fetched.what {
            What::Read { handle, offset, size } => (READ | u64::from(size), handle, offset),
            What::Lookup => (LOOKUP, 0, 0),
            What::Release => (RELEASE, 0, 0),
            What::Other => (OTHER, 0, 0),
        };
        slot[word::WHAT].store(what, Ordering::Relaxed);
        slot[word::PID].store(u64::from(fetched.pid), Ordering::Relaxed);
        slot[word::INO].store(fetched.ino, Ordering::Relaxed);
        slot[word::HANDLE].store(handle, Ordering::Relaxed);
        slot[word::OFFSET].store(offset, Ordering::Relaxed);
        slot[word::LATEST].store(fetched.unique, Ordering::Relaxed);
        slot[word::UNIQUE].store(fetched.unique, Ordering::Release);
        let answered = answer();
        slot[word::UNIQUE].store(0, Ordering::Release);
        // Nobody else writes there.
        let count = slot[word::ANSWERED].load(Ordering::Relaxed);
        slot[word::ANSWERED].store(count.wrapping_add(1), Ordering::Relaxed);
        answered
    }

    /// The requests that are being answered.
    #[must_use]
    pub fn fetched(&self) -> Vec<Fetched> {
        self.words.chunks_exact(SLOT_WORDS).filter_map(read).collect()
    }

    /// Whether a request was the last that some thread has noted.
    #[must_use]
    pub fn has_noted(&self, unique: u64) -> bool {
        let latest = |slot: &[AtomicU64]| slot[word::LATEST].load(Ordering::Relaxed);
        self.words.chunks_exact(SLOT_WORDS).any(|slot| latest(slot) == unique)
    }

    /// How many requests were answered on this connection.
    #[must_use]
    pub fn answered(&self) -> u64 {
        let answered = |slot: &[AtomicU64]| slot[word::ANSWERED].load(Ordering::Relaxed);
        self.words.chunks_exact(SLOT_WORDS).map(answered).fold(0, u64::wrapping_add)
    }

    /// Forgets what a predecessor did not answer.
    pub(crate) fn clear(&self) {
        for slot in self.words.chunks_exact(SLOT_WORDS) {
            slot[word::UNIQUE].store(0, Ordering::Release);
        }
    }

    fn own_slot(&self) -> Option<&'static [AtomicU64]> {
        thread_local! {
            static SLOT: Cell<Option<usize>> = const { Cell::new(None) };
        }
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let index = SLOT.get().unwrap_or_else(|| {
            let index = NEXT.fetch_add(1, Ordering::Relaxed);
            SLOT.set(Some(index));
            index
        });
        self.words.chunks_exact(SLOT_WORDS).nth(index)
    }
}

pub(crate) fn low_half(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

fn read(slot: &[AtomicU64]) -> Option<Fetched> {
    let unique = slot[word::UNIQUE].load(Ordering::Acquire);
    let get = |place: usize| slot[place].load(Ordering::Relaxed);
    let what = get(word::WHAT);
    let fetched = Fetched {
        unique,
        pid: low_half(get(word::PID)),
        ino: get(word::INO),
        what: match what & !u64::from(u32::MAX) {
            READ => What::Read { handle: get(word::HANDLE), offset: get(word::OFFSET), size: low_half(what) },
            LOOKUP => What::Lookup,
            RELEASE => What::Release,
            _ => What::Other,
        },
    };
    fence(Ordering::Acquire);
    // A thread of this process may have gone on meanwhile; one of a dead predecessor has not.
    (unique != 0 && get(word::UNIQUE) == unique).then_some(fetched)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Journal {
        Journal::new(Vec::leak((0..WORDS).map(|_| AtomicU64::new(0)).collect()))
    }

    #[test]
    fn requests_are_there_while_they_are_answered() {
        let journal = journal();
        let what = What::Read { handle: u64::MAX, offset: 1 << 40, size: u32::MAX };
        for what in [what, What::Lookup, What::Release, What::Other] {
            let fetched = Fetched { unique: 7, pid: u32::MAX, ino: 16, what };
            assert_eq!(journal.during(fetched, || journal.fetched()), [fetched]);
            assert_eq!(journal.fetched(), []);
            assert!(journal.has_noted(7) && !journal.has_noted(8));
        }
        assert_eq!(journal.answered(), 4);

        // More threads than slots do no harm. Slots are given out for the process's life: after that none is left.
        let fetched = Fetched { unique: 9, pid: 1, ino: 1, what: What::Other };
        std::thread::scope(|scope| {
            for _ in 0..4 * SLOTS {
                scope.spawn(|| journal.during(fetched, || ()));
            }
        });
        assert_eq!(journal.fetched(), []);
    }
}
