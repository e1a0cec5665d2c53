//! One snapshot of a container, and the views rendered from it.

use super::rendered::{MAX_AGE, Rendered, render};
use crate::error::Error;
use crate::kernel::{Caller, NamespaceId};
use crate::service::scheduling::owner::Owner;
use cgprocfs_core::snapshot::{Needs, Scope, Snapshot};
use cgprocfs_core::time::ClockOffset;
use cgprocfs_core::topology::Topology;
use cgprocfs_core::view::ViewId;
use std::sync::Arc;
use std::time::Instant;

/// One snapshot, for those readers of a cgroup who are in the same container and namespaces.
#[derive(Clone)]
pub(in crate::service) struct CacheEntry {
    pub(in crate::service) cgroup: Owner,
    pub(in crate::service) container_length: usize,
    /// `/proc/PID/cgroup`, which names the reader's cgroup in every hierarchy.
    pub(in crate::service) proc_cgroup: Vec<u8>,
    pub(in crate::service) pid_namespace: Option<NamespaceId>,
    pub(in crate::service) boot_offset: ClockOffset,
    /// When the reading started.
    pub(in crate::service) began: Instant,
    /// When the reading ended; the kernel may take long in between.
    pub(in crate::service) sampled_at: Instant,
    pub(in crate::service) needs: Needs,
    pub(in crate::service) snapshot: Arc<Snapshot>,
    pub(in crate::service) texts: Vec<Option<Arc<Rendered>>>,
    pub(in crate::service) topology: Option<Arc<Topology>>,
}

impl CacheEntry {
    /// The path of the container's cgroup.
    pub(in crate::service) fn container(&self) -> &[u8] {
        self.cgroup.get(..self.container_length).unwrap_or_default()
    }

    pub(in crate::service) fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.sampled_at) < MAX_AGE
    }

    /// Whether it is recent enough for `caller`, who asked at `asked`, and about the same container and
    /// namespaces. Pid namespace and boot are compared only where the answer depends on them: otherwise the
    /// caller's are not known.
    pub(in crate::service) fn can_serve(
        &self,
        caller: &Caller<'_>,
        needs: Needs,
        asked: Instant,
        now: Instant,
    ) -> bool {
        let depends_on = |need: Needs| needs.touches(need) && self.needs.touches(need);
        (self.began >= asked || now.saturating_duration_since(self.began) < MAX_AGE)
            && self.container_length == caller.container.len()
            && self.proc_cgroup == caller.proc_cgroup
            && (self.pid_namespace == caller.pid_namespace || !depends_on(Needs::START))
            && (self.boot_offset == caller.boot_offset || !depends_on(Needs::BOOT))
    }

    /// The entry with a snapshot that has what `needs` covers, too, for `caller`.
    pub(in crate::service) fn extended(
        self,
        caller: &Caller<'_>,
        needs: Needs,
        snapshot: Arc<Snapshot>,
    ) -> Self {
        let (has_start, has_boot) = (needs.touches(Needs::START), needs.touches(Needs::BOOT));
        Self {
            pid_namespace: if has_start { caller.pid_namespace } else { self.pid_namespace },
            boot_offset: if has_boot { caller.boot_offset } else { self.boot_offset },
            needs: self.needs.and(needs),
            snapshot,
            ..self
        }
    }

    /// `view`, rendered from this snapshot once.
    ///
    /// # Errors
    /// Where the snapshot has nonsensical numbers.
    pub(in crate::service) fn text(&mut self, view: ViewId) -> Result<Arc<Rendered>, Error> {
        let slot = view.index();
        if let Some(text) = self.texts[slot].as_ref() {
            return Ok(Arc::clone(text));
        }
        let text = render(view, &self.snapshot, self.sampled_at, &self.cgroup)?;
        self.texts[slot] = Some(Arc::clone(&text));
        Ok(text)
    }

    /// The processors and nodes of the reader's container; `None` for a reader in none.
    pub(in crate::service) fn topology(&mut self) -> Result<Option<Arc<Topology>>, Error> {
        if let Scope::Host(_) = self.snapshot.scope {
            return Ok(None);
        }
        if self.topology.is_none() {
            self.topology = Some(Arc::new(Topology::of(&self.snapshot)?));
        }
        Ok(self.topology.clone())
    }
}
