//! One cgroup in the cache: its open files, its last snapshots, and who waits for the next.

use super::cache_entry::CacheEntry;
use super::owner::Owner;
use super::pace::Pace;
use super::pending_request::Continuation;
use super::share::Share;
use crate::kernel::{Caller, CgroupAncestry};
use cgprocfs_core::snapshot::{Needs, Snapshot};
use cgprocfs_core::view::ViewId;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// The answers for the readers in one cgroup.
pub(super) struct CachedCgroup {
    cgroup: Owner,
    path: CgroupAncestry,
    pub(super) last_used: AtomicU64,
    /// Of those for whom it is the container.
    share: Arc<Share>,
    pub(super) pace: Pace,
    /// Of files of the host that are read for it.
    pub(super) pace_of_files: Pace,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    /// Readers in one cgroup may have containers of their own, by their namespaces.
    answers: Vec<CacheEntry>,
    /// Somebody reads the cgroup.
    is_read: bool,
    /// What is to be done once it is read.
    parked: Vec<Continuation>,
}

/// What is found at a desk.
pub(super) enum Found<T> {
    /// What was asked for.
    Answer(T),
    /// Somebody reads the cgroup already.
    IsRead,
    /// Whoever has this has to read it.
    ToBeRead(Reading),
}

impl CachedCgroup {
    /// Of a cgroup that is opened by now and was used at `now`.
    pub(super) fn new(cgroup: Owner, path: CgroupAncestry, now: u64) -> Self {
        Self {
            cgroup,
            path,
            last_used: AtomicU64::new(now),
            share: Arc::default(),
            pace: Pace::default(),
            pace_of_files: Pace::default(),
            desk: Mutex::default(),
        }
    }

    /// The path of the cgroup.
    pub(super) fn cgroup(&self) -> &Owner {
        &self.cgroup
    }

    pub(super) fn path(&self) -> &CgroupAncestry {
        &self.path
    }

    pub(super) fn share(&self) -> &Arc<Share> {
        &self.share
    }

    pub(super) fn evict_stale_entries(&self) {
        self.desk.lock().answers.retain(CacheEntry::is_fresh);
    }

    /// What `take` makes of the last answer for such a caller, if that is not too old. If it is, one of those who ask reads
    /// for all of them.
    pub(super) fn find<T>(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        needs: Needs,
        asked: Instant,
        take: impl FnOnce(&mut CacheEntry) -> T,
    ) -> Found<T> {
        let mut desk = self.desk.lock();
        desk.answers.retain(CacheEntry::is_fresh);
        if let Some(answer) = desk.answers.iter_mut().find(|answer| answer.is_for(caller, needs, asked)) {
            return Found::Answer(take(answer));
        }
        if std::mem::replace(&mut desk.is_read, true) {
            return Found::IsRead;
        }
        Found::ToBeRead(Reading { answers: Arc::clone(self), began: Instant::now(), has_ended: false })
    }

    /// Has `job` done once the cgroup is read; gives it back if nobody reads.
    pub(super) fn park(&self, job: Continuation) -> Option<Continuation> {
        let mut desk = self.desk.lock();
        if !desk.is_read {
            return Some(job);
        }
        desk.parked.push(job);
        None
    }
}

/// That somebody reads a cgroup, and nobody else does meanwhile.
pub(super) struct Reading {
    answers: Arc<CachedCgroup>,
    pub(super) began: Instant,
    has_ended: bool,
}

impl Reading {
    /// What `take` makes of what was read, which is kept for the next who ask.
    pub(super) fn done<T>(
        &self,
        caller: &Caller<'_>,
        needs: Needs,
        snapshot: Snapshot,
        take: impl FnOnce(&mut CacheEntry) -> T,
    ) -> T {
        let mut answer = CacheEntry {
            cgroup: Arc::clone(&self.answers.cgroup),
            container_length: caller.container_length,
            membership: caller.membership.to_vec(),
            pid_namespace: caller.pid_namespace,
            boot_offset: caller.boot_offset,
            began: self.began,
            taken: Instant::now(),
            needs,
            snapshot,
            texts: vec![None; ViewId::COUNT],
            topology: None,
        };
        let answered = take(&mut answer);
        self.answers.desk.lock().answers.push(answer);
        answered
    }

    /// Ends it, whatever came of it. What is to be done now by those who waited for it.
    pub(super) fn end(mut self) -> Vec<Continuation> {
        self.has_ended = true;
        self.release()
    }

    fn release(&self) -> Vec<Continuation> {
        let mut desk = self.answers.desk.lock();
        desk.is_read = false;
        std::mem::take(&mut desk.parked)
    }
}

impl Drop for Reading {
    /// After a panic: those who wait are dropped, which is an error to their readers.
    fn drop(&mut self) {
        if !self.has_ended {
            drop(self.release());
        }
    }
}
