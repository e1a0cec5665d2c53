//! A pid namespace, and where its init is.

use super::caller::Caller;
use super::context::ProcContext;
use super::init_search::{container_around, search_init};
use super::namespace_map::HeldNamespace;
use crate::error::Error;
use crate::kernel::cgroup::mounts::Hierarchy;
use crate::kernel::procfs::process_error;
use crate::kernel::read::{read_whole, read_with};
use crate::sys;
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// A pid namespace that is held open.
pub(crate) struct PidNamespace {
    _held: OwnedFd,
    /// The cgroup of the reader that asked first.
    cgroup: Box<[u8]>,
    /// `/proc/PID/cgroup` of its init, which answers ESRCH once that is dead, and the namespace with it.
    init: OwnedFd,
    init_pid: u32,
    /// The container that init was in when it was last seen, and when that was.
    init_cgroup: Mutex<Option<(Instant, Vec<u8>)>>,
}

impl HeldNamespace for PidNamespace {
    fn cgroup(&self) -> &[u8] {
        &self.cgroup
    }
}

impl PidNamespace {
    /// Finds the init of the namespace `id` that the caller is in; `None` if the caller is in another by now, or init can't be
    /// seen.
    pub(crate) fn resolve(
        id: u64,
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
                let cgroup = caller.memory.into();
                Ok(Some(Self { _held: held, cgroup, init, init_pid, init_cgroup: Mutex::new(None) }))
            }
            Err(Error::ProcessGone(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The id of its init.
    pub(crate) fn init_pid(&self) -> u32 {
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
    pub(crate) fn init_cgroup(
        &self,
        max_age: Duration,
        memory: &Hierarchy,
    ) -> Result<MappedMutexGuard<'_, Vec<u8>>, Error> {
        let mut seen = self.init_cgroup.lock();
        let is_fresh = |(at, _): &&(Instant, Vec<u8>)| at.elapsed() < max_age;
        if seen.as_ref().filter(is_fresh).is_none() {
            let (now, mut text) = (Instant::now(), Vec::new());
            read_whole(&self.init, &mut text).map_err(|e| process_error(self.init_pid, "cgroup", e))?;
            let init = memory.path_in(&text, self.init_pid)?;
            *seen = Some((now, container_around(init).to_vec()));
        }
        Ok(MutexGuard::map(seen, |seen| &mut seen.get_or_insert_with(|| (Instant::now(), Vec::new())).1))
    }
}
