//! The namespaces of recent readers: where a cgroup namespace has its root, and where a pid namespace has its
//! init.
//!
//! Entries are keyed by the namespace's number, which the kernel reuses once a namespace is gone. So each
//! entry holds its namespace open: while it is cached, no other namespace has its number.

use super::cgroup_namespace::CgroupNamespace;
use super::context::ProcContext;
use super::init_search::container_around;
use super::namespace_map::NamespaceMap;
use super::pid_namespace::PidNamespace;
use crate::error::Error;
use crate::kernel::cgroup::caller::Caller;
use crate::kernel::cgroup::mounts::Hierarchy;
use crate::kernel::cgroup::paths::is_at_or_below;
use crate::kernel::namespace_id::NamespaceId;
use cgprocfs_core::parse::pid::Pid;
use std::sync::Arc;
use std::time::Duration;

/// How many namespaces of either kind are held at most.
const CAPACITY: usize = 4096;
/// How many files are open for one namespace of each kind.
const FILES_PER_PAIR: usize = 3;

/// The namespaces of recent readers.
pub(crate) struct NamespaceCache {
    cgroup: NamespaceMap<CgroupNamespace>,
    pid: NamespaceMap<PidNamespace>,
}

impl Default for NamespaceCache {
    fn default() -> Self {
        Self { cgroup: NamespaceMap::new(CAPACITY), pid: NamespaceMap::new(CAPACITY) }
    }
}

impl NamespaceCache {
    /// Keeps no more than about `max_files` files open.
    pub(crate) fn bound(&mut self, max_files: usize) {
        let capacity = (max_files / FILES_PER_PAIR).clamp(1, CAPACITY);
        self.cgroup.set_capacity(capacity);
        self.pid.set_capacity(capacity);
    }

    /// The length of the prefix of `path` that is the root of the cgroup namespace `id` of the process `pid`;
    /// `None` if the path is not inside it.
    ///
    /// # Errors
    /// [`Error::TakesLong`] if that is not known yet, unless the caller `may_take_long`.
    pub(crate) fn root_len(
        &self,
        id: NamespaceId,
        (pid, path): (Pid, &[u8]),
        may_take_long: bool,
        context: ProcContext<'_>,
    ) -> Result<Option<usize>, Error> {
        let namespace = match self.cgroup.get(id) {
            Some(namespace) => namespace,
            // A tenant may make any number of them.
            None if !may_take_long => return Err(Error::TakesLong(path.into())),
            None => match CgroupNamespace::resolve(id, pid, path, context)? {
                Some(namespace) => {
                    let namespace = Arc::new(namespace);
                    self.cgroup.insert(id, &namespace);
                    namespace
                }
                None => return Ok(None),
            },
        };
        Ok(is_at_or_below(path, namespace.root()).then_some(namespace.root().len()))
    }

    /// The prefix of the caller's path that is the cgroup of the init of its pid namespace `id`; `None` if
    /// the path is not below it.
    ///
    /// A look at init that is at most `max_age` old will do.
    ///
    /// # Errors
    /// [`Error::MayHang`] if it takes a search that may, unless the caller's thread [may](Caller::may_hang),
    /// too.
    pub(crate) fn init_cgroup<'t>(
        &self,
        id: NamespaceId,
        caller: &Caller<'t>,
        max_age: Duration,
        context: ProcContext<'_>,
    ) -> Result<Option<&'t [u8]>, Error> {
        let Some(namespace) = self.pid_namespace(id, caller, context)? else { return Ok(None) };
        if namespace.init_pid() == caller.pid {
            return Ok(Some(container_around(caller.cgroup)));
        }
        match namespace.init_cgroup(max_age, context.hierarchy) {
            Ok(cgroup) => Ok(is_at_or_below(caller.cgroup, &cgroup).then(|| &caller.cgroup[..cgroup.len()])),
            Err(Error::ProcessGone(_)) => {
                self.pid.remove(id);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The init of the pid namespace `id`; `None` if it can't be seen, or is not in `container`.
    pub(crate) fn init_in(
        &self,
        container: &[u8],
        id: NamespaceId,
        caller: &Caller<'_>,
        context: ProcContext<'_>,
    ) -> Result<Option<Pid>, Error> {
        let Some(namespace) = self.pid_namespace(id, caller, context)? else { return Ok(None) };
        match namespace.init_cgroup(Duration::ZERO, context.hierarchy) {
            Ok(cgroup) => Ok(is_at_or_below(&cgroup, container).then_some(namespace.init_pid())),
            Err(Error::ProcessGone(_)) => {
                self.pid.remove(id);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn pid_namespace(
        &self,
        id: NamespaceId,
        caller: &Caller<'_>,
        context: ProcContext<'_>,
    ) -> Result<Option<Arc<PidNamespace>>, Error> {
        if let Some(known) = self.pid.get(id) {
            return Ok(Some(known));
        }
        let resolved = PidNamespace::resolve(id, caller, context)?.map(Arc::new);
        if let Some(namespace) = &resolved {
            self.pid.insert(id, namespace);
        }
        Ok(resolved)
    }

    /// Drops all namespaces.
    pub(crate) fn clear(&self) {
        self.cgroup.retain(|_| false);
        self.pid.retain(|_| false);
    }

    /// Drops half of the namespaces of each kind, those of whoever has most.
    pub(crate) fn drop_half(&self) {
        self.cgroup.remove_half();
        self.pid.remove_half();
    }

    /// Drops the namespaces whose container is gone: an open cgroup namespace keeps the kernel from freeing
    /// its root cgroup.
    pub(crate) fn sweep(&self, hierarchy: &Hierarchy) {
        self.cgroup.retain(|namespace| hierarchy.locate(namespace.root()).open_dir().is_ok());
        self.pid.retain(PidNamespace::is_alive);
    }
}
