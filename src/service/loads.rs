//! The load of the containers that were asked for it lately.
//!
//! No cgroup counts its tasks by state, so each of a container's tasks is looked at, every five seconds or, where that would
//! take more than a hundredth of one processor, as much more seldom. Of more than 1,000 tasks some stand for all, lest one
//! container have the others wait. To reckon the load from processor time and
//! `cpu.pressure` instead would take one read for each container, but pressure tells for how long *some* task waited and
//! not how many did: three tasks on half a processor look like two. The taskstats interface counts in the kernel, but
//! only for v1, and not what is below a cgroup.

use crate::load::{Averages, Load, Tasks};
use crate::parse::uptime::uptime;
use crate::snapshot::{Native, Snapshot};
use crate::source::Source;
use crate::sys;
use crate::view::ViewError;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
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
/// So many containers are followed; the load of others is what they have run.
const MOST: usize = 10_000;

/// How much of the memory that outlives this process each takes, in words of 64 bits: a container's number, then the averages.
const SLOT: usize = 4;
const SLOTS: usize = 1024;
/// All of it.
pub const LOAD_WORDS: usize = SLOT * SLOTS;

/// By the number of the container's cgroup, which is never used again.
#[derive(Default)]
pub(super) struct Loads {
    known: Mutex<HashMap<u64, Known>>,
    /// Memory that outlives this process, if there is any.
    kept: OnceLock<(&'static [AtomicU64], Instant)>,
}

struct Known {
    path: Vec<u8>,
    averages: Averages,
    tasks: Tasks,
    looked: Instant,
    /// When it is to be looked at again.
    due: Instant,
    asked: Instant,
}

impl Loads {
    /// Keeps the averages in `words`, and goes on with those that a predecessor has kept there.
    pub(super) fn keep(&self, words: &'static [AtomicU64]) {
        // What was given first is what is used.
        let _ = self.kept.set((words, Instant::now()));
    }

    fn slot(&self, first: u64) -> Option<&'static [AtomicU64]> {
        let (words, _) = self.kept.get()?;
        words.chunks_exact(SLOT).find(|slot| slot[0].load(Ordering::Acquire) == first)
    }

    fn kept(&self, container: u64) -> Option<Averages> {
        let (_, since) = self.kept.get()?;
        if since.elapsed() > Duration::from_mins(1) {
            // Nobody looked since, and they are of then.
            return None;
        }
        let slot = self.slot(container)?;
        Averages::restore([1, 2, 3].map(|word| slot[word].load(Ordering::Relaxed)))
    }

    /// A process that dies in the middle of it leaves averages of two moments five seconds apart.
    fn put(&self, container: u64, averages: Averages) {
        let Some(slot) = self.slot(container).or_else(|| self.slot(0)) else { return };
        slot[1..].iter().zip(averages.save()).for_each(|(word, bits)| word.store(bits, Ordering::Relaxed));
        slot[0].store(container, Ordering::Release);
    }

    /// What a predecessor left and nobody has asked for since is of containers that are gone.
    fn forget_what_is_left(&self, known: &HashMap<u64, Known>) {
        let Some((words, since)) = self.kept.get() else { return };
        if since.elapsed() > PATIENCE {
            let is_left = |slot: &&[AtomicU64]| !known.contains_key(&slot[0].load(Ordering::Relaxed));
            words.chunks_exact(SLOT).filter(is_left).for_each(|slot| slot[0].store(0, Ordering::Release));
        }
    }

    fn forget(&self, container: u64) {
        if let Some(slot) = self.slot(container) {
            slot[0].store(0, Ordering::Release);
        }
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
        if let Some(known) = self.known.lock().get_mut(&container) {
            known.asked = now;
            return Ok(Load { averages: known.averages.get(), tasks: known.tasks, last_pid });
        }
        // Where nobody looked before that is not known, but for how much it has run.
        let averages = match self.kept(container) {
            Some(averages) => averages,
            None => Averages::steady(run_until_now(snapshot)?),
        };
        // Of a container that goes meanwhile there is at least the reader.
        let tasks = source.tasks(container, path, FIRST_LOOKS).unwrap_or_default();
        let mut all = self.known.lock();
        if all.len() < MOST {
            let path = path.to_vec();
            all.insert(container, Known { path, averages, tasks, looked: now, due: now, asked: now });
        }
        Ok(Load { averages: averages.get(), tasks, last_pid })
    }

    /// Looks at those whose turn it is, and says how long to wait until the next time.
    pub(super) fn look(&self, source: &Source) -> Duration {
        let (started, ran_before) = (Instant::now(), sys::thread_time());
        let due: Vec<_> = {
            let mut known = self.known.lock();
            known.retain(|&container, known| {
                let is_asked_for = known.asked.elapsed() < PATIENCE;
                if !is_asked_for {
                    self.forget(container);
                }
                is_asked_for
            });
            self.forget_what_is_left(&known);
            let due = known.iter().filter(|(_, known)| known.due <= started);
            due.map(|(&container, known)| (container, known.path.clone())).collect()
        };
        for (container, path) in due {
            let (began, before) = (Instant::now(), sys::thread_time());
            let tasks = source.tasks(container, &path, MOST_LOOKS);
            let mut known = self.known.lock();
            match (tasks, known.get_mut(&container)) {
                (Ok(tasks), Some(known)) => {
                    let active = f64::from(tasks.running) + f64::from(tasks.uninterruptible);
                    let now = Instant::now();
                    known.averages.add(active, (now - known.looked).as_secs_f64());
                    self.put(container, known.averages);
                    (known.tasks, known.looked) = (tasks, now);
                    known.due = began + INTERVAL.max(pause_after(before));
                }
                // It is gone, most likely; if it is not it will be asked for again.
                _ => {
                    known.remove(&container);
                    self.forget(container);
                }
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
    let ran = Duration::from_nanos(time.user.saturating_add(time.system));
    // More than its processors can't have run all the time: the container is older than what is known of it.
    let most = Duration::from_millis(cpus.capacity()).as_secs_f64();
    Ok((ran.as_secs_f64() / age.as_secs_f64().max(1.0)).min(most))
}
