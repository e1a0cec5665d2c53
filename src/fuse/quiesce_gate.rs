//! Where serving threads stop once no more requests are to be fetched.

use crate::service::serving_threads;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// How often a parked thread looks whether the gate is open again. It stays closed until this process ends,
/// unless its successor has failed.
const PARK_INTERVAL: Duration = Duration::from_millis(1);

/// A gate that every serving thread passes after each request. While it is closed they park there.
pub struct QuiesceGate {
    threads: usize,
    closed: AtomicBool,
    /// How many threads are parked.
    parked: AtomicUsize,
    /// How many threads handle a request.
    busy: AtomicUsize,
}

impl Default for QuiesceGate {
    /// A gate for the usual number of serving threads.
    fn default() -> Self {
        Self::new(serving_threads())
    }
}

impl QuiesceGate {
    /// An open gate for a fixed number of threads, even if the number of processors changes later.
    #[must_use]
    pub const fn new(threads: usize) -> Self {
        Self {
            threads,
            closed: AtomicBool::new(false),
            parked: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
        }
    }

    /// How many threads serve.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Has every thread park after the request that it handles.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Lets all threads go on.
    pub fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }

    /// Whether the gate is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Whether all threads are parked, so that nothing is fetched any more.
    #[must_use]
    pub fn all_parked(&self) -> bool {
        self.parked.load(Ordering::SeqCst) >= self.threads
    }

    /// Whether all threads handle a request, so that none is left to fetch another.
    #[must_use]
    pub fn all_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) >= self.threads
    }

    /// Counts a thread that has fetched a request. Returns whether half of the other threads handle one, too.
    pub(super) fn enter(&self) -> bool {
        self.busy.fetch_add(1, Ordering::Relaxed) >= (self.threads / 2).max(1)
    }

    /// Counts a thread that has handled its request, and parks it as long as the gate is closed.
    pub(super) fn leave(&self) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
        if self.is_closed() {
            self.park();
        }
    }

    fn park(&self) {
        self.parked.fetch_add(1, Ordering::SeqCst);
        while self.is_closed() {
            thread::sleep(PARK_INTERVAL);
        }
        self.parked.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn reaches(gate: &QuiesceGate, all_parked: bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while gate.all_parked() != all_parked && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        gate.all_parked() == all_parked
    }

    #[test]
    fn all_are_parked_when_as_many_are_as_there_were_at_the_start() {
        let gate = QuiesceGate::new(3);
        gate.enter();
        gate.leave();
        gate.close();
        thread::scope(|scope| {
            for number in 1..=3 {
                gate.enter();
                scope.spawn(|| gate.leave());
                if number < 3 {
                    thread::sleep(Duration::from_millis(20));
                    assert!(!gate.all_parked());
                }
            }
            assert!(reaches(&gate, true));
            gate.open();
        });
        assert!(reaches(&gate, false));
        assert_eq!(gate.threads(), 3);
    }
}
