//! One cgroup in the cache: its open files, its last snapshots, and who waits for the next.

use super::cache_entry::CacheEntry;
use crate::kernel::{Caller, CgroupAncestry};
use crate::service::scheduling::owner::Owner;
use crate::service::scheduling::pending_request::Continuation;
use crate::service::scheduling::read_cost::ReadCost;
use crate::service::scheduling::serving_account::ServingAccount;
use cgprocfs_core::snapshot::{Needs, Snapshot};
use cgprocfs_core::view::ViewId;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// What is cached for the readers in one cgroup.
pub(in crate::service) struct CachedCgroup {
    path: Owner,
    ancestry: CgroupAncestry,
    pub(in crate::service) last_used: AtomicU64,
    /// The serving time of readers whose container is this cgroup.
    account: Arc<ServingAccount>,
    pub(in crate::service) read_cost: ReadCost,
    /// How long the files of the host take that are read for it.
    pub(in crate::service) cost_of_files: ReadCost,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// More than one, because readers in one cgroup may be in different containers, by their namespaces.
    entries: Vec<CacheEntry>,
    /// A thread is reading the cgroup.
    is_being_read: bool,
    /// What to run once it has been read.
    parked: Vec<Continuation>,
}

/// What the cache has for a caller.
pub(in crate::service) enum CacheLookup<T> {
    /// What was made of a fresh entry.
    Answer(T),
    /// Another thread is reading the cgroup.
    BeingRead,
    /// Nothing fresh is cached: whoever holds this reads the cgroup.
    Stale(Reading),
}

impl CachedCgroup {
    /// An entry without snapshots for a cgroup that was just opened, last used at `now`.
    pub(in crate::service) fn new(
        path: Owner,
        ancestry: CgroupAncestry,
        account: Arc<ServingAccount>,
        now: u64,
    ) -> Self {
        Self {
            path,
            ancestry,
            last_used: AtomicU64::new(now),
            account,
            read_cost: ReadCost::default(),
            cost_of_files: ReadCost::default(),
            state: Mutex::default(),
        }
    }

    /// The path of the cgroup.
    pub(in crate::service) fn path(&self) -> &Owner {
        &self.path
    }

    pub(in crate::service) fn ancestry(&self) -> &CgroupAncestry {
        &self.ancestry
    }

    pub(in crate::service) fn account(&self) -> &Arc<ServingAccount> {
        &self.account
    }

    pub(in crate::service) fn evict_stale_entries(&self) {
        let now = Instant::now();
        self.state.lock().entries.retain(|entry| entry.is_fresh(now));
    }

    /// What `take` makes of a fresh entry for `caller`. Where there is none, one of those who ask reads the
    /// cgroup for all.
    pub(in crate::service) fn find<T>(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        needs: Needs,
        asked: Instant,
        take: impl FnOnce(&mut CacheEntry) -> T,
    ) -> CacheLookup<T> {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.entries.retain(|entry| entry.is_fresh(now));
        let serves = |entry: &CacheEntry| entry.can_serve(caller, needs, asked, now);
        let answers = |entry: &&mut CacheEntry| entry.needs.covers(needs) && serves(entry);
        if let Some(entry) = state.entries.iter_mut().find(answers) {
            return CacheLookup::Answer(take(entry));
        }
        if std::mem::replace(&mut state.is_being_read, true) {
            return CacheLookup::BeingRead;
        }
        let earlier = state.entries.iter().find(|entry| serves(entry)).cloned();
        CacheLookup::Stale(Reading {
            cached: Arc::clone(self),
            began: Instant::now(),
            earlier,
            has_ended: false,
        })
    }

    /// Runs `job` once the cgroup has been read. Returns it where no thread is reading.
    pub(in crate::service) fn park(&self, job: Continuation) -> Option<Continuation> {
        let mut state = self.state.lock();
        if !state.is_being_read {
            return Some(job);
        }
        state.parked.push(job);
        None
    }
}

/// Held by the one thread that is reading a cgroup.
pub(in crate::service) struct Reading {
    cached: Arc<CachedCgroup>,
    pub(in crate::service) began: Instant,
    /// What was read a moment ago, and has a part of what is needed now.
    pub(in crate::service) earlier: Option<CacheEntry>,
    has_ended: bool,
}

impl Reading {
    /// Caches what was read, and returns what `take` makes of it.
    pub(in crate::service) fn publish<T>(
        &mut self,
        caller: &Caller<'_>,
        needs: Needs,
        snapshot: Snapshot,
        take: impl FnOnce(&mut CacheEntry) -> T,
    ) -> T {
        let snapshot = Arc::new(snapshot);
        let earlier = self.earlier.take();
        let replaced = earlier.as_ref().map(|earlier| Arc::clone(&earlier.snapshot));
        let mut entry = match earlier {
            // It stays as old as it is.
            Some(earlier) => earlier.extended(caller, needs, snapshot),
            None => CacheEntry {
                cgroup: Arc::clone(&self.cached.path),
                container_length: caller.container.len(),
                proc_cgroup: caller.proc_cgroup.to_vec(),
                pid_namespace: caller.pid_namespace,
                boot_offset: caller.boot_offset,
                began: self.began,
                sampled_at: Instant::now(),
                needs,
                snapshot,
                texts: vec![None; ViewId::COUNT],
                topology: None,
            },
        };
        let answered = take(&mut entry);
        let mut state = self.cached.state.lock();
        if let Some(replaced) = replaced {
            state.entries.retain(|entry| !Arc::ptr_eq(&entry.snapshot, &replaced));
        }
        state.entries.push(entry);
        answered
    }

    /// Ends the reading, whatever came of it, and returns what waited for it.
    pub(in crate::service) fn end(mut self) -> Vec<Continuation> {
        self.has_ended = true;
        self.release()
    }

    fn release(&self) -> Vec<Continuation> {
        let mut state = self.cached.state.lock();
        state.is_being_read = false;
        std::mem::take(&mut state.parked)
    }
}

impl Drop for Reading {
    /// After a panic. Dropping what waits answers its readers with an error.
    fn drop(&mut self) {
        if !self.has_ended {
            drop(self.release());
        }
    }
}
