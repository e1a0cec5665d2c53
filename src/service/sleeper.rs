//! Background threads that sleep until there is something to do, however long that takes: a daemon that
//! nobody asks is to cost nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

/// A thread that others wake.
#[derive(Default)]
pub(in crate::service) struct Sleeper(OnceLock<Thread>);

impl Sleeper {
    /// Has `thread` be the one that is woken.
    pub(in crate::service) fn set(&self, thread: &Thread) {
        let _ = self.0.set(thread.clone());
    }

    /// Ends the thread's next or present [`sleep`].
    pub(in crate::service) fn wake(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

/// Sleeps until somebody wakes this thread, or until the timeout. It may wake early.
pub(in crate::service) fn sleep(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => thread::park_timeout(timeout),
        None => thread::park(),
    }
}

/// Whether there are requests.
#[derive(Default)]
pub(in crate::service) struct Activity {
    /// Set by requests.
    was_asked: AtomicBool,
    /// Whether the thread that looks after idle things sleeps until the next request.
    sleeps: AtomicBool,
    pub(in crate::service) sleeper: Sleeper,
}

impl Activity {
    /// Notes a request. It costs one load where there are many.
    pub(in crate::service) fn note(&self) {
        if !self.was_asked.load(Ordering::Relaxed) {
            self.was_asked.store(true, Ordering::SeqCst);
            if self.sleeps.load(Ordering::SeqCst) {
                self.sleeper.wake();
            }
        }
    }

    /// Whether there was a request since this was asked last.
    pub(in crate::service) fn was_asked(&self) -> bool {
        self.was_asked.swap(false, Ordering::SeqCst)
    }

    /// Sleeps until there is a request, or until the timeout. Returns whether there is one.
    pub(in crate::service) fn sleep_until_asked(&self, timeout: Option<Duration>) -> bool {
        self.sleeps.store(true, Ordering::SeqCst);
        if !self.was_asked.load(Ordering::SeqCst) {
            sleep(timeout);
        }
        self.sleeps.store(false, Ordering::SeqCst);
        self.was_asked.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, mpsc};

    #[test]
    fn a_request_ends_the_sleep() {
        let activity = Arc::new(Activity::default());
        let (sender, woken) = mpsc::channel();
        let slept = Arc::clone(&activity);
        let sleeper = thread::spawn(move || {
            for _ in 0..100 {
                slept.sleep_until_asked(None);
                if slept.was_asked() {
                    sender.send(()).unwrap();
                }
            }
        });
        activity.sleeper.set(sleeper.thread());
        activity.note();
        assert!(woken.recv_timeout(Duration::from_secs(10)).is_ok());
        assert!(woken.recv_timeout(Duration::from_millis(20)).is_err(), "nobody has asked");
        activity.note();
        assert!(woken.recv_timeout(Duration::from_secs(10)).is_ok());
        assert!(!Activity::default().sleep_until_asked(Some(Duration::from_millis(1))));
        while !sleeper.is_finished() {
            activity.sleeper.wake();
        }
        sleeper.join().unwrap();
    }
}
