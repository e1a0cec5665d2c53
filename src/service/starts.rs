//! When containers started. To find that out their processes are looked at, and one that is in the middle of an exec keeps
//! whoever looks for as long as its tenant likes (`exec_update_lock`, fs/exec.c). So that is done aside, while the first reader who asks
//! waits for a moment.

use super::Again;
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
pub const PATIENCE: Duration = Duration::from_secs(1);
/// So many are remembered, a file for each; more are looked for anew.
const MOST: usize = 4096;
/// And so many however few files there may be.
const LEAST: usize = 8;

/// By the number of the container's cgroup, which is never used again.
pub(super) struct Starts {
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
    waiting: Option<Vec<Again>>,
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

impl Starts {
    /// Keeps no more than so many files open.
    pub(super) fn new(most_files: usize) -> Self {
        Self { most: most_files.clamp(LEAST, MOST), containers: Mutex::default() }
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
    pub(super) fn wait(&self, container: (u64, &Arc<[u8]>), job: Again, so_far: Ticks) -> Waiting {
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
    pub(super) fn give_up(&self, container: u64, so_far: &Arc<AtomicU64>) -> Vec<Again> {
        match self.containers.lock().get_mut(&container) {
            Some(Start::Sought(look)) if Arc::ptr_eq(&look.so_far, so_far) => {
                look.waiting.take().unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// The look has ended, with what it found, if it came to its end. Those who waited for it.
    pub(super) fn found(&self, container: u64, life: Option<Life>) -> Vec<Again> {
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
    NeedNot(Again),
    /// Nobody looks: what the caller finds goes here.
    HasToLook(Arc<AtomicU64>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(start: u64) -> Life {
        let mut life = Life::default();
        life.start = Ticks::new(start);
        life
    }

    fn path() -> Arc<[u8]> {
        b"/c"[..].into()
    }

    fn job() -> Again {
        Box::new(|_| {})
    }

    #[test]
    fn the_first_looks_for_all() {
        let starts = Starts::new(MOST);
        assert!(matches!(starts.of(7), Known::Nothing));
        let Waiting::HasToLook(_) = starts.wait((7, &path()), job(), Ticks::new(90)) else {
            panic!("nobody looks")
        };
        assert!(matches!(starts.wait((7, &path()), job(), Ticks::new(95)), Waiting::Waits));
        assert!(matches!(starts.of(7), Known::Sought));
        assert_eq!(starts.found(7, Some(life(80))).len(), 2);
        assert!(matches!(starts.of(7), Known::At(life) if life.start.get() == 80));
        assert!(matches!(starts.wait((7, &path()), job(), Ticks::new(99)), Waiting::NeedNot(_)));
        starts.sweep(|_, _| true, |number| assert_eq!(number, 7));
        assert!(matches!(starts.of(7), Known::At(_)));
        starts.sweep(|number, path| (number, path) != (7, b"/c"), |_| panic!("it is gone"));
        assert!(matches!(starts.of(7), Known::Nothing));
    }

    #[test]
    fn what_was_found_so_far_is_told_while_the_look_hangs() {
        let starts = Starts::new(MOST);
        let Waiting::HasToLook(so_far) = starts.wait((7, &path()), job(), Ticks::new(90)) else {
            panic!("nobody looks")
        };
        assert_eq!(starts.give_up(7, &so_far).len(), 1);
        assert!(matches!(starts.of(7), Known::SoFar(start) if start.get() == 90));
        so_far.store(85, Ordering::Relaxed);
        assert!(matches!(starts.of(7), Known::SoFar(start) if start.get() == 85));
        assert!(starts.give_up(7, &so_far).is_empty());
        assert!(starts.found(7, None).is_empty());
        assert!(matches!(starts.of(7), Known::SoFar(start) if start.get() == 85));
        starts.sweep(|_, _| true, |_| {});
        assert!(matches!(starts.of(7), Known::Nothing), "it is looked for again");
    }

    #[test]
    fn a_look_that_hangs_at_a_container_that_is_gone_is_forgotten() {
        let starts = Starts::new(MOST);
        let Waiting::HasToLook(so_far) = starts.wait((7, &path()), job(), Ticks::new(90)) else {
            panic!("nobody looks")
        };
        starts.sweep(|_, _| false, |_| {});
        assert_eq!(starts.give_up(7, &so_far).len(), 1, "somebody waits for it");
        starts.sweep(|number, at| (number, at) == (7, &*path()), |_| panic!("nothing is known of it"));
        assert!(matches!(starts.of(7), Known::SoFar(_)));
        starts.sweep(|_, _| false, |_| {});
        assert!(starts.containers.lock().is_empty());
        assert!(starts.found(7, Some(life(80))).is_empty() && starts.containers.lock().is_empty());
    }

    #[test]
    fn as_many_as_one_likes_are_not_remembered() {
        let starts = Starts::new(MOST);
        for container in 1..3 * MOST as u64 {
            starts.wait((container, &path()), job(), Ticks::new(1));
            starts.found(container, Some(life(1)));
        }
        assert!(starts.containers.lock().len() <= MOST);
    }

    #[test]
    fn whoever_has_many_leaves_room_for_others() {
        let starts = Starts::new(MOST);
        let find = |container: u64, path: &str, life| {
            starts.wait((container, &path.as_bytes().into()), job(), Ticks::new(1));
            starts.found(container, life);
        };
        (1..=100).for_each(|other| find(other, "/pods/other", Some(life(1))));
        for container in 1000..1000 + 3 * MOST as u64 {
            find(container, &format!("/pods/tenant/{container}"), Some(life(1)));
        }
        assert!((1..=100).all(|other| matches!(starts.of(other), Known::At(_))));
        // Nor does it help to have looks that fail, or that hang.
        (100_000..100_000 + 3 * MOST as u64).for_each(|container| find(container, "/pods/tenant", None));
        for container in 200_000..200_000 + 3 * MOST as u64 {
            starts.wait((container, &path()), job(), Ticks::new(1));
        }
        (300_000..300_100).for_each(|container| find(container, "/pods/tenant", Some(life(1))));
        assert!((1..=100).all(|other| matches!(starts.of(other), Known::At(_))));
    }

    #[test]
    fn whoever_has_most_gives_half() {
        let starts = Starts::new(MOST);
        let find = |container: u64, path: &str| {
            starts.wait((container, &path.as_bytes().into()), job(), Ticks::new(1));
            starts.found(container, Some(life(1)));
        };
        (1..=2).for_each(|other| find(other, "/pods/other"));
        (100..110).for_each(|container| find(container, &format!("/pods/tenant/{container}")));
        starts.close_half();
        assert_eq!(starts.containers.lock().len(), 6);
        assert!((1..=2).all(|other| matches!(starts.of(other), Known::At(_))));
    }
}
