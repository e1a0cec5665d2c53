//! When containers started, as far as it is known.
//!
//! To find out, their processes are looked at, and one in the middle of an exec keeps whoever looks for as
//! long as its tenant likes (`exec_update_lock`, fs/exec.c). So threads that may hang do that, and readers
//! wait for a moment only.

use crate::kernel::{CgroupId, CgroupRef, Life, boot_clock};
use crate::service::scheduling::pending_request::Continuation;
use crate::shares::excess;
use cgprocfs_core::time::{BootTime, Ticks};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long readers wait for the search of their container's start. It takes a millisecond, but its thread
/// may have to wait for a processor.
pub const START_SEARCH_TIMEOUT: Duration = Duration::from_secs(1);
/// The most containers that are remembered, with an open file each.
const MAX_KNOWN: usize = 4096;
/// The least, however few files there may be.
const MIN_KNOWN: usize = 8;

/// The starts of containers, by the id of the container's cgroup, which is never reused.
pub(in crate::service) struct StartTimes {
    max: usize,
    containers: Mutex<HashMap<CgroupId, Start>>,
}

/// What is known of one container.
enum Start {
    /// Its processes were seen. With the container's path.
    Known(Arc<Life>, Arc<[u8]>),
    /// It is being searched for.
    Searching(Search),
    /// The search has failed after it had found this, which is used until the next sweep.
    Failed(Ticks),
}

/// A search that has not ended.
struct Search {
    path: Arc<[u8]>,
    /// The earliest start that was found so far.
    so_far: Arc<AtomicU64>,
    /// What waits for it; `None` once the deadline has passed.
    waiting: Option<Vec<Continuation>>,
}

/// A container that goes on.
pub(in crate::service) struct Seen {
    /// Its processes; its init has not ended.
    pub(in crate::service) life: Arc<Life>,
    /// When its init was last seen not to have ended.
    pub(in crate::service) at: BootTime,
}

/// What a reader gets.
pub(in crate::service) enum StartLookup {
    /// The container's processes.
    Known(Seen),
    /// It started then or earlier: the search takes too long, or has failed.
    Partial(Ticks),
    /// A search is running.
    Searching,
    /// It has to be searched for.
    Unknown,
}

impl StartTimes {
    /// Remembers containers with up to `max_files` open files.
    pub(in crate::service) fn new(max_files: usize) -> Self {
        Self { max: max_files.clamp(MIN_KNOWN, MAX_KNOWN), containers: Mutex::default() }
    }

    /// What is known of a container. Where the search takes too long that is the start of the oldest process
    /// that it has seen so far.
    pub(in crate::service) fn of(&self, container: CgroupId) -> StartLookup {
        let life = match self.containers.lock().get(&container) {
            Some(Start::Known(life, _)) => Arc::clone(life),
            Some(Start::Failed(start)) => return StartLookup::Partial(*start),
            Some(Start::Searching(Search { waiting: Some(_), .. })) => return StartLookup::Searching,
            Some(Start::Searching(look)) => {
                return StartLookup::Partial(Ticks::new(look.so_far.load(Ordering::Relaxed)));
            }
            None => return StartLookup::Unknown,
        };
        let at = boot_clock::now();
        if life.goes_on() {
            return StartLookup::Known(Seen { life, at });
        }
        self.forget(container, &life);
        StartLookup::Unknown
    }

    /// Forgets a container whose init has ended, unless it was found anew meanwhile.
    fn forget(&self, container: CgroupId, life: &Arc<Life>) {
        let mut containers = self.containers.lock();
        let is_this = |start: &Start| matches!(start, Start::Known(known, _) if Arc::ptr_eq(known, life));
        if containers.get(&container).is_some_and(is_this) {
            containers.remove(&container);
        }
    }

    /// Closes all files.
    pub(in crate::service) fn clear(&self) {
        self.containers.lock().retain(|_, start| matches!(start, Start::Searching(_)));
    }

    /// Closes half of the open files, those of the heaviest branches of the hierarchy.
    pub(in crate::service) fn close_half(&self) {
        let mut containers = self.containers.lock();
        let known = containers.values().filter(|start| matches!(start, Start::Known(..))).count();
        forget_excess(&mut containers, known / 2);
    }

    /// Runs `job` once the search for the container's start has ended or taken too long. Returns the job if
    /// that has happened by now, or, where no search is running, what the caller has to search with.
    pub(in crate::service) fn wait(
        &self,
        container: (CgroupId, &Arc<[u8]>),
        job: Continuation,
        so_far: Ticks,
    ) -> SearchWait {
        let (container, path) = container;
        let mut containers = self.containers.lock();
        match containers.get_mut(&container) {
            Some(Start::Searching(Search { waiting: Some(waiting), .. })) => {
                waiting.push(job);
                SearchWait::Parked
            }
            Some(_) => SearchWait::Finished(job),
            None => {
                let so_far = Arc::new(AtomicU64::new(so_far.get()));
                let (path, waiting) = (Arc::clone(path), Some(vec![job]));
                containers.insert(
                    container,
                    Start::Searching(Search { path, so_far: Arc::clone(&so_far), waiting }),
                );
                SearchWait::MustSearch(so_far)
            }
        }
    }

    /// Ends the wait for a search that takes too long. Returns what waited.
    pub(in crate::service) fn give_up(
        &self,
        container: CgroupId,
        so_far: &Arc<AtomicU64>,
    ) -> Vec<Continuation> {
        match self.containers.lock().get_mut(&container) {
            Some(Start::Searching(look)) if Arc::ptr_eq(&look.so_far, so_far) => {
                look.waiting.take().unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// Ends a search, with what it found if it did not fail. Returns what waited.
    pub(in crate::service) fn found(&self, container: CgroupId, life: Option<Life>) -> Vec<Continuation> {
        let mut containers = self.containers.lock();
        if containers.len() >= self.max {
            forget_excess(&mut containers, self.max - self.max / 8);
        }
        let look = match containers.remove(&container) {
            Some(Start::Searching(look)) => look,
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

    /// Forgets containers for which `exists` is false, also where their search hangs, and those whose init
    /// has ended. Calls `runs` for the others, with when that was certain.
    pub(in crate::service) fn sweep(
        &self,
        exists: impl Fn(CgroupRef<'_>) -> bool,
        runs: impl Fn(CgroupId, BootTime),
    ) {
        /// What has to be checked, without the lock.
        enum Found {
            Life(Arc<Life>, Arc<[u8]>),
            Hanging(Arc<[u8]>),
            Nothing,
        }
        let known: Vec<_> = {
            let containers = self.containers.lock();
            let known = containers.iter().filter_map(|(&id, start)| match start {
                Start::Known(life, path) => Some((id, Found::Life(Arc::clone(life), Arc::clone(path)))),
                Start::Failed(_) => Some((id, Found::Nothing)),
                Start::Searching(look) if look.waiting.is_none() => {
                    Some((id, Found::Hanging(Arc::clone(&look.path))))
                }
                Start::Searching(_) => None,
            });
            known.collect()
        };
        let goes_on_at = |life: &Life| {
            let at = boot_clock::now();
            life.goes_on().then_some(at)
        };
        let is_gone = |(id, found): &(CgroupId, Found)| match found {
            Found::Life(life, path) if exists(CgroupRef { id: *id, path }) => match goes_on_at(life) {
                Some(at) => {
                    runs(*id, at);
                    false
                }
                None => true,
            },
            Found::Hanging(path) => !exists(CgroupRef { id: *id, path }),
            _ => true,
        };
        let gone: Vec<_> = known.into_iter().filter(is_gone).collect();
        let mut containers = self.containers.lock();
        for (id, found) in gone {
            let is_it = |start: &Start| match start {
                Start::Searching(look) => look.waiting.is_none() && matches!(found, Found::Hanging(_)),
                // Somebody may have looked for it anew meanwhile.
                Start::Known(..) | Start::Failed(_) => !matches!(found, Found::Hanging(_)),
            };
            if containers.get(&id).is_some_and(is_it) {
                containers.remove(&id);
            }
        }
        let in_use = containers.len();
        containers.shrink_to(in_use * 2);
    }
}

/// Forgets all searches that have failed, and known containers down to `max`: any of those in the heaviest
/// branch of the hierarchy, because nothing tells which of them is asked for next.
fn forget_excess(containers: &mut HashMap<CgroupId, Start>, max: usize) {
    let known = containers.iter().filter_map(|(&id, start)| match start {
        Start::Known(_, path) => Some((id, &path[..], 1)),
        _ => None,
    });
    let excess = excess(known, max);
    excess.iter().for_each(|id| drop(containers.remove(id)));
    containers.retain(|_, start| !matches!(start, Start::Failed(_)));
}

/// Whether a job waits for a search.
pub(in crate::service) enum SearchWait {
    /// It runs later.
    Parked,
    /// The search has ended.
    Finished(Continuation),
    /// No search is running: the caller has to search, and lowers this to what it finds.
    MustSearch(Arc<AtomicU64>),
}

#[cfg(test)]
mod tests;
