//! When to start the next child.

use super::backoff::Backoff;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// As many ends within [`ENDS_PERIOD`] are too many.
const MAX_ENDS: usize = 100;
const ENDS_PERIOD: Duration = Duration::from_secs(10);
/// As many children in a row that never came to serve are too many.
const MAX_FAILURES: u32 = 5;
/// How long readers wait for the second attempt to start a child, and how much longer for each that follows.
const START_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// How long containers have the kernel's own files at least, after too many ends.
const MIN_FALLBACK_PERIOD: Duration = Duration::from_secs(1);

/// What follows the end of a child.
pub(super) enum Next {
    /// Start another child after this pause. Readers wait.
    Restart(Duration),
    /// Start another child after this pause, during which containers have the kernel's own files.
    FallBack(Duration),
    /// The supervisor ends with this exit code.
    End(u8),
}

/// Counts ends and failures of children.
#[derive(Default)]
pub(super) struct Restarts {
    /// How many children in a row never came to serve.
    failures: u32,
    /// When children ended, within the last [`ENDS_PERIOD`].
    ends: VecDeque<Instant>,
    backoff: Backoff,
}

impl Restarts {
    /// After a child that could not be started.
    pub(super) fn after_failed_start(&mut self) -> Next {
        self.failures += 1;
        self.unless_too_many("it could not be started", START_RETRY_INTERVAL * self.failures)
    }

    /// After a child that ended without being told to.
    pub(super) fn after_end(&mut self, status: &str, has_served: bool) -> Next {
        self.failures = if has_served { 0 } else { self.failures + 1 };
        log::warn!("the daemon ended with {status}; starting it again");
        self.unless_too_many(&format!("it ended with {status}"), Duration::ZERO)
    }

    /// After somebody has aborted the connection.
    pub(super) fn after_abort(&mut self) -> Next {
        let pause = self.backoff.next();
        log::warn!(
            "the connection was aborted by somebody else, with `umount --force` perhaps; mounting anew after {} s",
            pause.as_secs()
        );
        Next::FallBack(pause)
    }

    fn unless_too_many(&mut self, last: &str, pause: Duration) -> Next {
        let now = Instant::now();
        self.ends.push_back(now);
        self.ends.retain(|end| now.duration_since(*end) < ENDS_PERIOD);
        if self.ends.len() < MAX_ENDS && self.failures < MAX_FAILURES {
            return Next::Restart(pause);
        }
        self.ends.clear();
        self.failures = 0;
        let pause = self.backoff.next().max(MIN_FALLBACK_PERIOD);
        log::error!(
            "the daemon fails again and again; the last time {last}, and its log says why. Containers have the kernel's own \
             files; mounting anew after {} s, or on SIGHUP",
            pause.as_secs()
        );
        Next::FallBack(pause)
    }
}
