//! The load of the containers that were asked for it.
//!
//! No cgroup counts its tasks by state, so each of a container's tasks is looked at, every five seconds, just after the kernel has
//! counted its own, or, where that would take more than a hundredth of one processor, as much more seldom; and where all of them
//! would take more than a tenth of one, those whose tenants have most of them are looked at more seldom. Of more than 1,000
//! tasks some stand for all, lest one container have the others wait. To reckon the load from processor time and
//! `cpu.pressure` instead would take one read for each container, but pressure tells for how long *some* task waited and
//! not how many did: three tasks on half a processor look like two. The taskstats interface counts in the kernel, but
//! only for v1, and not what is below a cgroup.
//!
//! LoadAverages start at 0 when the container does, and each look counts for the whole time since the last, as the kernel's do. Over a time in which nobody looked, because nobody asked, the container is said
//! to have had as many tasks running as it has run, and as those that it has now have waited.

use super::beat::{Beat, GLANCE};
use super::places::Places;
use super::turns::Turns;
use crate::error::Error;
use crate::kernel::{Caller, CgroupId, CgroupRef, Depth, Source, TaskLook};
use crate::shares::{Policy, Shares};
use crate::state::{Record, Table};
use crate::sys;
use cgprocfs_core::error::ViewError;
use cgprocfs_core::load_average::{CpuUsageAt, LoadAverages, LoadAvg, LoadState, TaskCounts};
use cgprocfs_core::machine::Ticks;
use cgprocfs_core::parse::uptime::uptime;
use cgprocfs_core::snapshot::{HostFile, Snapshot};
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// So many times as long as the looks at one container ran it is paused: a hundredth of a processor,
const PAUSE_PER_WORK: u32 = 100;
/// but no longer, however long they ran: what a tenant makes dear must not be what all others wait for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The looks at all of them take no more than a tenth of a processor: a tenant may make dear any number of containers.
const PERIOD_PER_WORK: u32 = 10;
/// So much of a container is looked at, at most: a tenant may make many tasks and cgroups, and the others wait meanwhile. It takes
/// some 10 ms for the tasks, and 50 ms for the cgroups.
const SAMPLE: Depth = Depth { cgroups: 4_000, tasks: 1_000, with_run_queue: false, asker: None };
/// And so much by who needs the thread that asks for others.
const FIRST: Depth = Depth { cgroups: 100, tasks: 200, with_run_queue: true, asker: None };
/// What nobody asked for in so long is not looked at until somebody does.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// What a predecessor left and nobody asked for in so long is a container that is gone.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// Over so short a time without a look it was as it is now: the kernel does not look more often either.
const SHORT: u64 = 10_000_000_000;
/// So many containers are known. Where there are more, tenants share them.
const MOST: usize = 10_000;
/// The averages of so many are kept in memory that outlives this process.
pub const LOADS: usize = 1024;

/// By the number of the container's cgroup, which is never used again.
pub(super) struct Loads {
    known: Mutex<KnownLoads>,
}

struct KnownLoads {
    by_container: HashMap<u64, Known>,
    shares: Shares<u64>,
    places: Places<LoadState>,
    /// What a predecessor has left.
    left: HashMap<u64, LoadState>,
    since: Option<Instant>,
    beat: Beat,
    /// Nobody's turn is before.
    next: Instant,
}

struct Known {
    path: Vec<u8>,
    /// The cgroup that accounts for its processor time.
    accounting: Option<Vec<u8>>,
    record: LoadState,
    /// The averages that are told.
    shown: [f64; 3],
    tasks: TaskCounts,
    /// When it is to be looked at again; `None` where nobody asked for it in a while.
    due: Option<Instant>,
    asked: Instant,
    /// Whether it was looked at since it is known.
    is_followed: bool,
}

/// Whose load is asked for.
pub(super) struct Asked<'s> {
    /// The number of the container's cgroup, and its path.
    pub(super) container: (u64, &'s [u8]),
    pub(super) caller: &'s Caller<'s>,
    pub(super) snapshot: &'s Snapshot,
    /// Whether it is certain when the container started.
    pub(super) start_is_certain: bool,
}

impl Record for LoadState {
    const VERSION: u64 = 2;
    const WORDS: usize = 7;

    fn save(&self) -> impl Iterator<Item = u64> {
        let ran = self.ran.map_or([u64::MAX; 2], |ran| [ran.at, ran.time]);
        self.averages.save().into_iter().chain([self.at, self.start.get()]).chain(ran)
    }

    fn restore(words: &[u64]) -> Option<Self> {
        let (averages, rest) = words.split_first_chunk()?;
        let &[at, start, ran_at, time] = rest.first_chunk()?;
        let ran = (ran_at != u64::MAX).then_some(CpuUsageAt { at: ran_at, time });
        Some(Self { averages: LoadAverages::restore(*averages)?, at, ran, start: Ticks::new(start) })
    }
}

impl Known {
    /// Whether nobody asked for it in a while, and nobody looks until somebody does.
    fn is_left_alone(&self) -> bool {
        self.asked.elapsed() >= PATIENCE
    }

    fn told(&self, last_pid: u32) -> LoadAvg {
        LoadAvg { averages: self.shown, tasks: self.tasks, last_pid }
    }

    /// What accounts for its processor time, where that is to go on from what it has run by now.
    fn left_alone(&self) -> Option<Vec<u8>> {
        self.accounting.clone().filter(|_| self.is_left_alone())
    }
}

impl KnownLoads {
    fn insert(&mut self, container: u64, known: Known) {
        if !self.by_container.contains_key(&container) {
            let Ok(displaced) = self.shares.admit(container, &known.path, 1) else { return };
            for container in displaced {
                self.by_container.remove(&container);
                self.places.release(container);
            }
        }
        self.by_container.insert(container, known);
    }

    /// Those whose turn it is. Of those of a tenant it is first that of which has waited for the longest time.
    fn due(&self, now: Instant) -> Turns<Due> {
        let due = |known: &Known| known.due.filter(|due| *due <= now);
        let all = self.by_container.iter().filter_map(|(number, known)| Some((due(known)?, *number, known)));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|(due, number, _)| (*due, *number));
        let mut turns = Turns::default();
        for (_, number, known) in all {
            turns.push(&known.path, (number, known.path.clone(), known.left_alone()));
        }
        turns
    }

    /// How long there is nothing to do.
    fn pause(&self, now: Instant) -> Duration {
        let next = self.next.saturating_duration_since(now);
        if self.beat.is_searching() { next.min(GLANCE) } else { next }
    }

    fn remove(&mut self, container: u64) {
        self.by_container.remove(&container);
        self.shares.remove(container);
        self.places.release(container);
    }

    /// Forgets what a predecessor knew of containers that are gone.
    fn forget_what_is_gone(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() > LONG) {
            self.places.release_unclaimed();
            self.left = HashMap::new();
        }
    }
}

impl Loads {
    pub(super) fn new() -> Self {
        let known = KnownLoads {
            by_container: HashMap::new(),
            shares: Shares::new(MOST, Policy::Replace),
            places: Places::new(LOADS, Policy::Replace),
            left: HashMap::new(),
            since: None,
            beat: Beat::new(),
            next: Instant::now(),
        };
        Self { known: Mutex::new(known) }
    }

    /// Keeps the averages in a table, and goes on with those that a predecessor has kept there.
    pub(super) fn keep(&self, table: Table<LoadState>) {
        let mut known = self.known.lock();
        known.left = known.places.resume(table).into_iter().collect();
        known.since = Some(Instant::now());
    }

    /// The load of a container. Only where nobody looks at its tasks by now that is done first.
    ///
    /// # Errors
    /// [`Error::TakesLong`] where it has so many cgroups that it is to be asked for by somebody who may take long.
    pub(super) fn load(&self, asked: &Asked<'_>, source: &Source) -> Result<LoadAvg, Error> {
        let (container, path) = asked.container;
        let last_pid = source.innermost_pid(asked.caller.pid)?;
        let start = asked.snapshot.start.ok_or(ViewError::NotLoaded("the container's start"))?;
        // One that has started later is another one, in the same cgroup.
        let is_same = |record: &LoadState| record.start >= start || !asked.start_is_certain;
        let now = Instant::now();
        let (earlier, told) = {
            let mut all = self.known.lock();
            let all = &mut *all;
            match all.by_container.get_mut(&container).filter(|known| is_same(&known.record)) {
                Some(known) => {
                    let earlier = known.record;
                    known.asked = now;
                    known.record.ran = ran_by(asked.snapshot)?.or(earlier.ran);
                    all.shares.touch(container);
                    (Some(earlier), known.due.map(|due| (due, known.told(last_pid))))
                }
                None => (all.left.get(&container).copied().filter(is_same), None),
            }
        };
        let asker = Some(asked.caller.pid);
        match told {
            Some((due, told)) if due > now => return Ok(told),
            // Whoever looks at all of them has not come to it.
            Some((_, told)) => {
                let depth = Depth { with_run_queue: false, asker, ..FIRST };
                self.look_at(asked.container, None, depth, source);
                let known = self.known.lock();
                let known = known.by_container.get(&container).filter(|known| is_same(&known.record));
                return Ok(known.map_or(told, |known| known.told(last_pid)));
            }
            None => {}
        }
        let depth = match asked.caller.may_take_long {
            true => Depth { with_run_queue: true, asker, ..SAMPLE },
            false => Depth { asker, ..FIRST },
        };
        let look = match source.tasks(CgroupRef { id: CgroupId::new(container), path }, depth) {
            Ok(look) if !look.are_all && !asked.caller.may_take_long => {
                return Err(Error::TakesLong(crate::error::escaped(path)));
            }
            // Of a container that goes meanwhile there is at least the reader.
            look => look.unwrap_or_default(),
        };
        let accounting = source.accounting_cgroup(asked.caller)?.map(<[u8]>::to_vec);
        let mut all = self.known.lock();
        let (record, shown) = go_on(earlier, &look, asked.snapshot, all.beat.since(now))?;
        all.left.remove(&container);
        let known = Known {
            path: path.to_vec(),
            accounting,
            record,
            shown,
            tasks: look.tasks,
            due: Some(all.beat.after(now)),
            asked: now,
            is_followed: false,
        };
        all.insert(container, known);
        Ok(LoadAvg { averages: shown, tasks: look.tasks, last_pid })
    }

    /// Looks at those whose turn it is, and says how long to wait until the next time.
    pub(super) fn look(&self, source: &Source) -> Duration {
        let started = Instant::now();
        self.seek_beat(source, started);
        let (due, most) = {
            let mut known = self.known.lock();
            if started < known.next {
                return known.pause(started);
            }
            known.forget_what_is_gone();
            (known.due(started), known.beat.period() / PERIOD_PER_WORK)
        };
        in_turn(due, most, sys::thread_time, |(container, path, left_alone)| {
            self.look_at((container, &path), left_alone, SAMPLE, source);
        });
        let (mut known, now) = (self.known.lock(), Instant::now());
        known.next = known.beat.after(now);
        known.pause(now)
    }

    /// Looks at one of them. Of one that is to be left alone from now on it is asked how long it has run.
    fn look_at(
        &self,
        (container, path): (u64, &[u8]),
        left_alone: Option<Vec<u8>>,
        depth: Depth,
        source: &Source,
    ) {
        let (began, before) = (Instant::now(), sys::thread_time());
        let look = source.tasks(CgroupRef { id: CgroupId::new(container), path }, depth);
        let ran = left_alone.and_then(|cgroup| source.run_time(&cgroup));
        let mut all = self.known.lock();
        let KnownLoads { by_container, places, beat, .. } = &mut *all;
        match (look, by_container.get_mut(&container)) {
            (Ok(TaskLook { are_all: false, .. }), Some(_)) if depth.cgroups < SAMPLE.cgroups => {}
            (Ok(TaskLook { tasks, .. }), Some(known)) => {
                let at = since_boot();
                let passed = Duration::from_nanos(at.saturating_sub(known.record.at));
                known.record.averages.add(active(tasks), passed.as_secs_f64());
                (known.record.at, known.shown, known.tasks) = (at, known.record.averages.get(), tasks);
                match std::mem::replace(&mut known.is_followed, true) {
                    false => drop(places.claim(container, path)),
                    // Whoever has lost its place takes nobody else's.
                    true => places.claim_if_free(container, path),
                }
                // As many beats later as is nearest to the pause.
                let pause = pause_after(before).saturating_sub(beat.period() / 2);
                known.due = Some(beat.after(began + pause));
                if known.is_left_alone() {
                    known.record.ran = ran.map(|time| CpuUsageAt { at, time });
                    known.due = None;
                }
                places.put(container, &known.record);
            }
            // It is gone, most likely; if it is not it will be asked for again.
            _ => all.remove(container),
        }
    }

    /// Finds out when the kernel has new averages, once there are containers whose tasks make them change.
    fn seek_beat(&self, source: &Source, now: Instant) {
        {
            let known = self.known.lock();
            let has_load = || known.by_container.values().any(|known| active(known.tasks) > 0.0);
            if !known.beat.is_sought(now) || !(known.beat.is_searching() || has_load()) {
                return;
            }
        }
        let text = source.host_file(HostFile::Loadavg).unwrap_or_default();
        self.known.lock().beat.observe(Instant::now(), &text);
    }

    /// Forgets containers that `exists` denies and nobody looks at.
    pub(super) fn sweep(&self, exists: impl Fn(u64, &[u8]) -> bool) {
        let left: Vec<_> = {
            let known = self.known.lock();
            let left = known.by_container.iter().filter(|(_, known)| known.due.is_none());
            left.map(|(&container, known)| (container, known.path.clone())).collect()
        };
        for (container, _) in left.into_iter().filter(|(number, path)| !exists(*number, path)) {
            self.known.lock().remove(container);
        }
    }
}

/// The number and the path of a container, and what accounts for its processor time where it is to be
/// [left alone](Known::left_alone).
type Due = (u64, Vec<u8>, Option<Vec<u8>>);

/// Has tenants looked at in turn, until that has `run` for `most`. For the others it is another time.
fn in_turn<T>(mut turns: Turns<T>, most: Duration, run: impl Fn() -> Duration, mut look: impl FnMut(T)) {
    let before = run();
    while run().saturating_sub(before) < most
        && let Some(next) = turns.pop()
    {
        look(next);
    }
}

fn active(tasks: TaskCounts) -> f64 {
    f64::from(tasks.running) + f64::from(tasks.uninterruptible)
}

fn since_boot() -> u64 {
    let now = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// How long to pause after what this thread has run since it had run `before`. What it waited meanwhile, for a processor or
/// for a lock, costs nobody a processor and does not count.
fn pause_after(before: Duration) -> Duration {
    (sys::thread_time().saturating_sub(before) * PAUSE_PER_WORK).min(LONGEST_PAUSE)
}

/// How long the container has run by the moment of a snapshot.
fn ran_by(snapshot: &Snapshot) -> Result<Option<CpuUsageAt>, ViewError> {
    let cpus = snapshot.cpus.as_ref().ok_or(ViewError::NotLoaded("the processors"))?;
    let at = moment_of(snapshot)?;
    Ok(cpus.time.map(|time| CpuUsageAt { at, time: time.total }))
}

/// In nanoseconds after the boot.
fn moment_of(snapshot: &Snapshot) -> Result<u64, ViewError> {
    let now = uptime(snapshot.host_file(HostFile::Uptime)?);
    Ok(now.map_err(|e| ViewError::Malformed("/proc/uptime", e))?.saturating_mul(10_000_000))
}

/// What the averages go on from at the moment of a snapshot, from what was known last, or from the container's start; and what
/// they are then. The next look counts for the whole time since the last beat, which was so long ago.
fn go_on(
    earlier: Option<LoadState>,
    look: &TaskLook,
    snapshot: &Snapshot,
    since_beat: Duration,
) -> Result<(LoadState, [f64; 3]), ViewError> {
    let counters = snapshot.counters.as_ref().ok_or(ViewError::NotLoaded("the processors' counters"))?;
    let start = snapshot.start.ok_or(ViewError::NotLoaded("the container's start"))?;
    let (now, ran) = (moment_of(snapshot)?, ran_by(snapshot)?);
    let beat = now.saturating_sub(u64::try_from(since_beat.as_nanos()).unwrap_or(u64::MAX));
    let nothing = LoadState { averages: LoadAverages::default(), at: 0, ran, start };
    let (mut record, since, meanwhile) = match earlier {
        Some(record) => {
            let is_long = now.saturating_sub(record.at) > SHORT;
            let ran = ran.zip(record.ran).filter(|_| is_long);
            let meanwhile =
                ran.map(|(now, then)| (now.time.saturating_sub(then.time), now.at.saturating_sub(then.at)));
            (record, record.at, meanwhile)
        }
        None => {
            let since = snapshot.machine.tick_rate.nanoseconds(start);
            let ran = counters.all.user.saturating_add(counters.all.system);
            (nothing, since, Some((ran, now.saturating_sub(since))))
        }
    };
    // It can't have been more, but for a start that is not known: the container is older than it seems.
    let online = snapshot.cpus.as_ref().map_or(0, |cpus| cpus.online.len());
    let most = f64::from(look.tasks.total.max(u32::try_from(online).unwrap_or(u32::MAX)));
    let active = match meanwhile {
        Some((ran, passed)) => look.run_queue.active(ran, passed).min(most),
        None => active(look.tasks),
    };
    let seconds = |from: u64, until: u64| Duration::from_nanos(until.saturating_sub(from)).as_secs_f64();
    record.averages.add(active, seconds(since, beat));
    // What is younger than the beat had no load then.
    record.at = if earlier.is_some() { since.max(beat) } else { beat };
    (record.ran, record.start) = (ran, start);
    let mut shown = record.averages;
    shown.add(active, seconds(since.max(beat), now));
    Ok((record, shown.get()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cgprocfs_core::cpu::account::{CpuCounters, CpuTimes};
    use cgprocfs_core::cpu::{CpuTime, Cpus};
    use cgprocfs_core::machine::{Machine, TickRate};
    use cgprocfs_core::parse::cpu_list::CpuList;
    use cgprocfs_core::snapshot::{Container, Scope};

    const SECOND: u64 = 1_000_000_000;
    /// So long ago.
    const BEAT: Duration = Duration::from_secs(2);

    /// At so many seconds after the boot, of a container that started at 1,000 and has run so many by then.
    fn snapshot(now: u64, ran: u64) -> Snapshot {
        let scope = Scope::Container(Container::default());
        let mut snapshot = Snapshot::of_memory(None, Machine::USUAL, scope);
        let time = CpuTime { total: ran * SECOND, user: 1, system: 0 };
        snapshot.cpus = Some(Cpus { online: CpuList::first(4), time: Some(time), ..Cpus::default() });
        let all = CpuTimes { user: ran * SECOND, ..CpuTimes::default() };
        snapshot.counters = Some(CpuCounters { all, each: vec![all] });
        snapshot.start = Some(TickRate::USUAL.ticks(1000 * SECOND));
        snapshot.host_files.push((HostFile::Uptime, format!("{now}.00 1.00\n").into()));
        snapshot
    }

    fn at_rest() -> TaskLook {
        TaskLook { tasks: TaskCounts { total: 2, ..TaskCounts::default() }, ..TaskLook::default() }
    }

    fn assert_near(averages: [f64; 3], expected: [f64; 3]) {
        let is_near = averages.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.005);
        assert!(is_near, "{averages:?} instead of {expected:?}");
    }

    #[test]
    fn averages_start_at_nothing_when_the_container_does() {
        // A second's burst, asked for at once, and after 20 s.
        let shown = |now, ran| go_on(None, &at_rest(), &snapshot(now, ran), BEAT).unwrap().1;
        assert_near(shown(1001, 1), [0.0165, 0.0033, 0.0011]);
        assert_near(shown(1020, 1), [0.0142, 0.0032, 0.0011]);
        // A minute on two processors.
        assert_near(shown(1060, 120), [1.264, 0.3625, 0.129]);
        // Of a container that is older than it seems.
        assert_near(shown(1060, 120_000), [2.528, 0.725, 0.258]);
    }

    /// The kernel samples a task that is a second old as it does others: it counts for the whole five seconds.
    #[test]
    fn the_first_look_counts_for_the_time_since_the_last_beat() {
        let (mut record, _) = go_on(None, &at_rest(), &snapshot(1001, 1), BEAT).unwrap();
        assert_eq!((record.averages, record.at), (LoadAverages::default(), 999 * SECOND));
        record.averages.add(1.0, 5.0);
        assert!((record.averages.get()[0] - 0.08).abs() < 0.001);
        let (record, _) = go_on(None, &at_rest(), &snapshot(1060, 120), BEAT).unwrap();
        assert_eq!(record.at, 1058 * SECOND);
        assert_near(record.averages.get(), [1.239, 0.351, 0.125]);
    }

    #[test]
    fn what_nobody_looked_at_goes_on_from_what_was_known() {
        let mut averages = LoadAverages::default();
        averages.add(3.0, 3600.0);
        let ran = Some(CpuUsageAt { at: 5000 * SECOND, time: 10_800 * SECOND });
        let then = LoadState { averages, at: 5000 * SECOND, ran, start: Ticks::default() };
        let after = |now, ran, look: &TaskLook| go_on(Some(then), look, &snapshot(now, ran), BEAT).unwrap().1;
        let [one, five, fifteen] = then.averages.get();
        // It was idle for five minutes.
        assert_near(
            after(5300, 10_800, &at_rest()),
            [one * (-5f64).exp(), five * (-1f64).exp(), fifteen * (-1f64 / 3.0).exp()],
        );
        // It went on.
        assert_near(after(8600, 21_600, &at_rest()), [3.0, 3.0, 3.0]);
        // For a moment nobody looked, and now two tasks run.
        let mut two = at_rest();
        two.tasks.running = 2;
        assert_near(after(5005, 10_800, &two), [2.920, 2.983, 2.940]);
    }

    #[test]
    fn what_a_thread_waits_for_does_not_count() {
        let tenants = || {
            let mut turns = Turns::default();
            (0..100).for_each(|number| turns.push(b"/c", number));
            turns
        };
        let (most, each) = (Duration::from_millis(20), Duration::from_millis(2));
        let mut looks = 0;
        in_turn(tenants(), most, sys::thread_time, |_: i32| {
            let until = sys::thread_time() + each;
            while sys::thread_time() < until {}
            looks += 1;
        });
        assert!((1..=11).contains(&looks), "{looks}");
        let mut looks = 0;
        in_turn(tenants(), most, sys::thread_time, |_: i32| {
            std::thread::sleep(Duration::from_millis(1));
            looks += 1;
        });
        assert_eq!(looks, 100);
    }

    /// A container that nobody has looked at for so many seconds.
    fn waiting(path: &str, seconds: u64, now: Instant) -> Known {
        let averages = LoadAverages::default();
        Known {
            path: path.into(),
            accounting: None,
            record: LoadState { averages, at: 0, ran: None, start: Ticks::default() },
            shown: [0.0; 3],
            tasks: TaskCounts::default(),
            due: now.checked_sub(Duration::from_secs(seconds)),
            asked: now,
            is_followed: true,
        }
    }

    #[test]
    fn many_that_are_dear_take_a_tenth_of_a_processor_and_delay_nobody() {
        const DEAR: Duration = Duration::from_millis(60);
        const CHEAP: Duration = Duration::from_micros(200);
        const TENANTS: u64 = 1000;
        let (loads, now) = (Loads::new(), Instant::now());
        let is_tenants = |number: u64| number < TENANTS;
        let mut known = loads.known.lock();
        for number in 0..TENANTS {
            let path = format!("/pods/tenant{}", format!("/{number}").repeat(10));
            known.insert(number, waiting(&path, 100, now));
        }
        for number in TENANTS..TENANTS + 100 {
            known.insert(number, waiting(&format!("/pods/{number}"), 0, now));
        }
        let period = known.beat.period();
        let mut looked_at = Vec::new();
        for beat in 0..100 {
            let ran = std::cell::Cell::new(Duration::ZERO);
            let now = now + beat * period;
            let mut others = 0;
            let due = known.due(now);
            in_turn(
                due,
                period / PERIOD_PER_WORK,
                || ran.get(),
                |(number, ..)| {
                    ran.set(ran.get() + if is_tenants(number) { DEAR } else { CHEAP });
                    if let Some(known) = known.by_container.get_mut(&number) {
                        known.due = Some(now + period);
                    }
                    if is_tenants(number) { looked_at.push(number) } else { others += 1 }
                },
            );
            assert!(ran.get() < period / PERIOD_PER_WORK + DEAR, "{:?}", ran.get());
            assert_eq!(others, 100, "each is looked at each time");
        }
        // Nor is one of the tenant's looked at twice before another.
        assert!(looked_at.len() > 700, "{}", looked_at.len());
        looked_at.sort_unstable();
        looked_at.dedup();
        assert!(looked_at.len() > 700, "{}", looked_at.len());
    }

    #[test]
    fn a_record_that_is_kept_is_the_same() {
        let mut record =
            LoadState { averages: LoadAverages::default(), at: 5, ran: None, start: Ticks::new(9) };
        record.averages.add(2.0, 30.0);
        for ran in [Some(CpuUsageAt { at: 7, time: 6 }), None] {
            record.ran = ran;
            let words: Vec<u64> = record.save().collect();
            assert_eq!((words.len(), LoadState::restore(&words)), (LoadState::WORDS, Some(record)));
        }
        assert_eq!(LoadState::restore(&[u64::MAX; 7]), None);
    }
}
