//! How long it takes to read one cgroup.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A reading that takes so much of a processor is slow,
const SLOW: Duration = Duration::from_millis(5);
/// and so is one that takes so long twice in a row.
const LONG: Duration = Duration::from_millis(50);
/// Its container is taken for slow for so many times as long,
const ASIDE_PER_SLOW: u32 = 100;
/// but no longer than this.
const LONGEST: Duration = Duration::from_secs(10);

/// How long it takes to read one cgroup.
#[derive(Default)]
pub(super) struct Pace {
    /// Whether it was read once, and that was not slow.
    is_known: AtomicBool,
    /// Whether it took long when it was read last.
    is_suspect: AtomicBool,
}

impl Pace {
    /// Whether it has to be measured how much of a processor a reading takes.
    pub(super) fn is_to_be_measured(&self) -> bool {
        !self.is_known.load(Ordering::Relaxed) || self.is_suspect.load(Ordering::Relaxed)
    }

    /// It was read in so long, with so much of a processor if that was measured. Returns for how long its container is to
    /// be served aside, if it was slow.
    pub(super) fn was_read(&self, took: Duration, ran: Option<Duration>) -> Option<Duration> {
        let is_long = took >= LONG;
        let was_suspect = self.is_suspect.swap(took >= SLOW, Ordering::Relaxed);
        let slow = match ran {
            Some(ran) if ran >= SLOW => Some(ran),
            _ if is_long && was_suspect => Some(took),
            _ => None,
        };
        self.is_known.store(slow.is_none(), Ordering::Relaxed);
        slow.map(|slow| (slow * ASIDE_PER_SLOW).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slow_by_itself_is_not_what_had_to_wait() {
        let pace = Pace::default();
        assert!(pace.is_to_be_measured());
        assert_eq!(pace.was_read(SLOW / 2, Some(SLOW / 2)), None);
        assert!(!pace.is_to_be_measured());
        assert_eq!(pace.was_read(LONG, None), None);
        assert!(pace.is_to_be_measured());
        assert_eq!(pace.was_read(SLOW, Some(SLOW / 2)), None);
        assert_eq!(pace.was_read(2 * SLOW, Some(SLOW)), Some(SLOW * ASIDE_PER_SLOW));
        assert!(pace.is_to_be_measured());

        let pace = Pace::default();
        assert_eq!(pace.was_read(LONG, Some(Duration::ZERO)), None);
        let again = pace.was_read(LONG, Some(Duration::ZERO));
        assert_eq!(again, Some(LONG * ASIDE_PER_SLOW), "it takes long again and again, whatever for");
    }
}
