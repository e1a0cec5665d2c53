//! Lanes: requests of containers that were slow wait for each other, and never make others wait.

use std::time::Duration;

/// How often stuck threads are looked for, and how long a thread works before it counts as stuck, but in the
/// slow lane.
pub(in crate::service) const STUCK_TIMEOUT: Duration = Duration::from_millis(50);

/// A queue of work, which is done apart from other queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Containers that are not known to be slow.
    Fast,
    /// Containers that were slow to read, or have taken too much of the serving threads.
    Slow,
    /// Work that may hang in the kernel.
    Blocking,
}

impl Lane {
    /// How many threads work for the lane at a time, not counting those that are stuck.
    pub(in crate::service) const fn width(self) -> usize {
        match self {
            Self::Fast => 2,
            Self::Slow | Self::Blocking => 1,
        }
    }

    /// How long a thread may take for one job before it counts as stuck and another takes its place.
    pub(in crate::service) const fn stuck_timeout(self) -> Duration {
        match self {
            Self::Fast | Self::Blocking => STUCK_TIMEOUT,
            // A slow reading takes its time; another thread would only take processors from other containers.
            Self::Slow => Duration::from_millis(500),
        }
    }
}

/// All lanes, in the order in which they are served.
pub(in crate::service) const LANES: [Lane; 3] = [Lane::Fast, Lane::Slow, Lane::Blocking];
