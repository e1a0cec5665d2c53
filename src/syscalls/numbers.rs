//! Who knows what callers are to be told.

use crate::service::{ByThread, MAX_ANSWER, Service};
use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::syscalls::affinity::CpuShare;
use cgprocfs_core::syscalls::sysinfo::SysInfo;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Knows what threads are told; `None` where that is not known, or the kernel's answer is the right one.
pub trait Numbers: Send + Sync + 'static {
    /// What sysinfo(2) tells a thread.
    fn sys_info(&self, thread: Pid) -> Option<SysInfo>;
    /// Which processors sched_getaffinity(2) tells a thread of.
    fn cpu_share(&self, thread: Pid) -> Option<CpuShare>;
}

/// A service of this process.
impl Numbers for Arc<Service> {
    fn sys_info(&self, thread: Pid) -> Option<SysInfo> {
        Service::sys_info(self, thread).inspect_err(|error| self.log(error)).ok().flatten()
    }

    fn cpu_share(&self, thread: Pid) -> Option<CpuShare> {
        Service::cpu_share(self, thread).inspect_err(|error| self.log(error)).ok().flatten()
    }
}

/// A daemon that serves a mount: its files are read, which waits for the next daemon where one has ended.
pub struct ServedNumbers {
    live: PathBuf,
    files: [Mutex<Opened>; ByThread::ALL.len()],
}

#[derive(Default)]
struct Opened {
    file: Option<Arc<File>>,
    failed: Option<Instant>,
}

/// How long a daemon that could not be asked is not asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

impl ServedNumbers {
    /// The daemon that serves the mount at `live`, now or later.
    #[must_use]
    pub fn new(live: PathBuf) -> Self {
        Self { live, files: Default::default() }
    }

    fn ask<T: DeserializeOwned>(&self, what: ByThread, thread: Pid) -> Option<T> {
        // Of a connection that was lost nothing can be read any more, but of the next one.
        (0..2).find_map(|_| {
            let file = self.file(what)?;
            let mut answer = [0; MAX_ANSWER];
            match file.read_at(&mut answer, thread.get().into()) {
                Ok(length) => Some(serde_json::from_slice(answer.get(..length)?).ok()?),
                Err(error) => {
                    let is_lost = matches!(
                        error.raw_os_error(),
                        Some(libc::ENOTCONN | libc::ECONNABORTED | libc::EBADF | libc::ESTALE)
                    );
                    match is_lost {
                        true => {
                            self.files[what as usize].lock().file = None;
                            None
                        }
                        false => Some(None),
                    }
                }
            }
        })?
    }

    fn file(&self, what: ByThread) -> Option<Arc<File>> {
        {
            let opened = self.files[what as usize].lock();
            if let Some(file) = &opened.file {
                return Some(Arc::clone(file));
            }
            if opened.failed.is_some_and(|failed| failed.elapsed() < RETRY_INTERVAL) {
                return None;
            }
        }
        // Nobody else is to wait for what may hang.
        let file = File::open(self.live.join(what.name()));
        let mut opened = self.files[what as usize].lock();
        match file {
            Ok(file) => Some(Arc::clone(opened.file.insert(Arc::new(file)))),
            Err(error) => {
                log::warn!(
                    "nobody serves {}, so that containers are told of the host: {error}",
                    self.live.display()
                );
                opened.failed = Some(Instant::now());
                None
            }
        }
    }
}

impl Numbers for ServedNumbers {
    fn sys_info(&self, thread: Pid) -> Option<SysInfo> {
        self.ask(ByThread::SysInfo, thread)
    }

    fn cpu_share(&self, thread: Pid) -> Option<CpuShare> {
        self.ask(ByThread::CpuShare, thread)
    }
}
