//! How long it takes to read one cgroup.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A reading that takes so much processor time is slow.
const SLOW: Duration = Duration::from_millis(5);
/// A reading that takes so long, twice in a row, is slow, too.
const LONG: Duration = Duration::from_millis(50);
/// A slow container stays in the slow lane for so many times as long as its reading took.
const SLOW_LANE_FACTOR: u32 = 100;
/// The longest time that one slow reading puts its container there.
const MAX_SLOW_LANE: Duration = Duration::from_secs(10);

/// The cost of one cgroup's readings.
#[derive(Default)]
pub(in crate::service) struct ReadCost {
    /// Whether the last reading that was measured was not slow.
    is_known: AtomicBool,
    /// Whether the last reading took long.
    is_suspect: AtomicBool,
}

impl ReadCost {
    /// Whether the processor time of the next reading has to be measured.
    pub(in crate::service) fn is_to_be_measured(&self) -> bool {
        !self.is_known.load(Ordering::Relaxed) || self.is_suspect.load(Ordering::Relaxed)
    }

    /// Records a reading that took so long, and so much processor time if that was measured. Returns how long the container has to
    /// stay in the slow lane, if the reading was slow.
    pub(in crate::service) fn was_read(&self, took: Duration, ran: Option<Duration>) -> Option<Duration> {
        let is_long = took >= LONG;
        let was_suspect = self.is_suspect.swap(took >= SLOW, Ordering::Relaxed);
        let slow = match ran {
            Some(ran) if ran >= SLOW => Some(ran),
            _ if is_long && was_suspect => Some(took),
            _ => None,
        };
        self.is_known.store(slow.is_none(), Ordering::Relaxed);
        slow.map(|slow| (slow * SLOW_LANE_FACTOR).min(MAX_SLOW_LANE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slow_by_itself_is_not_what_had_to_wait() {
        let cost = ReadCost::default();
        assert!(cost.is_to_be_measured());
        assert_eq!(cost.was_read(SLOW / 2, Some(SLOW / 2)), None);
        assert!(!cost.is_to_be_measured());
        assert_eq!(cost.was_read(LONG, None), None);
        assert!(cost.is_to_be_measured());
        assert_eq!(cost.was_read(SLOW, Some(SLOW / 2)), None);
        assert_eq!(cost.was_read(2 * SLOW, Some(SLOW)), Some(SLOW * SLOW_LANE_FACTOR));
        assert!(cost.is_to_be_measured());

        let cost = ReadCost::default();
        assert_eq!(cost.was_read(LONG, Some(Duration::ZERO)), None);
        let again = cost.was_read(LONG, Some(Duration::ZERO));
        assert_eq!(again, Some(LONG * SLOW_LANE_FACTOR), "it takes long again and again, whatever for");
    }
}
