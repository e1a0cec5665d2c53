//! How long it takes to read one cgroup.

use super::pace::Pace;
use super::thread_usage::ThreadUsage;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a slow container stays in the slow lane, as a multiple of the time that its reading took.
const SLOW_LANE_FACTOR: u32 = 100;
/// The longest time that one slow reading puts its container there.
const MAX_SLOW_LANE: Duration = Duration::from_secs(10);

/// The cost of one cgroup's readings.
#[derive(Default)]
pub(in crate::service) struct ReadCost {
    /// Whether the last reading that was measured was not slow.
    is_known: AtomicBool,
    /// Whether the last reading took long, as far as it is known by itself.
    is_suspect: AtomicBool,
}

impl ReadCost {
    /// What the thread that is going to read did until now, where that has to be measured. That it waited
    /// counts only if the reading before took long.
    pub(in crate::service) fn begin(&self) -> Option<ThreadUsage> {
        match self.is_suspect.load(Ordering::Relaxed) {
            true => Some(ThreadUsage::now()),
            false => (!self.is_known.load(Ordering::Relaxed)).then(ThreadUsage::time),
        }
    }

    /// Whether the last readings were quick, so that the next one most likely is.
    pub(in crate::service) fn is_quick(&self) -> bool {
        self.is_known.load(Ordering::Relaxed) && !self.is_suspect.load(Ordering::Relaxed)
    }

    /// Records how long a reading took, and what its thread used if that was measured. Returns how long the
    /// container has to stay in the slow lane, if the reading was slow. One that only had to wait for a
    /// processor was not.
    pub(in crate::service) fn was_read(
        &self,
        took: Duration,
        thread: Option<ThreadUsage>,
        pace: Pace,
    ) -> Option<Duration> {
        let is_long = took >= pace.long_reading;
        // A quarter is enough to keep others waiting, where there are many such readings. That it only had to
        // wait for a processor is known where it was measured.
        let costly = pace.slow_reading / 4;
        let waited_only = matches!(thread, Some(ThreadUsage { ran, waits: Some(0) }) if ran < costly);
        let is_suspect = took >= costly && !waited_only;
        let was_suspect = self.is_suspect.swap(is_suspect, Ordering::Relaxed);
        let slow = match thread {
            Some(ThreadUsage { ran, .. }) if ran >= pace.slow_reading => Some(ran),
            Some(ThreadUsage { waits: Some(1..), .. }) if is_long && was_suspect => Some(took),
            _ => None,
        };
        self.is_known.store(slow.is_none(), Ordering::Relaxed);
        slow.map(|slow| (slow * SLOW_LANE_FACTOR).min(MAX_SLOW_LANE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_millis(50);

    #[test]
    fn what_is_slow_by_itself_is_not_what_had_to_wait() {
        let ran = |ran| Some(ThreadUsage { ran, waits: None });
        let read = |cost: &ReadCost, took, thread| cost.was_read(took, thread, Pace::default());
        let cost = ReadCost::default();
        assert!(!cost.is_quick());
        assert_eq!(read(&cost, SLOW / 8, ran(SLOW / 8)), None);
        assert!(cost.is_quick());
        assert_eq!(read(&cost, SLOW / 2, None), None);
        assert!(!cost.is_quick(), "many such readings keep others waiting");
        assert_eq!(read(&cost, SLOW / 2, Some(ThreadUsage { ran: SLOW / 8, waits: Some(0) })), None);
        assert!(cost.is_quick(), "it had to wait for a processor");
        let slower = Pace { slow_reading: 8 * SLOW, ..Pace::default() };
        assert_eq!(cost.was_read(SLOW, ran(SLOW), slower), None, "every reading takes that long here");
        assert!(cost.is_quick());
        assert_eq!(read(&cost, LONG, None), None);
        assert!(!cost.is_quick());
        assert_eq!(read(&cost, SLOW, ran(SLOW / 2)), None);
        assert_eq!(read(&cost, 2 * SLOW, ran(SLOW)), Some(SLOW * SLOW_LANE_FACTOR));
        assert!(!cost.is_quick());

        let cost = ReadCost::default();
        let again = |usage| [(); 2].map(|()| read(&cost, LONG, Some(usage)));
        assert_eq!(again(ThreadUsage { ran: Duration::ZERO, waits: Some(0) }), [None; 2], "it could not run");
        assert_eq!(read(&cost, LONG, None), None);
        let slow = read(&cost, LONG, Some(ThreadUsage { ran: Duration::ZERO, waits: Some(1) }));
        assert_eq!(slow, Some(LONG * SLOW_LANE_FACTOR), "it waits again and again, whatever for");
    }
}
