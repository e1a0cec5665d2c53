//! What a thread did while it read something.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use std::time::Duration;

/// What a thread did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) struct ThreadUsage {
    /// Its processor time.
    pub(in crate::service) ran: Duration,
    /// How often it waited for anything but a processor.
    pub(in crate::service) waits: u64,
}

impl ThreadUsage {
    /// What the calling thread did until now.
    pub(in crate::service) fn now() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else {
            return Self { ran: Duration::ZERO, waits: 0 };
        };
        let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Self {
            ran: Duration::from_micros(microseconds.try_into().unwrap_or(0)),
            waits: usage.voluntary_context_switches().try_into().unwrap_or(0),
        }
    }

    /// What it did since `before`.
    pub(in crate::service) fn since(before: Self) -> Self {
        let now = Self::now();
        Self { ran: now.ran.saturating_sub(before.ran), waits: now.waits.saturating_sub(before.waits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_a_wait_and_costs_no_processor() {
        let before = ThreadUsage::now();
        std::thread::sleep(Duration::from_millis(20));
        let slept = ThreadUsage::since(before);
        assert!(slept.waits >= 1 && slept.ran < Duration::from_millis(20), "{slept:?}");
        let before = ThreadUsage::now();
        while ThreadUsage::since(before).ran < Duration::from_millis(2) {}
    }
}
