//! Where serving threads stop once nothing more is to be fetched.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Open until it is closed; then every thread that has answered a request waits here.
#[derive(Default)]
pub struct Gate {
    closed: AtomicBool,
    waiting: AtomicUsize,
}

impl Gate {
    /// Lets nobody fetch another request.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Lets everybody go on.
    pub fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    /// Whether nobody fetches.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// How many threads wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub(super) fn pass(&self) {
        if !self.closed.load(Ordering::SeqCst) {
            return;
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while self.closed.load(Ordering::SeqCst) {
            // It lasts until this process ends, or its successor failed.
            thread::sleep(std::time::Duration::from_millis(1));
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
