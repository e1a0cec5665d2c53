//! When the kernel samples its own load. Who samples at other moments sees a burst up to five seconds before
//! or after it, and who samples in the very same moment is what it counts.

use rustix::time::{ClockId, clock_getres, clock_gettime};
use std::time::{Duration, Instant};

/// The kernel's sampling interval, without the tick that it has besides (`LOAD_FREQ`,
/// include/linux/sched/loadavg.h).
const LOAD_INTERVAL: Duration = Duration::from_secs(5);
/// Where in each period the kernel is assumed to sample until it is known.
const DEFAULT_PHASE: Duration = Duration::from_millis(250);
/// How often the kernel's averages are polled, for a whole period at most, while the phase is searched for.
pub(in crate::service) const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How long to wait before a search that has failed is repeated.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// The moments just after the kernel has its new averages.
#[derive(Debug)]
pub(in crate::service) struct SamplingPhase {
    period: Duration,
    /// A moment, and how long it was after the start of CLOCK_MONOTONIC, from which the kernel counts its
    /// periods.
    origin: (Instant, Duration),
    /// How long after the start of each of them it has new averages.
    phase: Option<Duration>,
    search: Option<PhaseSearch>,
    next_search: Option<Instant>,
}

#[derive(Debug)]
struct PhaseSearch {
    began: Instant,
    averages: Vec<u8>,
}

impl SamplingPhase {
    pub(in crate::service) fn new() -> Self {
        // Of such a clock it is the length of a tick.
        let tick = Duration::try_from(clock_getres(ClockId::MonotonicCoarse)).unwrap_or_default();
        let tick = tick.min(Duration::from_millis(10));
        let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
        Self::with(LOAD_INTERVAL + tick, (Instant::now(), now))
    }

    const fn with(period: Duration, origin: (Instant, Duration)) -> Self {
        Self { period, origin, phase: None, search: None, next_search: None }
    }

    pub(in crate::service) const fn period(&self) -> Duration {
        self.period
    }

    /// The first one after a moment.
    pub(in crate::service) fn after(&self, moment: Instant) -> Instant {
        let phase = self.phase.unwrap_or(DEFAULT_PHASE);
        let into = self.since_period(moment);
        moment + if into < phase { phase - into } else { self.period + phase - into }
    }

    /// How long ago the last one was.
    pub(in crate::service) fn since(&self, moment: Instant) -> Duration {
        self.period.saturating_sub(self.after(moment).saturating_duration_since(moment))
    }

    fn since_period(&self, moment: Instant) -> Duration {
        let (origin, since_start) = self.origin;
        let nanoseconds = (since_start + moment.saturating_duration_since(origin)).as_nanos();
        let into = nanoseconds % self.period.as_nanos().max(1);
        Duration::from_nanos(u64::try_from(into).unwrap_or(0))
    }

    /// Whether it is to be [observed](Self::observe) what the kernel's averages are.
    pub(in crate::service) fn is_sought(&self, now: Instant) -> bool {
        self.phase.is_none() && (self.search.is_some() || self.next_search.is_none_or(|next| now >= next))
    }

    /// Takes note of the text of the host's `/proc/loadavg`.
    pub(in crate::service) fn observe(&mut self, now: Instant, text: &[u8]) {
        // What follows them changes all the time.
        let averages = text.splitn(4, |&byte| byte == b' ').take(3).collect::<Vec<_>>().join(&b' ');
        match &self.search {
            None => self.search = Some(PhaseSearch { began: now, averages }),
            Some(search) if search.averages != averages => {
                self.phase = Some(self.since_period(now));
                self.search = None;
            }
            // Those of an idle machine stay as they are.
            Some(search) if now.saturating_duration_since(search.began) > self.period + 2 * POLL_INTERVAL => {
                self.search = None;
                self.next_search = Some(now + RETRY_INTERVAL);
            }
            Some(_) => {}
        }
    }

    /// Whether somebody is to look again after [`POLL_INTERVAL`].
    pub(in crate::service) const fn is_searching(&self) -> bool {
        self.search.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(5004);

    #[test]
    fn the_moment_is_found_where_averages_change() {
        let start = Instant::now();
        let mut phase = SamplingPhase::with(PERIOD, (start, 3 * PERIOD));
        let at = |milliseconds: u32| start + Duration::from_millis(milliseconds.into());
        assert_eq!(phase.after(at(0)), at(250));
        assert_eq!(phase.after(at(250)), at(5254));
        assert!(phase.is_sought(at(0)));
        phase.observe(at(0), b"0.00 0.01 0.05 1/99 100\n");
        phase.observe(at(20), b"0.00 0.01 0.05 2/98 101\n");
        assert!(phase.is_searching());
        phase.observe(at(190), b"0.08 0.03 0.05 2/98 101\n");
        assert!(!phase.is_searching() && !phase.is_sought(at(1_000_000)));
        assert_eq!(phase.after(at(0)), at(190));
        assert_eq!(phase.after(at(190)), at(5194));
        assert_eq!(phase.after(at(5193)), at(5194));
        assert_eq!(phase.since(at(5200)), Duration::from_millis(6));
    }

    #[test]
    fn on_an_idle_machine_there_is_nothing_to_be_found() {
        let start = Instant::now();
        let mut phase = SamplingPhase::with(PERIOD, (start, Duration::ZERO));
        phase.observe(start, b"0.00 0.00 0.00 1/9 9\n");
        let end = start + PERIOD + 3 * POLL_INTERVAL;
        phase.observe(end, b"0.00 0.00 0.00 1/9 9\n");
        assert!(!phase.is_searching() && !phase.is_sought(end) && phase.is_sought(end + RETRY_INTERVAL));
    }
}
