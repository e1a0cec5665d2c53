//! How much of the serving threads one container takes, and whether others have to be kept from waiting for it.

use crate::shares::excess;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
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
/// A reading that takes so much of a processor is slow,
const SLOW: Duration = Duration::from_millis(5);
/// and so is one that takes so long twice in a row.
const LONG: Duration = Duration::from_millis(50);
/// Its container is taken for slow for so many times as long,
const ASIDE_PER_SLOW: u32 = 100;
/// but no longer than this.
const LONGEST: Duration = Duration::from_secs(10);

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

/// How long it takes to read one cgroup.
#[derive(Default)]
pub(super) struct Pace {
    /// Whether it was read once, and that was not slow.
    is_known: AtomicBool,
    /// Whether it took long when it was read last.
    is_suspect: AtomicBool,
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

impl Pace {
    /// Whether it has to be measured how much of a processor a reading takes.
    pub(super) fn is_to_be_measured(&self) -> bool {
        !self.is_known.load(Ordering::Relaxed) || self.is_suspect.load(Ordering::Relaxed)
    }

    /// It was read in so long, with so much of a processor if that was measured. Returns for how long its container is to
    /// be served aside, if it was slow.
    pub(super) fn was_read(&self, took: Duration, ran: Option<Duration>) -> Option<Duration> {
        let is_long = took >= LONG;
        let was_suspect = self.is_suspect.swap(took >= SLOW, Ordering::Relaxed);
        let slow = match ran {
            Some(ran) if ran >= SLOW => Some(ran),
            _ if is_long && was_suspect => Some(took),
            _ => None,
        };
        self.is_known.store(slow.is_none(), Ordering::Relaxed);
        slow.map(|slow| (slow * ASIDE_PER_SLOW).min(LONGEST))
    }
}

/// The containers for which a serving thread reads: not all of those threads may, and one of a container only, whatever cgroups it
/// has made below its own.
pub(super) struct Readings {
    most: usize,
    containers: Mutex<Vec<Arc<[u8]>>>,
}

/// That a thread may read a cgroup.
#[derive(Default)]
pub(super) struct Permit<'r>(Option<(&'r Readings, Arc<[u8]>)>);

impl Readings {
    pub(super) fn new(most: usize) -> Self {
        Self { most, containers: Mutex::default() }
    }

    /// `None` where others have to do it.
    pub(super) fn permit(&self, container: &[u8]) -> Option<Permit<'_>> {
        let mut containers = self.containers.lock();
        if containers.len() >= self.most || containers.iter().any(|other| **other == *container) {
            return None;
        }
        let container: Arc<[u8]> = container.into();
        containers.push(Arc::clone(&container));
        Some(Permit(Some((self, container))))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some((readings, container)) = &self.0 {
            let mut containers = readings.containers.lock();
            if let Some(place) = containers.iter().position(|other| other == container) {
                containers.swap_remove(place);
            }
        }
    }
}

/// The shares of containers that have cgroups of their own making below them, by their paths: who is in one of these has
/// the container's share, and not another one.
#[derive(Default)]
pub(super) struct ContainerShares {
    shares: Mutex<HashMap<Box<[u8]>, Arc<Share>>>,
}

/// So many are remembered.
const MOST_SHARES: usize = 4096;

impl ContainerShares {
    pub(super) fn of(&self, container: &[u8]) -> Arc<Share> {
        let mut shares = self.shares.lock();
        if let Some(share) = shares.get(container) {
            return Arc::clone(share);
        }
        if shares.len() >= MOST_SHARES {
            // Who is not served aside has no more than a tenth of a second's account to lose.
            let now = Instant::now();
            shares.retain(|_, share| share.is_aside(now));
            let held: Vec<_> = shares.keys().cloned().collect();
            let held = held.iter().map(|container| (container, &**container, 1));
            for container in excess(held, MOST_SHARES - MOST_SHARES / 8) {
                shares.remove(container);
            }
        }
        Arc::clone(shares.entry(container.into()).or_default())
    }

    /// Forgets those that are served like others.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut shares = self.shares.lock();
        shares.retain(|_, share| share.is_aside(now));
        shares.shrink_to_fit();
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

    #[test]
    fn what_is_slow_by_itself_is_not_what_had_to_wait() {
        let pace = Pace::default();
        assert!(pace.is_to_be_measured());
        assert_eq!(pace.was_read(SLOW / 2, Some(SLOW / 2)), None);
        assert!(!pace.is_to_be_measured());
        assert_eq!(pace.was_read(LONG, None), None);
        assert!(pace.is_to_be_measured());
        assert_eq!(pace.was_read(SLOW, Some(SLOW / 2)), None);
        assert_eq!(pace.was_read(2 * SLOW, Some(SLOW)), Some(SLOW * ASIDE_PER_SLOW));
        assert!(pace.is_to_be_measured());

        let pace = Pace::default();
        assert_eq!(pace.was_read(LONG, Some(Duration::ZERO)), None);
        let again = pace.was_read(LONG, Some(Duration::ZERO));
        assert_eq!(again, Some(LONG * ASIDE_PER_SLOW), "it takes long again and again, whatever for");
    }

    #[test]
    fn a_container_is_read_by_one_serving_thread() {
        let readings = Readings::new(3);
        let one = readings.permit(b"/a").unwrap();
        assert!(readings.permit(b"/a").is_none(), "whichever cgroup of it");
        let others = [b"/b", b"/c"].map(|other| readings.permit(other).unwrap());
        assert!(readings.permit(b"/d").is_none(), "one is left for who needs nothing to be read");
        drop(one);
        drop(readings.permit(b"/a").unwrap());
        drop(others);
        assert!(readings.containers.lock().is_empty());
    }

    #[test]
    fn the_cgroups_of_a_container_have_one_share() {
        let (shares, now) = (ContainerShares::default(), Instant::now());
        shares.of(b"/a").put_aside(now + ASIDE);
        shares.sweep();
        assert!(shares.of(b"/a").is_aside(now) && !shares.of(b"/b").is_aside(now));
        for number in 0..2 * MOST_SHARES {
            shares.of(number.to_string().as_bytes());
        }
        assert!(shares.shares.lock().len() <= MOST_SHARES);
    }
    #[test]
    fn whoever_has_many_containers_ends_nobody_s_time_aside() {
        let (shares, now) = (ContainerShares::default(), Instant::now());
        let slow: Vec<_> = (0..10).map(|number| format!("/pods/slow/{number}")).collect();
        slow.iter().for_each(|slow| shares.of(slow.as_bytes()).put_aside(now + 100 * ASIDE));
        for number in 0..2 * MOST_SHARES {
            shares.of(format!("/pods/tenant/{number}").as_bytes());
        }
        let are_aside = || slow.iter().all(|slow| shares.of(slow.as_bytes()).is_aside(now));
        assert!(are_aside());
        for number in 0..2 * MOST_SHARES {
            shares.of(format!("/pods/tenant/{number}").as_bytes()).put_aside(now + 100 * ASIDE);
        }
        assert!(are_aside() && shares.shares.lock().len() <= MOST_SHARES);
    }
}
