//! What a thread is told by system calls, for the program that answers them: files in which the offset of a
//! read is the thread's id, as it is the number of a register in those of msr(4).

use super::engine::Service;
use super::request::query::ValueOf;
use super::scheduling::lane::Lane;
use crate::error::Error;
use crate::state::in_flight::InFlightGuard;
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::syscalls::affinity::CpuShare;
use cgprocfs_core::syscalls::sysinfo::SysInfo;
use rustix::io::Errno;
use serde::Serialize;
use std::sync::Arc;

/// What there is for each thread, as JSON; `null` for a thread in no container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByThread {
    /// A [`SysInfo`].
    SysInfo,
    /// A [`CpuShare`].
    CpuShare,
}

/// No answer is longer, in bytes.
pub const MAX_ANSWER: usize = 1024;

impl ByThread {
    /// All that there is.
    pub const ALL: [Self; 2] = [Self::SysInfo, Self::CpuShare];

    /// The name of the file, at the top of the file system. It is in no listing.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SysInfo => ".sysinfo",
            Self::CpuShare => ".cpu-share",
        }
    }
}

const SYS_INFO: ValueOf<SysInfo> =
    ValueOf { needs: SysInfo::NEEDS, take: |snapshot, _| SysInfo::of(snapshot) };
const CPU_SHARE: ValueOf<CpuShare> =
    ValueOf { needs: CpuShare::NEEDS, take: |snapshot, container| Ok(CpuShare::of(snapshot, container)) };

impl Service {
    /// What sysinfo(2) tells a thread; `None` in no container. Blocks.
    ///
    /// # Errors
    /// Those of [`text`](Self::text).
    pub fn sys_info(self: &Arc<Self>, thread: Pid) -> Result<Option<SysInfo>, Error> {
        self.wait_for(thread, SYS_INFO)
    }

    /// Which processors sched_getaffinity(2) tells a thread of; `None` in no container. Blocks.
    ///
    /// # Errors
    /// Those of [`text`](Self::text).
    pub fn cpu_share(self: &Arc<Self>, thread: Pid) -> Result<Option<CpuShare>, Error> {
        self.wait_for(thread, CPU_SHARE)
    }

    /// Calls `reply` with the answer for a thread, as [`ask_text`](Self::ask_text) does: it is on the account
    /// of the thread's container, and not of whoever reads it.
    pub fn ask_by_thread(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        what: ByThread,
        thread: Pid,
        reply: impl FnOnce(Result<Vec<u8>, Error>) + Send + 'static,
    ) {
        fn json(answer: Result<impl Serialize, Error>) -> Result<Vec<u8>, Error> {
            serde_json::to_vec(&answer?).map_err(|_| Error::Errno(Errno::IO))
        }
        match what {
            ByThread::SysInfo => {
                self.ask_serving(in_flight, thread, SYS_INFO, move |answer| reply(json(answer)));
            }
            ByThread::CpuShare => {
                self.ask_serving(in_flight, thread, CPU_SHARE, move |answer| reply(json(answer)));
            }
        }
    }

    /// Calls `reply` with EACCES if the process `pid` is not in this one's pid namespace, from a thread that
    /// may hang: what it wants to read is about other tenants.
    pub fn ask_for_permission(
        self: &Arc<Self>,
        in_flight: InFlightGuard,
        pid: Pid,
        reply: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        self.dispatch(Lane::Blocking, in_flight, pid, move |service, _in_flight| {
            reply(service.permit_host_process(pid));
        });
    }

    pub(super) fn permit_host_process(&self, pid: Pid) -> Result<(), Error> {
        match pid != Pid::UNSEEN && self.source.is_in_own_pid_namespace(pid) {
            true => Ok(()),
            false => Err(Error::Errno(Errno::ACCESS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cgprocfs_core::units::Kib;

    #[test]
    fn answers_are_read_as_they_were_written_and_are_short() {
        let most = Kib::new(u64::MAX);
        let info = SysInfo {
            container_uptime: u64::MAX,
            system_uptime: u64::MAX,
            loads: [f64::MAX, f64::MIN_POSITIVE, 1.0 / 3.0],
            total_ram: most,
            free_ram: most,
            shared_ram: most,
            buffer_ram: most,
            total_swap: most,
            free_swap: most,
            tasks: u32::MAX,
        };
        let text = serde_json::to_vec(&Some(info)).unwrap();
        assert!(text.len() <= MAX_ANSWER, "{}", text.len());
        assert_eq!(serde_json::from_slice::<Option<SysInfo>>(&text).unwrap(), Some(info));
        assert_eq!(serde_json::from_slice::<Option<SysInfo>>(b"null").unwrap(), None);
    }
}
