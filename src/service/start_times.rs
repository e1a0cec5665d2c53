//! When containers started. To find that out their processes are looked at, and one that is in the middle of an exec keeps
//! whoever looks for as long as its tenant likes (`exec_update_lock`, fs/exec.c). So that is done aside, while the first reader who asks
//! waits for a moment.

use super::pending_request::Continuation;
use crate::kernel::Life;
use crate::shares::excess;
use cgprocfs_core::machine::Ticks;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So long a reader waits for the look at its container to end. It takes a millisecond, but a machine that has much to do may
/// let the thread wait that looks.
pub const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// So many are remembered, a file for each; more are looked for anew.
const MAX_KNOWN: usize = 4096;
/// And so many however few files there may be.
const MIN_KNOWN: usize = 8;

/// By the number of the container's cgroup, which is never used again.
pub(super) struct StartTimes {
    most: usize,
    containers: Mutex<HashMap<u64, Start>>,
}

/// What is known of one.
enum Start {
    /// What was found of the container at that path.
    Known(Arc<Life>, Arc<[u8]>),
    /// Somebody looks at the container at that path.
    Sought(Look),
    /// The look has failed after it had found this. It is good enough until the next sweep.
    Failed(Ticks),
}

/// A look that has not ended.
struct Look {
    path: Arc<[u8]>,
    /// What was found so far.
    so_far: Arc<AtomicU64>,
    /// Who waits; `None` once they have waited too long.
    waiting: Option<Vec<Continuation>>,
}

/// What a reader is told.
pub(super) enum Known {
    /// Its processes were these, and its init has not ended.
    At(Arc<Life>),
    /// Then, or before: the look at it takes too long, or has failed.
    SoFar(Ticks),
    /// Somebody looks.
    Sought,
    /// Somebody has to look.
    Nothing,
}

impl StartTimes {
    /// Keeps no more than so many files open.
    pub(super) fn new(most_files: usize) -> Self {
        Self { most: most_files.clamp(MIN_KNOWN, MAX_KNOWN), containers: Mutex::default() }
    }

    /// What is known of a container. While a look at it takes too long that is what the look has found so far: the age of the
    /// oldest of its processes that could be seen.
    pub(super) fn of(&self, container: u64) -> Known {
        let life = match self.containers.lock().get(&container) {
            Some(Start::Known(life, _)) => Arc::clone(life),
            Some(Start::Failed(start)) => return Known::SoFar(*start),
            Some(Start::Sought(Look { waiting: Some(_), .. })) => return Known::Sought,
            Some(Start::Sought(look)) => {
                return Known::SoFar(Ticks::new(look.so_far.load(Ordering::Relaxed)));
            }
            None => return Known::Nothing,
        };
        if life.goes_on() {
            return Known::At(life);
        }
        self.forget(container, &life);
        Known::Nothing
    }

    /// It has ended, if nobody has found another meanwhile.
    fn forget(&self, container: u64, life: &Arc<Life>) {
        let mut containers = self.containers.lock();
        let is_this = |start: &Start| matches!(start, Start::Known(known, _) if Arc::ptr_eq(known, life));
        if containers.get(&container).is_some_and(is_this) {
            containers.remove(&container);
        }
    }

    /// Forgets half of those that files are open for, of whoever has most.
    pub(super) fn close_half(&self) {
        let mut containers = self.containers.lock();
        let known = containers.values().filter(|start| matches!(start, Start::Known(..))).count();
        forget_excess(&mut containers, known / 2);
    }

    /// Has `job` done once somebody's look at the container at `path` has ended, or has taken too long. Gives back the job if that
    /// is so by now, or, where nobody looks, what has to be filled in by looking; the caller looks then.
    pub(super) fn wait(&self, container: (u64, &Arc<[u8]>), job: Continuation, so_far: Ticks) -> Waiting {
        let (container, path) = container;
        let mut containers = self.containers.lock();
        match containers.get_mut(&container) {
            Some(Start::Sought(Look { waiting: Some(waiting), .. })) => {
                waiting.push(job);
                Waiting::Waits
            }
            Some(_) => Waiting::NeedNot(job),
            None => {
                let so_far = Arc::new(AtomicU64::new(so_far.get()));
                let (path, waiting) = (Arc::clone(path), Some(vec![job]));
                containers
                    .insert(container, Start::Sought(Look { path, so_far: Arc::clone(&so_far), waiting }));
                Waiting::HasToLook(so_far)
            }
        }
    }

    /// The look that has found so much took too long. Those who waited for it.
    pub(super) fn give_up(&self, container: u64, so_far: &Arc<AtomicU64>) -> Vec<Continuation> {
        match self.containers.lock().get_mut(&container) {
            Some(Start::Sought(look)) if Arc::ptr_eq(&look.so_far, so_far) => {
                look.waiting.take().unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// The look has ended, with what it found, if it came to its end. Those who waited for it.
    pub(super) fn found(&self, container: u64, life: Option<Life>) -> Vec<Continuation> {
        let mut containers = self.containers.lock();
        if containers.len() >= self.most {
            forget_excess(&mut containers, self.most - self.most / 8);
        }
        let look = match containers.remove(&container) {
            Some(Start::Sought(look)) => look,
            // It was swept.
            Some(other) => {
                containers.insert(container, other);
                return Vec::new();
            }
            None => return Vec::new(),
        };
        let failed = Start::Failed(Ticks::new(look.so_far.load(Ordering::Relaxed)));
        let now = life.map_or(failed, |life| Start::Known(Arc::new(life), look.path));
        containers.insert(container, now);
        look.waiting.unwrap_or_default()
    }

    /// Forgets containers that `exists` denies, also where somebody hangs who looks at one, and those whose init has ended. Tells of
    /// the others that they run.
    pub(super) fn sweep(&self, exists: impl Fn(u64, &[u8]) -> bool, runs: impl Fn(u64)) {
        /// To be checked while nobody has to wait for it.
        enum Found {
            Life(Arc<Life>, Arc<[u8]>),
            Hanging(Arc<[u8]>),
            Nothing,
        }
        let known: Vec<_> = {
            let containers = self.containers.lock();
            let known = containers.iter().filter_map(|(&number, start)| match start {
                Start::Known(life, path) => Some((number, Found::Life(Arc::clone(life), Arc::clone(path)))),
                Start::Failed(_) => Some((number, Found::Nothing)),
                Start::Sought(look) if look.waiting.is_none() => {
                    Some((number, Found::Hanging(Arc::clone(&look.path))))
                }
                Start::Sought(_) => None,
            });
            known.collect()
        };
        let is_gone = |(number, found): &(u64, Found)| match found {
            Found::Life(life, path) if exists(*number, path) && life.goes_on() => {
                runs(*number);
                false
            }
            Found::Hanging(path) => !exists(*number, path),
            _ => true,
        };
        let gone: Vec<_> = known.into_iter().filter(is_gone).collect();
        let mut containers = self.containers.lock();
        for (number, found) in gone {
            let is_it = |start: &Start| match start {
                Start::Sought(look) => look.waiting.is_none() && matches!(found, Found::Hanging(_)),
                // Somebody may have looked for it anew meanwhile.
                Start::Known(..) | Start::Failed(_) => !matches!(found, Found::Hanging(_)),
            };
            if containers.get(&number).is_some_and(is_it) {
                containers.remove(&number);
            }
        }
        let in_use = containers.len();
        containers.shrink_to(in_use * 2);
    }
}

/// Forgets all that have failed, and of those that are known what is more than `most`: any of those in the heaviest branch of the
/// hierarchy, for their numbers tell nothing of who asks next.
fn forget_excess(containers: &mut HashMap<u64, Start>, most: usize) {
    let known = containers.iter().filter_map(|(&number, start)| match start {
        Start::Known(_, path) => Some((number, &path[..], 1)),
        _ => None,
    });
    let excess = excess(known, most);
    excess.iter().for_each(|number| drop(containers.remove(number)));
    containers.retain(|_, start| !matches!(start, Start::Failed(_)));
}

/// What becomes of somebody who wants to wait.
pub(super) enum Waiting {
    /// The job is done later.
    Waits,
    /// It is known by now.
    NeedNot(Continuation),
    /// Nobody looks: what the caller finds goes here.
    HasToLook(Arc<AtomicU64>),
}

#[cfg(test)]
mod tests;
