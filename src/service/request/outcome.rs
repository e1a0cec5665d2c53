//! What came of an attempt to answer.

use crate::error::Error;
use crate::kernel::{Caller, CgroupId, NamespaceId};
use crate::service::cache::cached_cgroup::CachedCgroup;
use crate::service::scheduling::lane::Lane;
use crate::service::scheduling::owner::Owner;
use crate::service::scheduling::pending_request::Continuation;
use cgprocfs_core::parse::pid::Pid;
use std::sync::Arc;

/// What came of an attempt to answer.
pub(in crate::service) enum Outcome<T> {
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

impl<T> Outcome<T> {
    /// The answer, and what waited for the same reading; else what came of the attempt, which is the same
    /// whatever was asked.
    pub(in crate::service) fn answer<U>(self) -> Result<(T, FollowUp), Outcome<U>> {
        Err(match self {
            Self::Done(Ok(answer), next) => return Ok((answer, next)),
            Self::Done(Err(error), next) => Outcome::Done(Err(error), next),
            Self::BeingRead(cached) => Outcome::BeingRead(cached),
            Self::Queue(lane, owner, next) => Outcome::Queue(lane, owner, next),
            Self::MayHang(owner) => Outcome::MayHang(owner),
            Self::NeedsStart(search) => Outcome::NeedsStart(search),
        })
    }
}

/// The requests that waited for the same reading, and for whom they are tried again.
#[derive(Default)]
pub(in crate::service) struct FollowUp {
    pub(in crate::service) is_slow: bool,
    pub(in crate::service) owner: Owner,
    pub(in crate::service) again: Vec<Continuation>,
}

impl FollowUp {
    pub(in crate::service) const fn lane(&self) -> Lane {
        if self.is_slow { Lane::Slow } else { Lane::Fast }
    }
}

/// A container whose start has to be found, and a reader in it.
pub(in crate::service) struct StartSearch {
    /// The id of the container's cgroup.
    pub(in crate::service) container_id: CgroupId,
    /// The reader's cgroup.
    pub(in crate::service) cgroup: Owner,
    /// The container's path.
    pub(in crate::service) container_path: Owner,
    pub(in crate::service) pid: Pid,
    pub(in crate::service) pid_namespace: Option<NamespaceId>,
}

impl StartSearch {
    /// The caller, as far as the search depends on it.
    pub(in crate::service) fn caller(&self) -> Caller<'_> {
        Caller {
            container: &self.container_path,
            pid: self.pid,
            pid_namespace: self.pid_namespace,
            ..Caller::in_cgroup(&self.cgroup)
        }
    }
}
