//! One snapshot of a container, and the views rendered from it.

use super::owner::Owner;
use super::rendered::{MAX_AGE, Rendered, render};
use crate::error::Error;
use crate::kernel::Caller;
use cgprocfs_core::snapshot::{Needs, Scope, Snapshot};
use cgprocfs_core::topology::Topology;
use cgprocfs_core::view::ViewId;
use std::sync::Arc;
use std::time::Instant;

/// One snapshot, for those readers of a cgroup who are in the same container and namespaces.
pub(super) struct CacheEntry {
    pub(super) cgroup: Owner,
    pub(super) container_length: usize,
    /// `/proc/PID/cgroup`, which names the reader's cgroup in every hierarchy.
    pub(super) proc_cgroup: Vec<u8>,
    pub(super) pid_namespace: Option<u64>,
    pub(super) boot_offset: i64,
    /// When the reading started.
    pub(super) began: Instant,
    /// When the reading ended; the kernel may take long in between.
    pub(super) sampled_at: Instant,
    pub(super) needs: Needs,
    pub(super) snapshot: Snapshot,
    pub(super) texts: Vec<Option<Arc<Rendered>>>,
    pub(super) topology: Option<Arc<Topology>>,
}

impl CacheEntry {
    pub(super) fn is_fresh(&self) -> bool {
        self.sampled_at.elapsed() < MAX_AGE
    }

    /// Whether this entry answers `caller`, who asked at `asked` for what `needs` covers, and is fresh enough for it.
    pub(super) fn is_for(&self, caller: &Caller<'_>, needs: Needs, asked: Instant) -> bool {
        (self.began >= asked || self.began.elapsed() < MAX_AGE)
            && self.container_length == caller.container.len()
            && self.proc_cgroup == caller.proc_cgroup
            && self.pid_namespace == caller.pid_namespace
            && self.boot_offset == caller.boot_offset
            && self.needs.covers(needs)
    }

    /// `view`, rendered from this snapshot once.
    ///
    /// # Errors
    /// Where the snapshot has nonsensical numbers.
    pub(super) fn text(&mut self, view: ViewId) -> Result<Arc<Rendered>, Error> {
        let slot = view.index();
        if let Some(text) = self.texts[slot].as_ref() {
            return Ok(Arc::clone(text));
        }
        let text = render(view, &self.snapshot, self.sampled_at, &self.cgroup)?;
        self.texts[slot] = Some(Arc::clone(&text));
        Ok(text)
    }

    /// The processors and nodes of the reader's container; `None` for a reader in none.
    pub(super) fn topology(&mut self) -> Result<Option<Arc<Topology>>, Error> {
        if let Scope::Host(_) = self.snapshot.scope {
            return Ok(None);
        }
        if self.topology.is_none() {
            self.topology = Some(Arc::new(Topology::of(&self.snapshot)?));
        }
        Ok(self.topology.clone())
    }
}
