//! The load of the containers that were asked for it lately.
//!
//! No cgroup counts its tasks by state, so each of a container's tasks is looked at, every five seconds or, where that would
//! take more than a hundredth of one processor, as much more seldom. Of more than 1,000 tasks some stand for all, lest one
//! container have the others wait. To reckon the load from processor time and
//! `cpu.pressure` instead would take one read for each container, but pressure tells for how long *some* task waited and
//! not how many did: three tasks on half a processor look like two. The taskstats interface counts in the kernel, but
//! only for v1, and not what is below a cgroup.

use super::places::Places;
use crate::load::{Averages, Load, Tasks};
use crate::parse::uptime::uptime;
use crate::shared::{Record, Table};
use crate::shares::{Policy, Shares};
use crate::snapshot::{Native, Snapshot};
use crate::source::Source;
use crate::sys;
use crate::view::ViewError;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// As often as the kernel does (`LOAD_FREQ`).
const INTERVAL: Duration = Duration::from_secs(5);
/// How often it is seen whose turn it is.
const TICK: Duration = Duration::from_millis(500);
/// So many times as long as the looks at one container ran, and all looks together, it is paused: a hundredth of a processor,
const PAUSE_PER_WORK: u32 = 100;
/// but no longer, however long they ran: what a tenant makes dear must not be what all others wait for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// So many tasks and cgroups of a container are looked at, at most: a tenant may make many, and the others wait meanwhile. It
/// takes some 10 ms.
const MOST_LOOKS: u32 = 1_000;
/// And so many while somebody waits for it.
const FIRST_LOOKS: u32 = 200;
/// What nobody asked for in so long is forgotten.
const PATIENCE: Duration = Duration::from_mins(15);
/// So many containers are followed. Where there are more, tenants share them; the load of the others is what they have run.
const MOST: usize = 10_000;
/// The averages of so many are kept in memory that outlives this process.
pub const LOADS: usize = 1024;
/// Averages of a predecessor's are of then if nobody has looked for so long.
const SOON: Duration = Duration::from_mins(1);

/// By the number of the container's cgroup, which is never used again.
pub(super) struct Loads {
    known: Mutex<KnownLoads>,
}

struct KnownLoads {
    by_container: HashMap<u64, Known>,
    shares: Shares<u64>,
    places: Places<Averages>,
    /// What a predecessor has left.
    left: HashMap<u64, Averages>,
    since: Option<Instant>,
}

struct Known {
    path: Vec<u8>,
    averages: Averages,
    tasks: Tasks,
    looked: Instant,
    /// When it is to be looked at again.
    due: Instant,
    asked: Instant,
    /// Whether it was looked at since it is known.
    is_followed: bool,
}

impl Record for Averages {
    const VERSION: u64 = 1;
    const WORDS: usize = 3;

    fn save(&self) -> impl Iterator<Item = u64> {
        Self::save(*self).into_iter()
    }

    fn restore(words: &[u64]) -> Option<Self> {
        Self::restore(words.try_into().ok()?)
    }
}

impl KnownLoads {
    fn insert(&mut self, container: u64, known: Known) {
        if self.by_container.contains_key(&container) {
            // Another reader was faster.
            return;
        }
        let Ok(displaced) = self.shares.admit(container, &known.path, 1) else { return };
        for container in displaced {
            self.by_container.remove(&container);
            self.places.release(container);
        }
        self.by_container.insert(container, known);
    }

    fn remove(&mut self, container: u64) {
        self.by_container.remove(&container);
        self.shares.remove(container);
        self.places.release(container);
    }

    /// Forgets what nobody asked for in a while, of ours and of a predecessor's, whose containers are gone by now.
    fn forget_what_nobody_asks_for(&mut self) {
        let old = self.by_container.iter().filter(|(_, known)| known.asked.elapsed() >= PATIENCE);
        for container in old.map(|(&container, _)| container).collect::<Vec<_>>() {
            self.remove(container);
        }
        if self.since.is_some_and(|since| since.elapsed() > PATIENCE) {
            self.places.release_unclaimed();
        }
        if !self.left.is_empty() && self.since.is_none_or(|since| since.elapsed() > SOON) {
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
        };
        Self { known: Mutex::new(known) }
    }

    /// Keeps the averages in a table, and goes on with those that a predecessor has kept there.
    pub(super) fn keep(&self, table: Table<Averages>) {
        let mut known = self.known.lock();
        known.left = known.places.resume(table).into_iter().collect();
        known.since = Some(Instant::now());
    }

    fn left(&self, container: u64) -> Option<Averages> {
        let mut known = self.known.lock();
        let is_of_now = known.since.is_some_and(|since| since.elapsed() < SOON);
        known.left.remove(&container).filter(|_| is_of_now)
    }

    /// The load of the container of this number, at this path. Only for the first answer are tasks looked at, and no more than
    /// [`FIRST_LOOKS`]: whoever asks has only so many threads that could answer others.
    pub(super) fn load(
        &self,
        (container, path): (u64, &[u8]),
        source: &Source,
        snapshot: &Snapshot,
        last_pid: u32,
    ) -> Result<Load, ViewError> {
        let now = Instant::now();
        {
            let mut all = self.known.lock();
            let all = &mut *all;
            if let Some(known) = all.by_container.get_mut(&container) {
                known.asked = now;
                all.shares.touch(container);
                return Ok(Load { averages: known.averages.get(), tasks: known.tasks, last_pid });
            }
        }
        // Where nobody looked before that is not known, but for how much it has run.
        let averages = match self.left(container) {
            Some(averages) => averages,
            None => Averages::steady(run_until_now(snapshot)?),
        };
        // Of a container that goes meanwhile there is at least the reader.
        let tasks = source.tasks(container, path, FIRST_LOOKS).unwrap_or_default();
        let path = path.to_vec();
        let known = Known { path, averages, tasks, looked: now, due: now, asked: now, is_followed: false };
        self.known.lock().insert(container, known);
        Ok(Load { averages: averages.get(), tasks, last_pid })
    }

    /// Looks at those whose turn it is, and says how long to wait until the next time.
    pub(super) fn look(&self, source: &Source) -> Duration {
        let (started, ran_before) = (Instant::now(), sys::thread_time());
        let due: Vec<_> = {
            let mut known = self.known.lock();
            known.forget_what_nobody_asks_for();
            let due = known.by_container.iter().filter(|(_, known)| known.due <= started);
            due.map(|(&container, known)| (container, known.path.clone())).collect()
        };
        for (container, path) in due {
            let (began, before) = (Instant::now(), sys::thread_time());
            let tasks = source.tasks(container, &path, MOST_LOOKS);
            let mut all = self.known.lock();
            let KnownLoads { by_container, places, .. } = &mut *all;
            match (tasks, by_container.get_mut(&container)) {
                (Ok(tasks), Some(known)) => {
                    let active = f64::from(tasks.running) + f64::from(tasks.uninterruptible);
                    let now = Instant::now();
                    known.averages.add(active, (now - known.looked).as_secs_f64());
                    (known.tasks, known.looked) = (tasks, now);
                    match std::mem::replace(&mut known.is_followed, true) {
                        false => drop(places.claim(container, &path)),
                        // Whoever has lost its place takes nobody else's.
                        true => places.claim_if_free(container, &path),
                    }
                    places.put(container, &known.averages);
                    known.due = began + INTERVAL.max(pause_after(before));
                }
                // It is gone, most likely; if it is not it will be asked for again.
                _ => all.remove(container),
            }
        }
        TICK.max(pause_after(ran_before).min(INTERVAL))
    }
}

/// How long to pause after what this thread has run since it had run `before`. What it waited meanwhile, for a processor or
/// for a lock, costs nobody a processor and does not count.
fn pause_after(before: Duration) -> Duration {
    (sys::thread_time().saturating_sub(before) * PAUSE_PER_WORK).min(LONGEST_PAUSE)
}

/// How many processors the container has kept busy on average since it started.
fn run_until_now(snapshot: &Snapshot) -> Result<f64, ViewError> {
    let cpus = snapshot.cpus.as_ref().ok_or(ViewError::NotLoaded("the processors"))?;
    let start = snapshot.start.ok_or(ViewError::NotLoaded("the container's start"))?;
    let now =
        uptime(snapshot.native(Native::Uptime)?).map_err(|e| ViewError::Malformed("/proc/uptime", e))?;
    let start = Duration::from_secs(start)
        / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100).max(1);
    let age = Duration::from_millis(now.saturating_mul(10)).saturating_sub(start);
    let time = cpus.time.unwrap_or_default();
    let ran = Duration::from_nanos(time.total);
    // More than its processors can't have run all the time: the container is older than what is known of it.
    let most = Duration::from_millis(cpus.capacity()).as_secs_f64();
    Ok((ran.as_secs_f64() / age.as_secs_f64().max(1.0)).min(most))
}
