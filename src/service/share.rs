//! How much of the serving threads one container takes, and whether others have to be kept from waiting for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Over so long it is summed up.
const WINDOW: Duration = Duration::from_millis(100);
/// So much of that a crowd of readers may take of threads that serve others, too.
const FAIR: Duration = Duration::from_millis(5);
/// So many readers are a crowd. Fewer can't have many requests waiting at once.
const CROWD: u32 = 8;
/// What fetching a request and sending the answer takes, and what comes with it: the reads, and the close.
const OVERHEAD: Duration = Duration::from_micros(30);
/// More than this is not a reader's doing: the thread was kept from running.
const MOST: Duration = Duration::from_micros(200);
/// A reading that takes so much of a processor is slow,
const SLOW: Duration = Duration::from_millis(5);
/// and so is one that takes so long twice in a row.
const LONG: Duration = Duration::from_millis(50);
/// Its container is taken for slow for so many times as long,
const ASIDE_PER_SLOW: u32 = 100;
/// but no longer than this.
const LONGEST: Duration = Duration::from_secs(10);

/// The share of one cgroup's readers.
#[derive(Default)]
pub(super) struct Share {
    /// The window that `used` and `readers` are of, counted from the start of this process.
    window: AtomicU64,
    /// Microseconds.
    used: AtomicU64,
    /// A bit for each that has asked, more or less.
    readers: AtomicU64,
    /// Until when they are served aside, in microseconds after the start of this process.
    aside_until: AtomicU64,
    /// Whether it was read once, and that was not slow.
    is_known: AtomicBool,
    /// Whether it took long when it was read last.
    is_suspect: AtomicBool,
}

impl Share {
    /// Notes that a reader took a serving thread from `began` until `now`.
    pub(super) fn charge(&self, pid: u32, began: Instant, now: Instant) {
        let took = (now.saturating_duration_since(began)).min(MOST) + OVERHEAD;
        let window = since_start(now) / micros(WINDOW);
        // Who comes at the same time may take something off the account, and is none the richer for it.
        if self.window.swap(window, Ordering::Relaxed) != window {
            self.used.store(0, Ordering::Relaxed);
            self.readers.store(0, Ordering::Relaxed);
        }
        let reader = 1 << (pid % u64::BITS);
        let readers = self.readers.fetch_or(reader, Ordering::Relaxed) | reader;
        let used = self.used.fetch_add(micros(took), Ordering::Relaxed).saturating_add(micros(took));
        if used >= micros(FAIR) && readers.count_ones() >= CROWD {
            self.put_aside(now + WINDOW);
        }
    }

    /// Whether it has to be measured how much of a processor a reading takes.
    pub(super) fn is_to_be_measured(&self) -> bool {
        !self.is_known.load(Ordering::Relaxed) || self.is_suspect.load(Ordering::Relaxed)
    }

    /// It was read in so long, with so much of a processor if that was measured.
    pub(super) fn was_read(&self, took: Duration, ran: Option<Duration>, now: Instant) {
        let is_long = took >= LONG;
        let was_suspect = self.is_suspect.swap(took >= SLOW, Ordering::Relaxed);
        let slow = match ran {
            Some(ran) if ran >= SLOW => Some(ran),
            _ if is_long && was_suspect => Some(took),
            _ => None,
        };
        self.is_known.store(slow.is_none(), Ordering::Relaxed);
        if let Some(slow) = slow {
            self.put_aside(now + (slow * ASIDE_PER_SLOW).min(LONGEST));
        }
    }

    /// Has its readers served aside until then.
    pub(super) fn put_aside(&self, until: Instant) {
        self.aside_until.fetch_max(since_start(until), Ordering::Relaxed);
    }

    /// Whether its readers are to be served aside.
    pub(super) fn is_aside(&self, now: Instant) -> bool {
        self.aside_until.load(Ordering::Relaxed) > since_start(now)
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
    fn a_crowd_that_takes_more_than_a_share_is_put_aside_for_a_while() {
        let (share, start) = (Share::default(), Instant::now());
        let took = Duration::from_micros(20);
        let mut now = start;
        for pid in 0.. {
            if share.is_aside(now) {
                break;
            }
            share.charge(pid, now, now + took);
            now += took;
        }
        assert!(now - start < 2 * WINDOW, "{:?}", now - start);
        assert!(!share.is_aside(now + WINDOW + took));
    }

    #[test]
    fn neither_one_reader_nor_a_crowd_that_asks_now_and_then_is() {
        let (share, start) = (Share::default(), Instant::now());
        for round in 0..100_000 {
            let now = start + round * Duration::from_micros(20);
            share.charge(7, now, now + Duration::from_micros(20));
            assert!(!share.is_aside(now));
        }
        let share = Share::default();
        for round in 0..1000 {
            let now = start + round * Duration::from_millis(10);
            // It was kept from running for a while.
            share.charge(round, now, now + Duration::from_millis(100));
            assert!(!share.is_aside(now));
        }
    }

    #[test]
    fn what_is_slow_by_itself_is_not_what_had_to_wait() {
        let (share, now) = (Share::default(), Instant::now());
        assert!(share.is_to_be_measured());
        share.was_read(SLOW / 2, Some(SLOW / 2), now);
        assert!(!share.is_to_be_measured());
        share.was_read(LONG, None, now);
        assert!(!share.is_aside(now) && share.is_to_be_measured());
        share.was_read(SLOW, Some(SLOW / 2), now);
        assert!(!share.is_aside(now));
        share.was_read(2 * SLOW, Some(SLOW), now);
        assert!(share.is_aside(now + SLOW) && share.is_to_be_measured());

        let share = Share::default();
        share.was_read(LONG, Some(Duration::ZERO), now);
        share.was_read(LONG, Some(Duration::ZERO), now);
        assert!(share.is_aside(now), "it takes long again and again, whatever for");
    }
}
