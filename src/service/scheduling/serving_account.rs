//! How much time of the serving threads a container takes, and whether it has to go to the slow lane for
//! that.

use super::pace::Pace;
use crate::service::clock::{as_micros, microseconds};
use cgprocfs_core::parse::pid::Pid;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Many readers of one container may take this part of a window at most while the serving threads are busy: a
/// fortieth.
const CONTAINERS_PART: u32 = 40;
/// So many readers are many. Fewer can't have many requests waiting at once.
pub(super) const MANY_READERS: u32 = 8;
/// What is charged for fetching a request, sending its answer, and the reads and the close that follow.
const REQUEST_OVERHEAD: Duration = Duration::from_micros(30);

/// Serving threads are busy if half of the others have a request when one comes, for at least this percentage
/// of requests. A single reader has two requests answered at once now and then, many readers nearly always.
const BUSY_PERCENT: usize = 40;
/// How long a container stays in the slow lane for that, in windows: a second, where the processor is not a
/// slow one. One that begins again as soon as it is out stays twice as long.
const SLOW_LANE_WINDOWS: u32 = 10;
/// The longest time for that.
const MAX_SLOW_LANE_TIME: Duration = Duration::from_secs(16);
/// A container that is part of a crowd stays there up to this many times as long as one that is a crowd by
/// itself.
const MAX_SPREAD: f64 = 4.0;

/// How busy the serving threads are.
#[derive(Default)]
pub(in crate::service) struct Busyness {
    /// A moving average of 0 and [`Busyness::ONE`] over some sixty requests.
    average: AtomicUsize,
}

impl Busyness {
    const ONE: usize = 1 << 16;
    const SHIFT: u32 = 6;

    /// Counts a request that was fetched while many of the other threads were busy, or few.
    pub(in crate::service) fn note(&self, are_many: bool) {
        let sample = if are_many { Self::ONE } else { 0 };
        let average = self.average.load(Ordering::Relaxed);
        // Two threads may overwrite each other's sample, which makes no difference to an average.
        let now = average - (average >> Self::SHIFT) + (sample >> Self::SHIFT);
        self.average.store(now, Ordering::Relaxed);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.average.load(Ordering::Relaxed) * 100 >= BUSY_PERCENT * Self::ONE
    }
}

/// What decides whether a charge sends a container to the slow lane.
#[derive(Clone, Copy)]
pub(in crate::service) struct ChargeRules<'r> {
    busyness: &'r Busyness,
    pace: Pace,
}

impl<'r> ChargeRules<'r> {
    pub(super) const fn new(busyness: &'r Busyness, pace: Pace) -> Self {
        Self { busyness, pace }
    }
}

/// What the readers of a container took in a window.
#[derive(Default)]
struct Window {
    /// Its number since the start of this process.
    number: AtomicU64,
    /// The time, in microseconds.
    used: AtomicU64,
    /// A bit for each reader, by its [scattered] process id.
    readers: AtomicU64,
}

/// The serving time of one container's readers.
#[derive(Default)]
pub(in crate::service) struct ServingAccount {
    /// The last window in which there was a charge.
    window: Window,
    /// The window with a charge before the last one.
    before: Window,
    /// The end of the container's time in the slow lane, in microseconds since the start of this process.
    slow_until: AtomicU64,
    /// The end of the last time that it was there for its many readers, in the same microseconds.
    crowd_until: AtomicU64,
    /// How long it was there for its many readers, in microseconds.
    crowd_time: AtomicU64,
}

impl ServingAccount {
    /// Charges a reader for a serving thread from `began` until `now`.
    pub(in crate::service) fn charge(&self, rules: ChargeRules<'_>, pid: Pid, began: Instant, now: Instant) {
        let took = now.saturating_duration_since(began).min(rules.pace.max_charge) + REQUEST_OVERHEAD;
        self.add(rules, pid, took, now);
    }

    /// Charges a reader for so much time of a serving thread.
    pub(super) fn add(&self, rules: ChargeRules<'_>, pid: Pid, took: Duration, now: Instant) {
        let ChargeRules { busyness, pace } = rules;
        let window = microseconds(now) / as_micros(pace.window);
        // A charge at the same moment may be lost, which makes no difference over a window.
        let last = self.window.number.swap(window, Ordering::Relaxed);
        if last != window {
            self.before.number.store(last, Ordering::Relaxed);
            self.before.used.store(self.window.used.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            self.before.readers.store(self.window.readers.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
        let reader = 1 << (scattered(pid) >> 58);
        let readers = self.window.readers.fetch_or(reader, Ordering::Relaxed) | reader;
        let used =
            self.window.used.fetch_add(as_micros(took), Ordering::Relaxed).saturating_add(as_micros(took));
        if used >= as_micros(pace.window / CONTAINERS_PART)
            && readers.count_ones() >= MANY_READERS
            && busyness.is_busy()
        {
            self.send_to_slow_lane(pace.window * SLOW_LANE_WINDOWS, 1.0, now);
        }
    }

    /// What was taken in a window, in microseconds, and by how many readers; of those before the last one
    /// nothing is known.
    pub(in crate::service) fn in_window(&self, window: u64) -> (u64, u32) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let known = [&self.window, &self.before].into_iter().find(|known| load(&known.number) == window);
        known.map_or((0, 0), |known| (load(&known.used), load(&known.readers).count_ones()))
    }

    /// Keeps the container in the slow lane for its part in a crowd, unless it is there for that already. Of
    /// many containers each has another `part` of the whole, so that they do not come back all at once.
    pub(in crate::service) fn make_slow_for_crowd(&self, pace: Pace, part: f64, now: Instant) {
        self.send_to_slow_lane(pace.window * SLOW_LANE_WINDOWS, 1.0 + part * (MAX_SPREAD - 1.0), now);
    }

    /// Keeps the container in the slow lane for its many readers, unless it is there for them already.
    fn send_to_slow_lane(&self, least: Duration, times: f64, now: Instant) {
        let (until, now_at) = (self.crowd_until.load(Ordering::Relaxed), microseconds(now));
        if until > now_at {
            return;
        }
        let was_just_there = until != 0 && now_at - until < as_micros(least);
        let before = if was_just_there { self.crowd_time.load(Ordering::Relaxed) } else { 0 };
        let time = (2 * before).clamp(as_micros(least), as_micros(MAX_SLOW_LANE_TIME));
        let stay = as_micros(Duration::from_micros(time).mul_f64(times));
        // Of threads that come here at once, one.
        let done =
            self.crowd_until.compare_exchange(until, now_at + stay, Ordering::Relaxed, Ordering::Relaxed);
        if done.is_ok() {
            self.crowd_time.store(time, Ordering::Relaxed);
            self.slow_until.fetch_max(now_at + stay, Ordering::Relaxed);
        }
    }

    /// Keeps the container in the slow lane until then.
    pub(in crate::service) fn make_slow(&self, until: Instant) {
        self.slow_until.fetch_max(microseconds(until), Ordering::Relaxed);
    }

    /// Whether what is known of the container makes a difference: it is in the slow lane, or was there
    /// lately.
    pub(in crate::service) fn matters(&self, now: Instant) -> bool {
        let until = self.slow_until.load(Ordering::Relaxed);
        until != 0 && until.saturating_add(as_micros(MAX_SLOW_LANE_TIME)) > microseconds(now)
    }

    /// Whether the container is in the slow lane.
    pub(in crate::service) fn is_slow(&self, now: Instant) -> bool {
        self.slow_until.load(Ordering::Relaxed) > microseconds(now)
    }
}

/// A number in which only this process knows the process id again: nobody can choose ids so that many readers
/// look like few. Nor do ids that follow each other: a product with a key would put these into a few places
/// only, by some keys.
fn scattered(pid: Pid) -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    scattered_by(&KEY, pid)
}

fn scattered_by(key: &RandomState, pid: Pid) -> u64 {
    key.hash_one(pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::scheduling::thread_usage::ThreadUsage;

    fn busyness(of_hundred: u32) -> Busyness {
        let busyness = Busyness::default();
        (0..1000).for_each(|request| busyness.note(request % 100 < of_hundred));
        busyness
    }

    #[test]
    fn a_crowd_that_leaves_no_time_for_others_goes_to_the_slow_lane_for_a_while() {
        let (account, start, took) = (ServingAccount::default(), Instant::now(), Duration::from_micros(10));
        let mut now = start;
        for pid in 0.. {
            if account.is_slow(now) {
                break;
            }
            account.charge(ChargeRules::new(&busyness(90), Pace::default()), Pid::new(pid), now, now + took);
            now += took;
        }
        assert!(now - start < 2 * Pace::default().window, "{:?}", now - start);
        assert!(!account.is_slow(now + Duration::from_secs(1) + took));
    }

    #[test]
    fn a_crowd_that_is_there_again_at_once_stays_longer_each_time() {
        let (account, busy, start) = (ServingAccount::default(), busyness(90), Instant::now());
        let mut now = start;
        let mut stays = |pause: Duration| {
            now += pause;
            let came = (0..).find_map(|pid| {
                now += Duration::from_micros(10);
                account.charge(ChargeRules::new(&busy, Pace::default()), Pid::new(pid), now, now);
                account.is_slow(now).then_some(now)
            });
            while account.is_slow(now) {
                now += Duration::from_millis(1);
            }
            (now - came.unwrap()).as_secs()
        };
        let at_once = [(); 6].map(|()| stays(Duration::ZERO));
        assert_eq!(at_once, [1, 2, 4, 8, 16, 16]);
        assert_eq!(stays(Duration::from_secs(2)), 1, "it had stopped");
    }

    /// By every key, also of ids that follow each other, or one of which is left out again and again.
    #[test]
    fn many_readers_are_told_apart() {
        for _ in 0..2000 {
            let key = RandomState::new();
            for apart in [1, 2, 3, 64, 4096] {
                let bit = |reader: u32| 1_u64 << (scattered_by(&key, Pid::new(1000 + reader * apart)) >> 58);
                let told_apart = (0..64).fold(0, |bits, reader| bits | bit(reader)).count_ones();
                assert!(told_apart >= 2 * MANY_READERS, "{told_apart} of 64, {apart} apart");
            }
        }
    }

    #[test]
    fn others_are_not() {
        let never = |busyness: &Busyness, apart: Duration, pid: fn(u32) -> u32| {
            let (account, start) = (ServingAccount::default(), Instant::now());
            for round in 0..20_000 {
                let now = start + round * apart;
                // It was kept from running for a while.
                account.charge(
                    ChargeRules::new(busyness, Pace::default()),
                    Pid::new(pid(round)),
                    now,
                    now + Duration::from_millis(100),
                );
                assert!(!account.is_slow(now), "round {round}");
            }
        };
        let quick = Duration::from_micros(20);
        never(&busyness(90), quick, |_| 7);
        never(&busyness(20), quick, |round| round);
        never(&busyness(90), Duration::from_millis(10), |round| round);
    }

    #[test]
    fn a_slow_processor_is_nobody_s_doing() {
        let slow = Pace::of_machine(|| {
            let before = ThreadUsage::now();
            while ThreadUsage::since(before).ran < Duration::from_micros(400) {}
        });
        let (took, busyness) = (Duration::from_millis(4), busyness(90));
        let polls = |readers: u32, apart: Duration| {
            let (account, start) = (ServingAccount::default(), Instant::now());
            (0..200).any(|round| {
                let now = start + round * apart;
                account.charge(ChargeRules::new(&busyness, slow), Pid::new(round % readers), now, now + took);
                account.is_slow(now)
            })
        };
        // Eight programs that poll each second, answered in a hundred times what it takes elsewhere.
        assert!(!polls(8, Duration::from_millis(125)));
        // A crowd, also where eight of them take turns.
        assert!(polls(64, took) && polls(64, 8 * took));
    }
}
