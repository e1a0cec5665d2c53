//! How much of the serving threads one container takes, and whether others have to be kept from waiting for it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Over so long it is summed up.
const WINDOW: Duration = Duration::from_millis(100);
/// So much of that a crowd of readers may take of threads that serve others, too, where these have hardly time for more.
const FAIR: Duration = Duration::from_millis(5);
/// So many readers are a crowd. Fewer can't have many requests waiting at once.
const CROWD: u32 = 8;
/// What fetching a request and sending the answer takes, and what comes with it: the reads, and the close.
const OVERHEAD: Duration = Duration::from_micros(30);
/// More than this is not a reader's doing: the thread was kept from running.
const MOST: Duration = Duration::from_micros(200);

/// So often, in per cent of the requests, half of the other threads are about one, too, where that is so. One reader alone has
/// two of its requests answered at once now and then, many have nearly always.
const BUSY: usize = 40;
/// Such a crowd is served aside for so long.
const ASIDE: Duration = Duration::from_secs(1);

/// How often serving threads have hardly time for more requests.
#[derive(Default)]
pub(super) struct Busyness {
    /// A moving average of zeros and [`Busyness::ONE`]s, over some sixty requests.
    average: AtomicUsize,
}

impl Busyness {
    const ONE: usize = 1 << 16;
    const SHIFT: u32 = 6;

    /// A request was fetched, while many threads were about others or few.
    pub(super) fn note(&self, are_many: bool) {
        let sample = if are_many { Self::ONE } else { 0 };
        let average = self.average.load(Ordering::Relaxed);
        // What is lost between two threads is soon made up for.
        let now = average - (average >> Self::SHIFT) + (sample >> Self::SHIFT);
        self.average.store(now, Ordering::Relaxed);
    }

    fn is_busy(&self) -> bool {
        self.average.load(Ordering::Relaxed) * 100 >= BUSY * Self::ONE
    }
}

/// The share of one container's readers.
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
}

impl Share {
    /// Notes that a reader took a serving thread from `began` until `now`.
    pub(super) fn charge(&self, busyness: &Busyness, pid: u32, began: Instant, now: Instant) {
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
        if used >= micros(FAIR) && readers.count_ones() >= CROWD && busyness.is_busy() {
            self.put_aside(now + ASIDE);
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

    fn busyness(of_hundred: u32) -> Busyness {
        let busyness = Busyness::default();
        (0..1000).for_each(|request| busyness.note(request % 100 < of_hundred));
        busyness
    }

    #[test]
    fn a_crowd_that_leaves_no_time_for_others_is_put_aside_for_a_while() {
        let (share, start, took) = (Share::default(), Instant::now(), Duration::from_micros(10));
        let mut now = start;
        for pid in 0.. {
            if share.is_aside(now) {
                break;
            }
            share.charge(&busyness(90), pid, now, now + took);
            now += took;
        }
        assert!(now - start < 2 * WINDOW, "{:?}", now - start);
        assert!(!share.is_aside(now + ASIDE + took));
    }

    #[test]
    fn others_are_not() {
        let never = |busyness: &Busyness, apart: Duration, pid: fn(u32) -> u32| {
            let (share, start) = (Share::default(), Instant::now());
            for round in 0..20_000 {
                let now = start + round * apart;
                // It was kept from running for a while.
                share.charge(busyness, pid(round), now, now + Duration::from_millis(100));
                assert!(!share.is_aside(now), "round {round}");
            }
        };
        let quick = Duration::from_micros(20);
        never(&busyness(90), quick, |_| 7);
        never(&busyness(20), quick, |round| round);
        never(&busyness(90), Duration::from_millis(10), |round| round);
    }
}
