//! Moments as numbers, for what is kept in an atomic.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// A moment in microseconds, on a clock of this process's own. Never 0, which may stand for no time.
pub(super) fn microseconds(moment: Instant) -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    as_micros(moment.saturating_duration_since(*START)).saturating_add(1)
}

/// A duration in microseconds.
pub(super) fn as_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
