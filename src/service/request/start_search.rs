//! The search for a container's start. It looks at the container's processes, which may hang, so no reader of
//! another container waits for it.

use super::outcome::StartSearch;
use crate::error::Error;
use crate::kernel::{CgroupId, CgroupRef, Life};
use crate::service::accounts::start_times::{START_SEARCH_TIMEOUT, SearchWait, Seen, StartLookup};
use crate::service::engine::Service;
use crate::service::scheduling::lane::Lane;
use crate::service::scheduling::pending_request::{Continuation, ThreadRole};
use cgprocfs_core::time::Ticks;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// Why there is no snapshot.
pub(in crate::service) enum NotRead {
    Error(Error),
    /// The start of the container with this id is not known.
    Start(CgroupId),
}

impl From<Error> for NotRead {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A running search. However it ends, also without ever having its turn, those who wait for it are tried
/// again.
struct RunningSearch {
    service: Arc<Service>,
    search: StartSearch,
    so_far: Arc<AtomicU64>,
    life: Option<Life>,
}

impl RunningSearch {
    fn run(mut self) {
        let container = CgroupRef { id: self.search.container_id, path: &self.search.container_path };
        let life = self.service.source.life(container, &self.search.caller(), &self.so_far);
        self.life = life.ok();
    }
}

impl Drop for RunningSearch {
    fn drop(&mut self) {
        let Self { service, search, life, .. } = self;
        for again in service.starts.found(search.container_id, life.take()) {
            service.defer(Lane::Fast, search.cgroup.clone(), again);
        }
    }
}

/// A container's start.
pub(in crate::service) struct Started {
    /// Time after the boot.
    pub(in crate::service) at: Ticks,
    /// Whether all of its processes have been seen.
    pub(in crate::service) is_certain: bool,
    /// Its processes, unless one of them hangs.
    pub(in crate::service) seen: Option<Seen>,
}

impl Service {
    /// A container's start. It stays known, also to the next server, until the container's init has ended.
    ///
    /// # Errors
    /// [`NotRead::Start`] where it has to be searched for.
    pub(in crate::service) fn start_of(&self, container: CgroupId) -> Result<Started, NotRead> {
        if let Some(at) = self.cpu_accounts.start_without_init(container) {
            return Ok(Started { at, is_certain: true, seen: None });
        }
        match self.starts.of(container) {
            StartLookup::Known(seen) => {
                let at = self.cpu_accounts.start(container, Some(&seen.life)).unwrap_or(seen.life.start);
                Ok(Started { at, is_certain: true, seen: Some(seen) })
            }
            StartLookup::Partial(start) => {
                let known = self.cpu_accounts.start(container, None);
                Ok(Started { at: known.unwrap_or(start), is_certain: known.is_some(), seen: None })
            }
            StartLookup::Searching | StartLookup::Unknown => Err(NotRead::Start(container)),
        }
    }

    /// Runs `again` once the container's start is known.
    pub(in crate::service) fn seek_start(
        self: &Arc<Self>,
        role: ThreadRole,
        search: StartSearch,
        again: Continuation,
    ) {
        // The reader waits for our answer, and so is not in the middle of an exec, which would make us hang.
        let own = match self.source.start_of_reader(search.pid) {
            Ok(own) => own,
            // The reader is gone, so nobody waits for an answer.
            Err(error) => return self.log(&error),
        };
        let (container, cgroup) = (search.container_id, search.cgroup.clone());
        let so_far = match self.starts.wait((container, &search.container_path), again, own) {
            SearchWait::Parked => return,
            SearchWait::Finished(again) => return again(role),
            SearchWait::MustSearch(so_far) => so_far,
        };
        let (service, this_search) = (Arc::clone(self), Arc::clone(&so_far));
        let give_up = move || {
            let waiting = service.starts.give_up(container, &this_search);
            waiting.into_iter().for_each(|again| service.defer(Lane::Fast, cgroup.clone(), again));
        };
        self.workers.enqueue_at(Instant::now() + START_SEARCH_TIMEOUT, Box::new(give_up));
        let owner = search.container_path.clone();
        let running = RunningSearch { service: Arc::clone(self), search, so_far, life: None };
        self.workers.enqueue(Lane::Blocking, owner, Box::new(move || running.run()));
    }
}
