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
    /// The answer, and what is to be done next.
    Done(Result<T, Error>, FollowUp),
    /// Somebody reads that cgroup already.
    IsRead(Arc<CachedCgroup>),
    /// It is to be asked for aside, in that lane on behalf of that owner, and what is to be done next.
    Aside(Lane, Owner, FollowUp),
    /// Likewise where that may hang.
    Look(Owner),
    /// When the container started has to be found out first.
    Start(StartSearch),
}

/// What is to be done by those who waited for the same reading, on behalf of its owner.
#[derive(Default)]
pub(super) struct FollowUp {
    pub(super) is_slow: bool,
    pub(super) owner: Owner,
    pub(super) again: Vec<Continuation>,
}

impl FollowUp {
    pub(super) const fn lane(&self) -> Lane {
        if self.is_slow { Lane::Slow } else { Lane::Quick }
    }
}

/// A reader for whose container that has to be found out.
pub(super) struct StartSearch {
    /// Of the container's cgroup.
    pub(super) container: u64,
    pub(super) memory: Owner,
    /// The container's path.
    pub(super) place: Owner,
    pub(super) pid: u32,
    pub(super) pid_namespace: Option<u64>,
}

impl StartSearch {
    /// As much of it as the search is told by.
    pub(super) fn caller(&self) -> Caller<'_> {
        Caller {
            container_length: self.place.len(),
            pid: self.pid,
            pid_namespace: self.pid_namespace,
            ..Caller::of_memory(&self.memory)
        }
    }
}
