//! What each thread of a server has written down: a cache line each, so that they do not slow each other
//! down.

use super::clock::Moment;
use super::request::Unique;
use crate::state::word::{Ordering, Word};
use std::cell::Cell;
use std::sync::atomic::AtomicUsize;

/// How many threads there is room for: those that fetch requests, and some more.
const MAX_THREADS: usize = 16;
/// Words of a thread.
const THREAD_WORDS: usize = 8;
/// To be raised whenever what follows changes: a successor of another version must not read these words.
pub(crate) const VERSION: u64 = 0;
/// Words of all threads.
pub(crate) const WORDS: usize = MAX_THREADS * THREAD_WORDS;

/// The last request that the thread has entered.
const LATEST: usize = 0;
/// How many requests it has answered.
const ANSWERED: usize = 1;
/// When it was last known to run.
const LAST_SEEN: usize = 2;

/// The words of all threads.
pub(crate) struct Threads {
    words: &'static [Word],
}

impl Threads {
    pub(crate) fn new(words: &'static [Word]) -> Self {
        Self { words }
    }

    /// This thread has entered a request. From here on nobody looks for it in the buffer that it was read
    /// into.
    pub(crate) fn entered(&self, unique: Unique, now: Moment) {
        let thread = self.own();
        thread[LAST_SEEN].store(now.0, Ordering::Relaxed);
        thread[LATEST].store(unique.get(), Ordering::Release);
    }

    /// This thread has answered a request.
    pub(crate) fn answered_one(&self) {
        self.own()[ANSWERED].fetch_add(1, Ordering::Relaxed);
    }

    /// The server still runs.
    pub(crate) fn set_last_seen(&self, now: Moment) {
        // Any thread's word will do: only the latest of all counts.
        self.words[LAST_SEEN].fetch_max(now.0, Ordering::Relaxed);
    }

    /// When the server was last known to run.
    pub(crate) fn last_seen(&self) -> Moment {
        Moment(self.all(LAST_SEEN).max().unwrap_or(0))
    }

    /// How many requests were answered by all servers of the connection.
    pub(crate) fn answered(&self) -> u64 {
        self.all(ANSWERED).fold(0, u64::wrapping_add)
    }

    /// Whether a request is the last that some thread has entered.
    pub(crate) fn is_latest(&self, unique: Unique) -> bool {
        self.all(LATEST).any(|latest| latest == unique.get())
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    fn all(&self, index: usize) -> impl Iterator<Item = u64> {
        self.words.chunks_exact(THREAD_WORDS).map(move |thread| thread[index].load(Ordering::Acquire))
    }

    /// Where there is no room for another thread, two share: the last request of one of them then seems never
    /// to have been entered.
    fn own(&self) -> &'static [Word] {
        thread_local! {
            static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
        }
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let index = THREAD.get().unwrap_or_else(|| {
            let index = NEXT.fetch_add(1, Ordering::Relaxed) % MAX_THREADS;
            THREAD.set(Some(index));
            index
        });
        &self.words[index * THREAD_WORDS..][..THREAD_WORDS]
    }
}
