//! What a reader can ask, and how the answer is made from a snapshot.

use crate::error::Error;
use crate::service::cache::cache_entry::CacheEntry;
use crate::service::cache::rendered::{Rendered, render};
use crate::service::engine::Service;
use crate::service::scheduling::owner::Owner;
use cgprocfs_core::error::ViewError;
use cgprocfs_core::snapshot::{Needs, Snapshot};
use cgprocfs_core::topology::{MemoryByNode, Topology};
use cgprocfs_core::view::ViewId;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

/// Something that a reader can ask.
pub(in crate::service) trait Query: Clone + Send + 'static {
    /// What is taken from a snapshot, while its cache entry is locked.
    type Extract: Send;
    /// What the reader gets.
    type Answer: Send;
    /// Whether [`finish`](Self::finish) reads files of the host.
    const READS_FILES: bool;

    /// What has to be in the snapshot.
    fn needs(&self) -> Needs;

    /// Takes what is needed from the snapshot of the reader's container, or of the host.
    fn take_from(&self, entry: &mut CacheEntry) -> Result<Self::Extract, Error>;

    /// Takes what a reader that can't be seen gets, which is the host's.
    fn for_unseen_reader(&self, service: &Service) -> Result<Self::Extract, Error>;

    /// Makes the answer for a reader in `cgroup`.
    fn finish(&self, service: &Service, found: Self::Extract, cgroup: &[u8]) -> Result<Self::Answer, Error>;
}

/// Asks for a rendered view.
#[derive(Clone)]
pub(in crate::service) struct TextOf(pub(in crate::service) ViewId);

impl Query for TextOf {
    type Extract = Arc<Rendered>;
    type Answer = Arc<Rendered>;
    const READS_FILES: bool = false;

    fn needs(&self) -> Needs {
        self.0.needs()
    }

    fn take_from(&self, entry: &mut CacheEntry) -> Result<Arc<Rendered>, Error> {
        entry.text(self.0)
    }

    fn for_unseen_reader(&self, service: &Service) -> Result<Arc<Rendered>, Error> {
        service.warn_of_unseen();
        let snapshot = service.source.read_host_snapshot(self.needs())?;
        render(self.0, &snapshot, Instant::now(), &Owner::default())
    }

    fn finish(&self, _: &Service, text: Arc<Rendered>, _: &[u8]) -> Result<Arc<Rendered>, Error> {
        Ok(text)
    }
}

/// Asks for what a function takes from the snapshot of the container whose cgroup has that path; `None` for a
/// process that can't be seen.
#[derive(Clone)]
pub(in crate::service) struct ValueOf<T> {
    pub(in crate::service) needs: Needs,
    pub(in crate::service) take: fn(&Snapshot, &[u8]) -> Result<Option<T>, ViewError>,
}

impl<T: Clone + Send + 'static> Query for ValueOf<T> {
    type Extract = Option<T>;
    type Answer = Option<T>;
    const READS_FILES: bool = false;

    fn needs(&self) -> Needs {
        self.needs
    }

    fn take_from(&self, entry: &mut CacheEntry) -> Result<Option<T>, Error> {
        Ok((self.take)(&entry.snapshot, entry.container())?)
    }

    fn for_unseen_reader(&self, _: &Service) -> Result<Option<T>, Error> {
        Ok(None)
    }

    fn finish(&self, _: &Service, value: Option<T>, _: &[u8]) -> Result<Option<T>, Error> {
        Ok(value)
    }
}

/// A reader of files of the host, as far as these depend on it.
pub struct Viewer<'v> {
    /// The processors and nodes of its container; `None` for a reader of the host.
    pub topology: Option<&'v Topology>,
    /// The memory of each node, where [`Needs::NUMA_STAT`] was asked for.
    pub memory: Option<&'v MemoryByNode>,
    /// Its cgroup.
    pub cgroup: &'v [u8],
}

/// Asks for what a function makes of files of the host.
pub(in crate::service) struct FilesOf<F, T> {
    needs: Needs,
    make: Arc<F>,
    makes: PhantomData<fn() -> T>,
}

impl<F, T> FilesOf<F, T> {
    pub(in crate::service) fn new(needs: Needs, make: F) -> Self {
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
    type Extract = (Option<Arc<Topology>>, Option<MemoryByNode>);
    type Answer = T;
    const READS_FILES: bool = true;

    fn needs(&self) -> Needs {
        self.needs
    }

    fn take_from(&self, entry: &mut CacheEntry) -> Result<Self::Extract, Error> {
        let topology = entry.topology()?;
        let memory = topology.as_deref().filter(|_| self.needs.covers(Needs::NUMA_STAT));
        let memory = memory.map(|topology| MemoryByNode::of(&entry.snapshot, topology)).transpose()?;
        Ok((topology, memory))
    }

    fn for_unseen_reader(&self, _: &Service) -> Result<Self::Extract, Error> {
        Ok((None, None))
    }

    fn finish(
        &self,
        service: &Service,
        (topology, memory): Self::Extract,
        cgroup: &[u8],
    ) -> Result<T, Error> {
        let (topology, memory) = (topology.as_deref(), memory.as_ref());
        (self.make)(service, &Viewer { topology, memory, cgroup })
    }
}
