//! The processes that read lately, each by an open `/proc/PID/cgroup`.
//!
//! A program that polls is recognised by one `pread`. That is no look-up by a pid that may have been given
//! to another process meanwhile: the open file belongs to one process and answers ESRCH once that is dead,
//! so as long as it answers, the pid is still that process's.

use super::procfs::{Procfs, process_error, read_whole};
use crate::error::Error;
use crate::sys;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

/// How many are remembered. When there are more, all are forgotten together: their descriptors then go in
/// one system call instead of one for every command that a shell script starts.
const CAPACITY: usize = 128;

/// The open files, by process id.
#[derive(Default)]
pub(super) struct Readers {
    recent: Mutex<HashMap<u32, Arc<Reader>>>,
}

struct Reader {
    membership: OwnedFd,
    /// Known once it was asked for. A process never changes its own pid namespace (`pid_namespaces`(7)).
    pid_namespace: OnceLock<u64>,
}

/// Which namespaces a process was in while its `/proc/PID/cgroup` was read.
pub(super) struct Namespaces {
    /// Number of its cgroup namespace.
    pub(super) cgroup: u64,
    /// Number of its pid namespace, if it was asked for.
    pub(super) pid: Option<u64>,
}

impl Readers {
    /// Reads the process's `/proc/PID/cgroup` into `text` and says which namespaces it is in; the pid
    /// namespace only if `asks_pid` of the number of its cgroup namespace.
    pub(super) fn read(
        &self,
        procfs: &Procfs,
        pid: u32,
        text: &mut Vec<u8>,
        asks_pid: impl Fn(u64) -> bool,
    ) -> Result<Namespaces, Error> {
        let known = self.recent.lock().get(&pid).map(Arc::clone);
        if let Some(reader) = known {
            match reader.read(procfs, pid, text, &asks_pid) {
                Err(Error::ProcessGone(_)) => drop(self.recent.lock().remove(&pid)),
                answer => return answer,
            }
        }
        let membership = procfs.open_of(pid, "cgroup")?;
        let reader = Arc::new(Reader { membership, pid_namespace: OnceLock::new() });
        let namespaces = reader.read(procfs, pid, text, &asks_pid)?;
        self.remember(pid, reader);
        Ok(namespaces)
    }

    fn remember(&self, pid: u32, reader: Arc<Reader>) {
        let mut recent = self.recent.lock();
        if recent.len() >= CAPACITY && !recent.contains_key(&pid) {
            drop(recent);
            self.clear();
            recent = self.recent.lock();
        }
        recent.insert(pid, reader);
    }

    /// Forgets everybody. One that another thread is reading through right now closes itself after that.
    pub(super) fn clear(&self) {
        let all: Vec<_> = self.recent.lock().drain().map(|(_, reader)| reader).collect();
        sys::close_all(all.into_iter().filter_map(Arc::into_inner).map(|reader| reader.membership));
    }
}

impl Reader {
    /// The order matters: `read` succeeds only if the process that was opened is still alive, so what was
    /// learnt by its number before was about the same process.
    fn read(
        &self,
        procfs: &Procfs,
        pid: u32,
        text: &mut Vec<u8>,
        asks_pid: impl Fn(u64) -> bool,
    ) -> Result<Namespaces, Error> {
        let cgroup = procfs.namespace_id(pid, "ns/cgroup")?;
        let pid_namespace = match self.pid_namespace.get() {
            None if asks_pid(cgroup) => Some(procfs.namespace_id(pid, "ns/pid")?),
            known => known.copied(),
        };
        read_whole(&self.membership, text).map_err(|e| process_error(pid, "cgroup", e))?;
        if let Some(number) = pid_namespace {
            self.pid_namespace.get_or_init(|| number);
        }
        Ok(Namespaces { cgroup, pid: pid_namespace })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    #[test]
    fn a_dead_reader_is_not_mistaken_for_a_living_one() {
        let procfs = Procfs::open(Path::new("/")).unwrap();
        let readers = Readers::default();
        let mut text = Vec::new();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        readers.read(&procfs, child.id(), &mut text, |_| true).unwrap();
        readers.read(&procfs, child.id(), &mut text, |_| true).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(readers.read(&procfs, child.id(), &mut text, |_| true), Err(Error::ProcessGone(_))));
        assert!(readers.recent.lock().is_empty());
    }

    #[test]
    fn descriptors_are_bounded() {
        let procfs = Procfs::open(Path::new("/")).unwrap();
        let readers = Readers::default();
        let reader = |pid| {
            Arc::new(Reader {
                membership: procfs.open_of(std::process::id(), "cgroup").unwrap(),
                pid_namespace: OnceLock::from(pid),
            })
        };
        for pid in 0..1000 {
            readers.remember(pid, reader(u64::from(pid)));
            assert!(readers.recent.lock().len() <= CAPACITY);
        }
    }
}
