//! Requests that read nothing: to open a file, to look up a name, to list what is known. Each takes a few
//! microseconds, and a tenant can have thousands of threads that send them.

use crate::error::Error;
use crate::kernel::Reader;
use crate::service::cache::rendered::MAX_AGE;
use crate::service::engine::Service;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::snapshot::Needs;
use std::time::Instant;

impl Service {
    /// Charges the container of a process for a request that read nothing, now and then, while the serving
    /// threads are busy.
    pub fn charge_small_request(&self, pid: Pid) {
        if pid == Pid::UNSEEN || !self.fairness.is_sampled() {
            return;
        }
        let (may_search, may_hang) = (false, false);
        let reader = Reader { pid, max_age: MAX_AGE, needs: Needs::NOTHING, may_search, may_hang };
        let mut proc_cgroup = Vec::new();
        let (container, cgroup) = match self.source.caller(reader, &mut proc_cgroup) {
            Ok(caller) => (caller.container.to_vec(), caller.cgroup.to_vec()),
            // Its container is not known yet.
            Err(Error::TakesLong(cgroup) | Error::MayHang(cgroup)) => (cgroup.to_vec(), cgroup.to_vec()),
            Err(_) => return,
        };
        let (account, now) = (self.fairness.accounts.of(&container), Instant::now());
        self.fairness.charge_sample(&account, pid, now);
        if account.is_slow(now) {
            self.fairness.slow_processes.add(pid, cgroup.into());
        }
    }
}
