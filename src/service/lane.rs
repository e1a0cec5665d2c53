//! Lanes: who waits for whom.

use std::time::Duration;

/// How often it is seen to whether a thread is stuck, and when that is so where nothing is slow.
pub(super) const STUCK_TIMEOUT: Duration = Duration::from_millis(50);

/// Who waits for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Containers of which it is not known that they are slow.
    Quick,
    /// Those of which it is.
    Slow,
    /// Looks at what may hang.
    Looks,
}

impl Lane {
    /// How many threads work for it at a time.
    pub(super) const fn width(self) -> usize {
        match self {
            Self::Quick => 2,
            Self::Slow | Self::Looks => 1,
        }
    }

    /// A thread that has been at one thing for so long is stuck, and another one takes its place.
    pub(super) const fn stuck_timeout(self) -> Duration {
        match self {
            Self::Quick | Self::Looks => STUCK_TIMEOUT,
            // What is slow takes its time, and others are to have theirs.
            Self::Slow => Duration::from_millis(500),
        }
    }
}

/// All of them, the one that goes first first.
pub(super) const LANES: [Lane; 3] = [Lane::Quick, Lane::Slow, Lane::Looks];
