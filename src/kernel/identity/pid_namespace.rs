//! A pid namespace, and where its init is.

use super::context::ProcContext;
use super::init_search::{container_around, search_init};
use super::namespace_map::HeldNamespace;
use crate::error::Error;
use crate::kernel::cgroup::caller::Caller;
use crate::kernel::cgroup::mounts::Hierarchy;
use crate::kernel::namespace_id::NamespaceId;
use crate::kernel::procfs::process_error;
use crate::kernel::read::read_with;
use crate::sys;
use cgprocfs_core::parse::pid::Pid;
use parking_lot::Mutex;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A pid namespace that is held open.
pub(crate) struct PidNamespace {
    _held: OwnedFd,
    /// The cgroup of the reader that asked first.
    cgroup: Box<[u8]>,
    /// `/proc/PID/cgroup` of its init, which answers ESRCH once that is dead, and the namespace with it.
    init: OwnedFd,
    init_pid: Pid,
    /// The container that init was in when it was last seen, and when that was.
    init_cgroup: Mutex<Option<(Instant, Arc<[u8]>)>>,
}

impl HeldNamespace for PidNamespace {
    fn cgroup(&self) -> &[u8] {
        &self.cgroup
    }
}

impl PidNamespace {
    /// Finds the init of the namespace `id` that the caller is in; `None` if the caller is in another by now,
    /// or init can't be seen.
    pub(crate) fn resolve(
        id: NamespaceId,
        caller: &Caller<'_>,
        context: ProcContext<'_>,
    ) -> Result<Option<Self>, Error> {
        let procfs = context.procfs;
        let Some(held) = procfs.open_verified(caller.pid, "ns/pid", id)? else { return Ok(None) };
        let init_pid = match sys::init_of(held.as_fd()) {
            Ok(init) => Some(init),
            Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => search_init(id, caller, context)?,
            Err(_) => None,
        };
        let Some(init_pid) = init_pid else { return Ok(None) };
        match procfs.open_of(init_pid, "cgroup") {
            Ok(init) => {
                let cgroup = caller.cgroup.into();
                Ok(Some(Self { _held: held, cgroup, init, init_pid, init_cgroup: Mutex::new(None) }))
            }
            Err(Error::ProcessGone(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The id of its init.
    pub(crate) fn init_pid(&self) -> Pid {
        self.init_pid
    }

    /// Whether its init is alive.
    pub(crate) fn is_alive(&self) -> bool {
        read_with(&self.init, |_| ()).is_ok()
    }

    /// The path of the container that its init is in, as it was at most `max_age` ago.
    ///
    /// # Errors
    /// [`Error::ProcessGone`] if init is dead.
    pub(crate) fn init_cgroup(&self, max_age: Duration, hierarchy: &Hierarchy) -> Result<Arc<[u8]>, Error> {
        if let Some((_, cgroup)) = self.init_cgroup.lock().as_ref().filter(|(at, _)| at.elapsed() < max_age) {
            return Ok(Arc::clone(cgroup));
        }
        // Unlocked meanwhile: this thread may be less important than one that waits.
        let now = Instant::now();
        let found = read_with(&self.init, |text| {
            hierarchy.path_in(text, self.init_pid).map(|init| Arc::from(container_around(init)))
        });
        let cgroup: Arc<[u8]> = found.map_err(|e| process_error(self.init_pid, "cgroup", e))??;
        *self.init_cgroup.lock() = Some((now, Arc::clone(&cgroup)));
        Ok(cgroup)
    }
}
