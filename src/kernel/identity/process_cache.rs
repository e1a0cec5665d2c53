//! The processes that read recently, each by an open `/proc/PID/cgroup`.
//!
//! A program that polls is recognised by one `readlink` and one `pread`. That is no look-up by a pid, which
//! another process may have got meanwhile: the open file belongs to one process and answers ESRCH once that
//! is dead. As long as it answers, the pid is that process's.

use super::context::ProcContext;
use crate::error::Error;
use crate::kernel::namespace_id::NamespaceId;
use crate::kernel::procfs::{Procfs, process_error};
use crate::kernel::read::read_whole;
use crate::shares::{eviction_order, excess};
use crate::sys;
use cgprocfs_core::parse::pid::Pid;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// How many processes are remembered at most.
const CAPACITY: usize = 4096;
/// How many files are open for each.
const FILES_EACH: usize = 2;

/// The open files, by process id. If there are too many, an eighth is closed: of the processes in the
/// heaviest branch of the hierarchy, those that come first in their [`eviction_order`]. Closing many at once
/// takes as few system calls as their descriptors allow, instead of one for every command that a shell script
/// starts.
pub(crate) struct ProcessCache {
    capacity: usize,
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    by_pid: HashMap<Pid, Arc<CachedProcess>>,
    /// Counts the readings.
    clock: u64,
}

impl Default for ProcessCache {
    fn default() -> Self {
        Self { capacity: CAPACITY, recent: Mutex::default() }
    }
}

/// A process that has read a view.
struct CachedProcess {
    proc_cgroup: OwnedFd,
    /// The link to its cgroup namespace, once it has read again: to go there by the names of directories
    /// takes longer.
    namespace_link: OnceLock<OwnedFd>,
    /// The cgroup that it was in when it read first.
    cgroup: Box<[u8]>,
    /// When it read last, by [`Recent::clock`].
    used: AtomicU64,
    /// Whether it has read more than once.
    reads_again: AtomicBool,
    /// Known once it was requested. A process never changes its own pid namespace (pid_namespaces(7)).
    pid_namespace: OnceLock<NamespaceId>,
    /// Its id there, likewise.
    innermost_pid: OnceLock<Pid>,
}

/// Which namespaces a process was in while its `/proc/PID/cgroup` was read.
pub(crate) struct Namespaces {
    /// The number of its cgroup namespace.
    pub(crate) cgroup: NamespaceId,
    /// The number of its pid namespace, if that was requested.
    pub(crate) pid: Option<NamespaceId>,
}

impl ProcessCache {
    /// Reads the process's `/proc/PID/cgroup` into `text`, and finds out which namespaces it is in: its pid
    /// namespace only if `wants_pid` for the number of its cgroup namespace.
    pub(crate) fn read(
        &self,
        context: ProcContext<'_>,
        pid: Pid,
        text: &mut Vec<u8>,
        wants_pid: impl Fn(NamespaceId) -> bool,
    ) -> Result<Namespaces, Error> {
        let ProcContext { procfs, hierarchy } = context;
        if let Some(reader) = self.known(pid) {
            reader.keep_link(procfs, pid);
            match reader.read(procfs, pid, text, &wants_pid) {
                Err(Error::ProcessGone(_)) => self.forget(pid),
                answer => return answer,
            }
        }
        let proc_cgroup = procfs.open_of(pid, "cgroup")?;
        let (cgroup, used, reads_again) = (Box::default(), AtomicU64::new(0), AtomicBool::new(false));
        let (pid_namespace, innermost_pid) = (OnceLock::new(), OnceLock::new());
        let namespace_link = OnceLock::new();
        let mut reader = CachedProcess {
            proc_cgroup,
            namespace_link,
            cgroup,
            used,
            reads_again,
            pid_namespace,
            innermost_pid,
        };
        let namespaces = reader.read(procfs, pid, text, &wants_pid)?;
        reader.cgroup = hierarchy.path_in(text, pid).unwrap_or_default().into();
        self.remember(pid, reader);
        Ok(namespaces)
    }

    /// The id of a process in its own pid namespace. Of one that was [read](Self::read) before, `find` is
    /// asked once.
    pub(crate) fn innermost_pid(
        &self,
        pid: Pid,
        find: impl FnOnce() -> Result<Pid, Error>,
    ) -> Result<Pid, Error> {
        let Some(process) = self.recent.lock().by_pid.get(&pid).map(Arc::clone) else { return find() };
        match process.innermost_pid.get() {
            Some(known) => Ok(*known),
            None => {
                let found = find()?;
                Ok(*process.innermost_pid.get_or_init(|| found))
            }
        }
    }

    fn known(&self, pid: Pid) -> Option<Arc<CachedProcess>> {
        let mut recent = self.recent.lock();
        recent.clock += 1;
        let reader = recent.by_pid.get(&pid)?;
        reader.used.store(recent.clock, Ordering::Relaxed);
        reader.reads_again.store(true, Ordering::Relaxed);
        Some(Arc::clone(reader))
    }

    /// Keeps no more than about `max_files` files open.
    pub(crate) fn bound(&mut self, max_files: usize) {
        self.capacity = (max_files / FILES_EACH).clamp(2, CAPACITY);
    }

    fn remember(&self, pid: Pid, reader: CachedProcess) {
        let mut recent = self.recent.lock();
        let excess = match recent.by_pid.len() >= self.capacity {
            true => recent.remove_excess(self.capacity - self.capacity.div_ceil(8)),
            false => Vec::new(),
        };
        reader.used.store(recent.clock, Ordering::Relaxed);
        let before = recent.by_pid.insert(pid, Arc::new(reader));
        drop(recent);
        drop(before);
        close(excess);
    }

    fn forget(&self, pid: Pid) {
        let forgotten = self.recent.lock().by_pid.remove(&pid);
        drop(forgotten);
    }

    /// Forgets half of the processes, those of whoever has most.
    pub(crate) fn forget_half(&self) {
        let mut recent = self.recent.lock();
        let half = recent.by_pid.len() / 2;
        let removed = recent.remove_excess(half);
        drop(recent);
        close(removed);
    }

    /// Forgets all processes.
    pub(crate) fn clear(&self) {
        let readers = std::mem::take(&mut self.recent.lock().by_pid);
        close(readers.into_values());
    }
}

impl Recent {
    /// Removes all but `capacity` processes.
    fn remove_excess(&mut self, capacity: usize) -> Vec<Arc<CachedProcess>> {
        let long_ago = self.clock.saturating_sub(4 * self.by_pid.len() as u64);
        let order = |reader: &CachedProcess| {
            let used = reader.used.load(Ordering::Relaxed);
            let is_in_use = used >= long_ago;
            // Most have read once and are gone.
            (is_in_use && reader.reads_again.load(Ordering::Relaxed), eviction_order(used, is_in_use))
        };
        let mut all: Vec<_> = self.by_pid.iter().collect();
        all.sort_by_cached_key(|(_, reader)| order(reader));
        let excess = excess(all.into_iter().map(|(pid, reader)| (*pid, &*reader.cgroup, 1)), capacity);
        excess.iter().filter_map(|pid| self.by_pid.remove(pid)).collect()
    }
}

/// Closes the files of processes. One that another thread reads from right now is closed by that thread.
fn close(readers: impl IntoIterator<Item = Arc<CachedProcess>>) {
    let readers = readers.into_iter().filter_map(Arc::into_inner);
    let files = |reader: CachedProcess| [Some(reader.proc_cgroup), reader.namespace_link.into_inner()];
    sys::close_all(readers.flat_map(files).flatten());
}

impl CachedProcess {
    /// Reads which cgroups and namespaces it is in. The order matters: the last reading succeeds only if the
    /// process that was opened is still alive, so what was read by its pid before was about the same process.
    fn read(
        &self,
        procfs: &Procfs,
        pid: Pid,
        text: &mut Vec<u8>,
        wants_pid: impl Fn(NamespaceId) -> bool,
    ) -> Result<Namespaces, Error> {
        let cgroup = match self.namespace_link.get().and_then(NamespaceId::of_open_link) {
            Some(number) => number,
            None => procfs.namespace_id(pid, "ns/cgroup")?,
        };
        let pid_namespace = match self.pid_namespace.get() {
            None if wants_pid(cgroup) => Some(procfs.namespace_id(pid, "ns/pid")?),
            known => known.copied(),
        };
        read_whole(&self.proc_cgroup, text).map_err(|e| process_error(pid, "cgroup", e))?;
        if let Some(number) = pid_namespace {
            self.pid_namespace.get_or_init(|| number);
        }
        Ok(Namespaces { cgroup, pid: pid_namespace })
    }

    /// Opens the link to its cgroup namespace. If the process is gone, the next [reading](Self::read) finds
    /// that out.
    fn keep_link(&self, procfs: &Procfs, pid: Pid) {
        if self.namespace_link.get().is_none() {
            if let Ok(link) = procfs.open_link_of(pid, "ns/cgroup") {
                self.namespace_link.get_or_init(|| link);
            }
        }
    }
}

#[cfg(test)]
mod tests;
