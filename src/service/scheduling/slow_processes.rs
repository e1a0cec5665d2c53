//! The processes whose containers are in the slow lane.

use super::owner::Owner;
use crate::shares::excess;
use cgprocfs_core::parse::pid::Pid;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Process ids by which requests go to the slow lane without the caller being identified first. A reader
/// whose id was reused is identified there: a mistake costs it a little time and nothing else.
#[derive(Default)]
pub(in crate::service) struct SlowProcesses {
    owners: Mutex<HashMap<Pid, (Owner, Instant)>>,
    count: AtomicUsize,
}

/// How long an entry is used: too short for anybody to have all process ids used again.
const ENTRY_LIFETIME: Duration = Duration::from_millis(500);
/// The most processes that are remembered.
const MAX_PROCESSES: usize = 8192;

impl SlowProcesses {
    /// For whom a request of `pid` waits in the slow lane, if it does.
    pub(in crate::service) fn owner(&self, pid: Pid) -> Option<Owner> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let (owner, since) = self.owners.lock().get(&pid).cloned()?;
        (since.elapsed() < ENTRY_LIFETIME).then_some(owner)
    }

    /// Sends the next requests of `pid` to the slow lane.
    pub(in crate::service) fn add(&self, pid: Pid, owner: Owner) {
        let mut owners = self.owners.lock();
        if owners.len() >= MAX_PROCESSES {
            let held = owners.iter().map(|(&pid, (owner, _))| (pid, &**owner, 1));
            excess(held, MAX_PROCESSES - MAX_PROCESSES / 8).iter().for_each(|pid| drop(owners.remove(pid)));
        }
        owners.insert(pid, (owner, Instant::now()));
        self.count.store(owners.len(), Ordering::Relaxed);
    }

    /// Has the next request of `pid` served as others are.
    pub(in crate::service) fn remove(&self, pid: Pid) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut owners = self.owners.lock();
        owners.remove(&pid);
        if owners.is_empty() {
            owners.shrink_to_fit();
        }
        self.count.store(owners.len(), Ordering::Relaxed);
    }

    /// Forgets all processes, most of which have ended by now.
    pub(in crate::service) fn clear(&self) {
        *self.owners.lock() = HashMap::new();
        self.count.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_many_processes_evicts_nobody_else_s() {
        let known = SlowProcesses::default();
        known.add(Pid::new(1), b"/pods/other"[..].into());
        (2..).take(2 * MAX_PROCESSES).for_each(|pid| known.add(Pid::new(pid), b"/pods/tenant"[..].into()));
        assert!(known.owner(Pid::new(1)).is_some() && known.owners.lock().len() <= MAX_PROCESSES);
        known.remove(Pid::new(1));
        assert!(known.owner(Pid::new(1)).is_none());
    }
}
