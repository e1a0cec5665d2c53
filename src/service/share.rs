//! How much of the serving threads one container takes, and whether others have to be kept from waiting for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Over so long it is summed up.
const WINDOW: Duration = Duration::from_millis(100);
/// So much of that a container may take of threads that serve others, too.
const FAIR: Duration = Duration::from_millis(25);
/// An answer that takes longer than this is slow,
const SLOW: Duration = Duration::from_millis(5);
/// and its container is taken for slow for so many times as long,
const ASIDE_PER_SLOW: u32 = 100;
/// but no longer than this.
const LONGEST: Duration = Duration::from_secs(10);

/// The share of one cgroup's readers.
#[derive(Default)]
pub(super) struct Share {
    /// The window that `used` is of, counted from the start of this process.
    window: AtomicU64,
    /// Microseconds.
    used: AtomicU64,
    /// Until when they are served aside, in microseconds after the start of this process.
    aside_until: AtomicU64,
    /// Whether it was read once, and that was not slow.
    is_known: AtomicBool,
}

impl Share {
    /// Notes that its readers took a serving thread from `began` until `now`.
    pub(super) fn charge(&self, began: Instant, now: Instant) {
        let took = now.saturating_duration_since(began);
        let window = since_start(now) / micros(WINDOW);
        // Who comes at the same time may take something off the account, and is none the richer for it.
        if self.window.swap(window, Ordering::Relaxed) != window {
            self.used.store(0, Ordering::Relaxed);
        }
        let used = self.used.fetch_add(micros(took), Ordering::Relaxed).saturating_add(micros(took));
        if took >= SLOW {
            self.put_aside(now + (took * ASIDE_PER_SLOW).min(LONGEST));
        } else if used >= micros(FAIR) {
            self.put_aside(now + WINDOW);
        }
    }

    /// Has its readers served aside until then.
    pub(super) fn put_aside(&self, until: Instant) {
        self.is_known.store(false, Ordering::Relaxed);
        self.aside_until.fetch_max(since_start(until), Ordering::Relaxed);
    }

    /// Whether its readers are to be served aside.
    pub(super) fn is_aside(&self, now: Instant) -> bool {
        self.aside_until.load(Ordering::Relaxed) > since_start(now)
    }

    /// Whether it is known to be read quickly.
    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// It was read, in so long.
    pub(super) fn was_read_in(&self, took: Duration) {
        self.is_known.store(took < SLOW, Ordering::Relaxed);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds since this process has asked for the first time.
fn since_start(now: Instant) -> u64 {
    use std::sync::LazyLock;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Never 0, which is no time at all.
    micros(now.saturating_duration_since(*START)).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_more_than_a_share_is_put_aside_for_a_while() {
        let (share, start) = (Share::default(), Instant::now());
        let took = Duration::from_millis(1);
        let mut now = start;
        while !share.is_aside(now) {
            share.charge(now, now + took);
            now += took;
        }
        let used = now - start;
        assert!((FAIR..2 * FAIR + WINDOW).contains(&used), "{used:?}");
        assert!(!share.is_aside(now + WINDOW + took));
    }

    #[test]
    fn who_asks_now_and_then_is_not() {
        let (share, start) = (Share::default(), Instant::now());
        for round in 0..1000 {
            let now = start + round * Duration::from_millis(10);
            share.charge(now, now + Duration::from_millis(1));
            assert!(!share.is_aside(now));
        }
    }

    #[test]
    fn one_slow_answer_is_enough() {
        let (share, start) = (Share::default(), Instant::now());
        share.was_read_in(SLOW / 2);
        assert!(share.is_known());
        share.charge(start, start + SLOW);
        assert!(share.is_aside(start + SLOW * ASIDE_PER_SLOW) && !share.is_known());
        assert!(!share.is_aside(start + 2 * SLOW * ASIDE_PER_SLOW));
    }
}
