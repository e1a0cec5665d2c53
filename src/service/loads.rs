//! The load of the containers that were asked for it lately.
//!
//! No cgroup counts its tasks by state, so each of a container's tasks is looked at, every five seconds or, where that would
//! take more than a hundredth of one processor, as much more seldom. To reckon the load from processor time and
//! `cpu.pressure` instead would take one read for each container, but pressure tells for how long *some* task waited and
//! not how many did: three tasks on half a processor look like two. The taskstats interface counts in the kernel, but
//! only for v1, and not what is below a cgroup.

use crate::error::Error;
use crate::load::{Averages, Load, Tasks};
use crate::parse::uptime::uptime;
use crate::snapshot::{Native, Snapshot};
use crate::source::Source;
use crate::view::NotLoaded;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// As often as the kernel does (`LOAD_FREQ`).
const INTERVAL: Duration = Duration::from_secs(5);
/// All looks together take no more than this part of the time.
const SHARE: u32 = 100;
/// What nobody asked for in so long is forgotten.
const PATIENCE: Duration = Duration::from_mins(15);

/// By the number of the container's cgroup, which is never used again.
#[derive(Default)]
pub(super) struct Loads {
    known: Mutex<HashMap<u64, Known>>,
}

struct Known {
    path: Vec<u8>,
    averages: Averages,
    tasks: Tasks,
    looked: Instant,
    asked: Instant,
}

impl Loads {
    /// The load of the container of this number, at this path.
    pub(super) fn load(
        &self,
        source: &Source,
        (container, path): (u64, &[u8]),
        snapshot: &Snapshot,
        last_pid: u32,
    ) -> Result<Load, Error> {
        let now = Instant::now();
        if let Some(known) = self.known.lock().get_mut(&container) {
            known.asked = now;
            return Ok(Load { averages: known.averages.get(), tasks: known.tasks, last_pid });
        }
        let tasks = source.tasks(container, path)?;
        // What it was before is not known, but for how much it has run.
        let averages = Averages::steady(run_until_now(snapshot)?);
        let known = Known { path: path.to_vec(), averages, tasks, looked: now, asked: now };
        self.known.lock().insert(container, known);
        Ok(Load { averages: averages.get(), tasks, last_pid })
    }

    /// Looks at all of them, and says how long to wait until the next time.
    pub(super) fn look(&self, source: &Source) -> Duration {
        let started = Instant::now();
        let all: Vec<_> = {
            let mut known = self.known.lock();
            known.retain(|_, known| known.asked.elapsed() < PATIENCE);
            known.iter().map(|(&container, known)| (container, known.path.clone())).collect()
        };
        for (container, path) in all {
            let tasks = source.tasks(container, &path);
            let mut known = self.known.lock();
            match (tasks, known.get_mut(&container)) {
                (Ok(tasks), Some(known)) => {
                    let active = f64::from(tasks.running) + f64::from(tasks.uninterruptible);
                    known.averages.add(active, known.looked.elapsed().as_secs_f64());
                    (known.tasks, known.looked) = (tasks, Instant::now());
                }
                // It is gone, most likely; if it is not it will be asked for again.
                _ => drop(known.remove(&container)),
            }
        }
        INTERVAL.max(started.elapsed() * SHARE)
    }
}

/// How many processors the container has kept busy on average since it started.
fn run_until_now(snapshot: &Snapshot) -> Result<f64, NotLoaded> {
    let cpus = snapshot.cpus.as_ref().ok_or(NotLoaded("the processors"))?;
    let start = snapshot.start.ok_or(NotLoaded("the container's start"))?;
    let now = uptime(snapshot.native(Native::Uptime)?).map_err(|_| NotLoaded("the host's uptime"))?;
    let start = Duration::from_secs(start)
        / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100).max(1);
    let age = Duration::from_millis(now.saturating_mul(10)).saturating_sub(start);
    let time = cpus.time.unwrap_or_default();
    let ran = Duration::from_nanos(time.user.saturating_add(time.system));
    Ok(ran.as_secs_f64() / age.as_secs_f64().max(1.0))
}
