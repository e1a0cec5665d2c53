//! Where serving threads stop once nothing more is to be fetched.

use crate::service::serving_threads;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Open until it is closed; then every thread that has answered a request waits here.
pub struct QuiesceGate {
    threads: usize,
    closed: AtomicBool,
    /// How many threads wait here,
    waiting: AtomicUsize,
    /// and how many are about a request.
    inside: AtomicUsize,
}

impl Default for QuiesceGate {
    /// For as many threads as usually serve.
    fn default() -> Self {
        Self::new(serving_threads())
    }
}

impl QuiesceGate {
    /// For so many threads, however many processors there are later.
    #[must_use]
    pub const fn new(threads: usize) -> Self {
        Self {
            threads,
            closed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
        }
    }

    /// How many threads serve.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

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

    /// Whether all threads wait, so that nothing is fetched and unanswered.
    #[must_use]
    pub fn all_wait(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) >= self.threads
    }

    /// Whether no thread is left that could fetch a request.
    #[must_use]
    pub fn all_are_inside(&self) -> bool {
        self.inside.load(Ordering::Relaxed) >= self.threads
    }

    /// A thread has fetched a request. Whether half of the others are about one, too.
    pub(super) fn enter(&self) -> bool {
        self.inside.fetch_add(1, Ordering::Relaxed) >= (self.threads / 2).max(1)
    }

    pub(super) fn pass(&self) {
        self.inside.fetch_sub(1, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn waits_for(gate: &QuiesceGate, all: bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while gate.all_wait() != all && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        gate.all_wait() == all
    }

    #[test]
    fn all_wait_when_as_many_do_as_there_were_at_the_start() {
        let gate = QuiesceGate::new(3);
        gate.pass();
        gate.close();
        thread::scope(|scope| {
            for number in 1..=3 {
                scope.spawn(|| gate.pass());
                if number < 3 {
                    thread::sleep(Duration::from_millis(20));
                    assert!(!gate.all_wait());
                }
            }
            assert!(waits_for(&gate, true));
            gate.open();
        });
        assert!(waits_for(&gate, false));
        assert_eq!(gate.threads(), 3);
    }
}
