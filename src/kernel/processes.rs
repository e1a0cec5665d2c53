//! What is asked about a process: its pid namespace, when it started, and when its container did.

use super::cgroup::caller::Caller;
use super::cgroup::id::CgroupRef;
use super::identity::life::Life;
use super::identity::resolver;
use super::source::Source;
use crate::error::Error;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::parse::proc_status::Status;
use cgprocfs_core::time::Ticks;
use std::sync::atomic::AtomicU64;

impl Source {
    /// Whether a caller is in another pid namespace than this process, if that was requested.
    #[must_use]
    pub fn is_in_other_pid_namespace(&self, caller: &Caller<'_>) -> bool {
        self.callers.other_pid_namespace(caller).is_some()
    }

    /// Whether a process is in the pid namespace of this one. To ask may hang while it is in an exec.
    #[must_use]
    pub fn is_in_own_pid_namespace(&self, pid: Pid) -> bool {
        let own = self.procfs.own_namespace_id("ns/pid");
        own.is_some() && self.procfs.namespace_id(pid, "ns/pid").ok() == own
    }

    /// The id of a process in its own pid namespace.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn innermost_pid(&self, pid: Pid) -> Result<Pid, Error> {
        self.callers.innermost_pid(pid, || {
            let mut text = Vec::new();
            self.procfs.read_of(pid, "status", &mut text)?;
            let status = Status::parse(&text);
            let status = status.map_err(|e| Error::malformed(format!("/proc/{pid}/status"), e))?;
            Ok(status.innermost_pid)
        })
    }

    /// When a process that waits for an answer started, since the boot.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn start_of_reader(&self, pid: Pid) -> Result<Ticks, Error> {
        resolver::start_of(pid, &self.procfs)
    }

    /// Finds out when a caller's container started. It is not for a thread that others need: a process in the
    /// middle of an exec blocks it for as long as the tenant likes. `so_far` is lowered as older processes
    /// are found.
    ///
    /// # Errors
    /// If the caller or its cgroup is gone.
    pub fn life(
        &self,
        container: CgroupRef<'_>,
        caller: &Caller<'_>,
        so_far: &AtomicU64,
    ) -> Result<Life, Error> {
        self.callers.life(caller, container, self.proc_context(), so_far)
    }
}
