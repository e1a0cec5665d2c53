//! What can be asked of a container, and how that is made of what was read.

use super::cache_entry::CacheEntry;
use super::engine::Service;
use super::owner::Owner;
use super::rendered::{Text, render};
use crate::error::Error;
use cgprocfs_core::snapshot::Needs;
use cgprocfs_core::topology::{MemoryByNode, Topology};
use cgprocfs_core::view::ViewId;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

/// What can be asked of a container.
pub(super) trait Query: Clone + Send + 'static {
    /// What is taken from what was read of a container.
    type Found: Send;
    /// What the answer is.
    type Answer: Send;
    /// Whether making the one of the other takes files of the host.
    const READS_FILES: bool;

    fn needs(&self) -> Needs;

    /// For a reader in a container, or of the host, of which this was read.
    fn of(&self, entry: &mut CacheEntry) -> Result<Self::Found, Error>;

    /// For a reader that can't be seen.
    fn of_unseen(&self, service: &Service) -> Result<Self::Found, Error>;

    /// The answer for a reader in such a cgroup.
    fn finish(&self, service: &Service, found: Self::Found, cgroup: &[u8]) -> Result<Self::Answer, Error>;
}

/// The text of a view.
#[derive(Clone)]
pub(super) struct TextOf(pub(super) ViewId);

impl Query for TextOf {
    type Found = Arc<Text>;
    type Answer = Arc<Text>;
    const READS_FILES: bool = false;

    fn needs(&self) -> Needs {
        self.0.needs()
    }

    fn of(&self, entry: &mut CacheEntry) -> Result<Arc<Text>, Error> {
        entry.text(self.0)
    }

    fn of_unseen(&self, service: &Service) -> Result<Arc<Text>, Error> {
        service.warn_of_unseen();
        let snapshot = service.source.load_host(self.needs())?;
        render(self.0, &snapshot, Instant::now(), &Owner::default())
    }

    fn finish(&self, _: &Service, text: Arc<Text>, _: &[u8]) -> Result<Arc<Text>, Error> {
        Ok(text)
    }
}

/// Who reads files of the host.
pub struct Viewer<'v> {
    /// What its container has; `None` where it is in none, and has what the host has.
    pub topology: Option<&'v Topology>,
    /// How much memory of each node, where that was asked for.
    pub memory: Option<&'v MemoryByNode>,
    /// Its cgroup.
    pub cgroup: &'v [u8],
}

/// What a function makes of files of the host for somebody of whom something is read.
pub(super) struct FilesOf<F, T> {
    needs: Needs,
    make: Arc<F>,
    makes: PhantomData<fn() -> T>,
}

impl<F, T> FilesOf<F, T> {
    pub(super) fn new(needs: Needs, make: F) -> Self {
        Self { needs, make: Arc::new(make), makes: PhantomData }
    }
}

impl<F, T> Clone for FilesOf<F, T> {
    fn clone(&self) -> Self {
        Self { needs: self.needs, make: Arc::clone(&self.make), makes: PhantomData }
    }
}

impl<F, T: Send + 'static> Query for FilesOf<F, T>
where
    F: Fn(&Service, &Viewer<'_>) -> Result<T, Error> + Send + Sync + 'static,
{
    type Found = (Option<Arc<Topology>>, Option<MemoryByNode>);
    type Answer = T;
    const READS_FILES: bool = true;

    fn needs(&self) -> Needs {
        self.needs
    }

    fn of(&self, entry: &mut CacheEntry) -> Result<Self::Found, Error> {
        let topology = entry.topology()?;
        let memory = topology.as_deref().filter(|_| self.needs.covers(Needs::NUMA_STAT));
        let memory = memory.map(|topology| MemoryByNode::of(&entry.snapshot, topology)).transpose()?;
        Ok((topology, memory))
    }

    fn of_unseen(&self, _: &Service) -> Result<Self::Found, Error> {
        Ok((None, None))
    }

    fn finish(&self, service: &Service, (topology, memory): Self::Found, cgroup: &[u8]) -> Result<T, Error> {
        let (topology, memory) = (topology.as_deref(), memory.as_ref());
        (self.make)(service, &Viewer { topology, memory, cgroup })
    }
}
