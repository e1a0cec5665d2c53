//! What came of an attempt to answer.

use super::cached_cgroup::CachedCgroup;
use super::lane::Lane;
use super::owner::Owner;
use super::pending_request::Continuation;
use crate::error::Error;
use crate::kernel::Caller;
use std::sync::Arc;

/// What came of an attempt to answer.
pub(super) enum Outcome<T> {
    /// The answer, and what waited for the same reading.
    Done(Result<T, Error>, FollowUp),
    /// Another thread is reading the cgroup.
    BeingRead(Arc<CachedCgroup>),
    /// To be tried again in that lane, on behalf of that owner.
    Queue(Lane, Owner, FollowUp),
    /// To be tried again by a thread that may hang.
    MayHang(Owner),
    /// The container's start has to be found first.
    NeedsStart(StartSearch),
}

/// The requests that waited for the same reading, and for whom they are tried again.
#[derive(Default)]
pub(super) struct FollowUp {
    pub(super) is_slow: bool,
    pub(super) owner: Owner,
    pub(super) again: Vec<Continuation>,
}

impl FollowUp {
    pub(super) const fn lane(&self) -> Lane {
        if self.is_slow { Lane::Slow } else { Lane::Fast }
    }
}

/// A container whose start has to be found, and a reader in it.
pub(super) struct StartSearch {
    /// The id of the container's cgroup.
    pub(super) container: u64,
    /// The reader's cgroup.
    pub(super) memory: Owner,
    /// The container's path.
    pub(super) place: Owner,
    pub(super) pid: u32,
    pub(super) pid_namespace: Option<u64>,
}

impl StartSearch {
    /// The caller, as far as the search depends on it.
    pub(super) fn caller(&self) -> Caller<'_> {
        Caller {
            container: &self.place,
            pid: self.pid,
            pid_namespace: self.pid_namespace,
            ..Caller::of_memory(&self.memory)
        }
    }
}
