//! Background threads: sampling loads, and closing what belongs to containers that are gone.

use super::engine::Service;
use super::worker_pool::NICE;
use crate::sys;
use rustix::process::setpriority_process;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How often the files of containers that are gone are closed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

impl Service {
    /// Follows the load of containers, on a thread of its own that ends with this service, and that is less important than those
    /// that answer.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub fn follow_loads(self: &Arc<Self>) -> io::Result<()> {
        let service = Arc::downgrade(self);
        let follow = move || {
            // Where setpriority(2) is not allowed the thread keeps its priority.
            let _ = setpriority_process(None, NICE);
            while let Some(service) = service.upgrade() {
                let pause = service.loads.look(&service.source);
                drop(service);
                thread::sleep(pause);
            }
        };
        thread::Builder::new().name("load".into()).spawn(follow).map(drop)
    }

    /// Sweeps now and then, on a thread of its own that ends with this service.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub fn sweep_now_and_then(self: &Arc<Self>) -> io::Result<()> {
        let service = Arc::downgrade(self);
        let sweep = move || {
            while let Some(service) = service.upgrade() {
                service.sweep();
                drop(service);
                thread::sleep(SWEEP_INTERVAL);
            }
        };
        thread::Builder::new().name("sweep".into()).spawn(sweep).map(drop)
    }

    /// Closes the files of containers that are gone, and gives back the memory of what they once asked for.
    /// To be called now and then.
    pub fn sweep(&self) {
        self.cache.sweep(|path| self.source.verify(path).is_ok());
        self.ledgers.sweep(|number, path| self.source.is_cgroup(number, path));
        self.loads.sweep(|number, path| self.source.is_cgroup(number, path));
        let exists = |number, path: &[u8]| self.source.is_cgroup(number, path);
        self.starts.sweep(exists, |container| self.ledgers.is_seen(container));
        self.source.sweep();
        self.known_aside.clear();
        self.shares.sweep();
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
        service.follow_loads().unwrap();
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
