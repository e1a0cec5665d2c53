//! What a thread did while it read something.

use nix::sys::resource::{UsageWho, getrusage};
use std::time::Duration;

/// What a thread did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) struct ThreadUsage {
    /// Its processor time.
    pub(in crate::service) ran: Duration,
    /// How often it waited for anything but a processor, where that was asked.
    pub(in crate::service) waits: Option<u64>,
}

impl ThreadUsage {
    /// What the calling thread did until now.
    pub(in crate::service) fn now() -> Self {
        let waits = getrusage(UsageWho::RUSAGE_THREAD).ok().map(|usage| usage.voluntary_context_switches());
        Self { waits: waits.and_then(|waits| waits.try_into().ok()), ..Self::time() }
    }

    /// Its time alone. getrusage(2) has that as of the last tick, which was up to 10 ms ago.
    pub(in crate::service) fn time() -> Self {
        Self { ran: crate::sys::thread_time(), waits: None }
    }

    /// What it did since `before`, as far as that tells.
    pub(in crate::service) fn since(before: Self) -> Self {
        let now = before.waits.map_or_else(Self::time, |_| Self::now());
        let waits = now.waits.zip(before.waits).map(|(now, before)| now.saturating_sub(before));
        Self { ran: now.ran.saturating_sub(before.ran), waits }
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
        assert!(slept.waits >= Some(1) && slept.ran < Duration::from_millis(20), "{slept:?}");
    }

    #[test]
    fn less_than_a_tick_is_measured() {
        let before = ThreadUsage::time();
        let least = (0..100).map(|_| ThreadUsage::since(before).ran).max();
        assert!(least > Some(Duration::ZERO) && ThreadUsage::since(before).ran < Duration::from_millis(100));
    }
}
