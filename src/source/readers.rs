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

/// How many are remembered at most.
const CAPACITY: usize = 1024;

/// The open files, by process id, in two generations: when the younger is full the elder is closed, with as few system
/// calls as its numbers allow instead of one for every command that a shell script starts, and who reads again stays.
pub(super) struct Readers {
    capacity: usize,
    recent: Mutex<Recent>,
}

#[derive(Default)]
struct Recent {
    younger: HashMap<u32, Arc<Reader>>,
    elder: HashMap<u32, Arc<Reader>>,
}

impl Default for Readers {
    fn default() -> Self {
        Self { capacity: CAPACITY, recent: Mutex::default() }
    }
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
        let known = {
            let recent = self.recent.lock();
            let younger = recent.younger.get(&pid).map(|reader| (Arc::clone(reader), true));
            younger.or_else(|| recent.elder.get(&pid).map(|reader| (Arc::clone(reader), false)))
        };
        if let Some((reader, is_younger)) = known {
            match reader.read(procfs, pid, text, &asks_pid) {
                Err(Error::ProcessGone(_)) => self.forget(pid),
                answer => {
                    if !is_younger {
                        self.remember(pid, reader);
                    }
                    return answer;
                }
            }
        }
        let membership = procfs.open_of(pid, "cgroup")?;
        let reader = Arc::new(Reader { membership, pid_namespace: OnceLock::new() });
        let namespaces = reader.read(procfs, pid, text, &asks_pid)?;
        self.remember(pid, reader);
        Ok(namespaces)
    }

    /// Keeps no more than about so many files open.
    pub(super) fn bound(&mut self, most_files: usize) {
        self.capacity = most_files.clamp(2, CAPACITY);
    }

    fn remember(&self, pid: u32, reader: Arc<Reader>) {
        let mut recent = self.recent.lock();
        recent.elder.remove(&pid);
        recent.younger.insert(pid, reader);
        if recent.younger.len() >= self.capacity / 2 {
            let younger = std::mem::take(&mut recent.younger);
            let elder = std::mem::replace(&mut recent.elder, younger);
            drop(recent);
            close(elder);
        }
    }

    fn forget(&self, pid: u32) {
        let mut recent = self.recent.lock();
        let forgotten = (recent.younger.remove(&pid), recent.elder.remove(&pid));
        drop(recent);
        drop(forgotten);
    }

    /// Forgets everybody.
    pub(super) fn clear(&self) {
        let Recent { younger, elder } = std::mem::take(&mut *self.recent.lock());
        close(younger);
        close(elder);
    }
}

/// One that another thread is reading through right now closes itself after that.
fn close(readers: HashMap<u32, Arc<Reader>>) {
    let readers = readers.into_values().filter_map(Arc::into_inner);
    sys::close_all(readers.map(|reader| reader.membership));
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
        assert!(readers.recent.lock().younger.is_empty());
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
        for pid in 0..3 * u32::try_from(CAPACITY).unwrap() {
            readers.remember(pid, reader(u64::from(pid)));
            let recent = readers.recent.lock();
            assert!(recent.younger.len() + recent.elder.len() <= CAPACITY);
        }
    }

    #[test]
    fn as_many_pollers_as_there_is_room_for_stay() {
        let procfs = Procfs::open(Path::new("/")).unwrap();
        let readers = Readers::default();
        let me = std::process::id();
        let membership = || procfs.open_of(me, "cgroup").unwrap();
        let reader = || Arc::new(Reader { membership: membership(), pid_namespace: OnceLock::new() });
        readers.remember(me, reader());
        let capacity = u32::try_from(CAPACITY).unwrap();
        for other in 0..capacity / 2 - 2 {
            readers.remember(10_000_000 + other, reader());
        }
        let kept = Arc::clone(&readers.recent.lock().younger[&me]);
        for other in 0..10 * capacity {
            readers.remember(20_000_000 + other, reader());
            if other.is_multiple_of(capacity / 4) {
                readers.read(&procfs, me, &mut Vec::new(), |_| false).unwrap();
            }
        }
        let recent = readers.recent.lock();
        let now = recent.younger.get(&me).or_else(|| recent.elder.get(&me)).unwrap();
        assert!(Arc::ptr_eq(now, &kept), "it was opened once");
    }
}
