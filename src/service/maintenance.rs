//! Background threads: handing work to workers, sampling loads, and closing what belongs to containers that
//! are gone.

use crate::failpoint::idle;
use crate::kernel::CgroupRef;
use crate::service::engine::Service;
use crate::service::sleeper::sleep;
use crate::sys;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How often the files of containers that are gone are closed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// How long after the last request all files are closed that are kept open for the next one: without requests
/// nobody notices which containers are gone.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

impl Service {
    /// Starts the thread that samples the loads of containers. It ends with this service, and is less
    /// important than those that serve.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn spawn_load_sampler(self: &Arc<Self>) -> io::Result<()> {
        let service = Arc::downgrade(self);
        let priority = self.less_important;
        let follow = move || {
            priority.apply();
            while let Some(service) = service.upgrade() {
                let pause = service.load_sampler.sample_due(&service.source);
                drop(service);
                sleep(pause);
            }
        };
        let thread = thread::Builder::new().name("load".into()).spawn(follow)?;
        self.load_sampler.sleeper.set(thread.thread());
        Ok(())
    }

    /// Starts the thread that sweeps, which ends with this service.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn spawn_sweeper(self: &Arc<Self>) -> io::Result<()> {
        let weak = Arc::downgrade(self);
        let sweep = move || {
            let (sweep_interval, idle_timeout) = (idle(SWEEP_INTERVAL), idle(IDLE_TIMEOUT));
            while let Some(service) = weak.upgrade() {
                let was_asked = service.activity.was_asked();
                // Where nobody has asked, those may have ended who have asked before.
                service.sweep();
                let activity = Arc::clone(&service.activity);
                drop(service);
                if !was_asked && !activity.sleep_until_asked(Some(idle_timeout)) {
                    let Some(service) = weak.upgrade() else { return };
                    service.close_all();
                    drop(service);
                    activity.sleep_until_asked(None);
                }
                sleep(Some(sweep_interval));
            }
        };
        let thread = thread::Builder::new().name("sweep".into()).spawn(sweep)?;
        self.activity.sleeper.set(thread.thread());
        Ok(())
    }

    /// Starts the threads that take in what is left to workers, which end with this service. The first such
    /// work does so too.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn spawn_dispatchers(&self) -> io::Result<()> {
        self.workers.start_dispatchers()
    }

    /// Closes all files that are kept open for the next request.
    fn close_all(&self) {
        self.cache.clear();
        self.starts.clear();
        self.source.close_all();
        self.sweep();
    }

    /// Closes files and frees memory of containers that are gone. To be called now and then.
    pub fn sweep(&self) {
        self.cache.sweep(|path| self.source.verify(path).is_ok());
        let exists = |cgroup: CgroupRef<'_>| self.source.is_cgroup(cgroup);
        self.cpu_accounts.sweep(exists);
        self.load_sampler.sweep(exists);
        self.starts.sweep(exists, |container, at| self.cpu_accounts.mark_seen(container, at));
        self.source.sweep();
        self.fairness.slow_processes.clear();
        self.fairness.accounts.sweep();
        sys::release_free_memory();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Source;
    use rustix::process::{Pid, getpriority_process};
    use std::fs;
    use std::path::Path;
    use std::time::Instant;

    #[test]
    fn who_follows_loads_is_less_important() {
        let source = Source::open(Path::new("tests/fixtures/v1-docker/root"), None).unwrap();
        let service = Arc::new(Service::new(source, 100));
        service.spawn_load_sampler().unwrap();
        let nice = || {
            let threads = fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap);
            let is_it = |thread: &fs::DirEntry| {
                fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name == "load\n")
            };
            let thread = threads.into_iter().find(is_it)?;
            let number = thread.file_name().to_str().unwrap().parse().unwrap();
            getpriority_process(Pid::from_raw(number)).ok()
        };
        let own = getpriority_process(None).unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while nice().is_none_or(|nice| nice <= own && nice < 19) {
            assert!(Instant::now() < until, "{:?} is as important as {own}", nice());
            thread::sleep(Duration::from_millis(5));
        }
    }
}
