//! Reads the kernel, and nothing else does: which cgroup hierarchy has a controller, who a reader is,
//! and the numbers of a cgroup and of every level above it.

mod caller;
mod cgroup_files;
mod host;
mod huge_pages;
pub mod layout;
mod levels;
mod namespaces;
mod procfs;
mod protection;
mod readers;

pub use self::caller::Caller;
pub use self::layout::{Hierarchy, Layout, LayoutError};
pub use self::levels::CgroupPath;

use self::caller::Callers;
use self::host::HostFiles;
use self::levels::Levels;
use self::procfs::{Procfs, with_buffer};
use crate::error::Error;
use crate::snapshot::{Needs, Snapshot};
use std::path::Path;
use std::time::Duration;

/// One system to read: this one, or a tree of files that looks like one.
pub struct Source {
    layout: Layout,
    procfs: Procfs,
    host: HostFiles,
    callers: Callers,
    levels: Levels,
}

impl Source {
    /// Opens the system below `root`, which is `/` but in tests.
    ///
    /// `boundary` is the path, in the memory controller's hierarchy, of a cgroup that is known to be a
    /// container's.
    ///
    /// # Errors
    /// Where there is no memory controller, or procfs or the hierarchy can't be read.
    pub fn open(root: &Path, boundary: Option<Vec<u8>>) -> Result<Self, LayoutError> {
        let procfs = Procfs::open(root)?;
        let layout = Layout::detect_by(root, &procfs)?;
        let host = HostFiles::open(&procfs, root)?;
        let callers = Callers::new(&procfs, boundary);
        Ok(Self { layout, procfs, host, callers, levels: Levels::default() })
    }

    /// The hierarchies that are read.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Finds the container of a process, by a look at its namespace's init that is at most `max_age` old.
    /// The answer points into `text`.
    ///
    /// # Errors
    /// [`Error::ProcessGone`] if there is no such process, others where it can't be looked at.
    pub fn caller<'t>(
        &self,
        pid: u32,
        max_age: Duration,
        text: &'t mut Vec<u8>,
    ) -> Result<Caller<'t>, Error> {
        self.callers.find(pid, max_age, &self.procfs, &self.layout, text)
    }

    /// Opens a reader's cgroup and every level above it.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] if it was removed.
    pub fn path(&self, memory: &[u8]) -> Result<CgroupPath, Error> {
        self.levels.path(&self.layout.memory, memory)
    }

    /// Checks that a path that was opened before still leads to the same cgroup.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] if it leads to another one by now, or nowhere.
    pub fn verify(&self, path: &CgroupPath) -> Result<(), Error> {
        path.verify(&self.layout)
    }

    /// Has the cgroup at `memory`, and every level above it, opened anew by the next [`path`](Self::path).
    pub fn forget(&self, memory: &[u8]) {
        self.levels.forget(memory);
    }

    /// Reads what a caller's view needs.
    ///
    /// # Errors
    /// [`Error::CgroupGone`] if the cgroup is removed meanwhile.
    pub fn load(&self, path: &CgroupPath, caller: &Caller<'_>, needs: Needs) -> Result<Snapshot, Error> {
        with_buffer(|buffer| {
            path.load(caller.container_length, needs, &self.host, &self.layout, caller.hugetlb, buffer)
        })
    }

    /// Reads what a view needs for a reader that is in no container, or can't be seen.
    ///
    /// # Errors
    /// Where the host's files can't be read.
    pub fn load_host(&self, needs: Needs) -> Result<Snapshot, Error> {
        with_buffer(|buffer| self.host.load(&self.layout, needs, buffer))
    }

    /// Closes what belongs to processes, namespaces and cgroups that are gone.
    pub fn sweep(&self) {
        self.callers.sweep(&self.layout);
        self.levels.sweep();
    }
}
