//! Who is served aside, as far as that is known from its process alone.

use super::owner::Owner;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The processes whose container is served aside, so that their next requests are put there without a look at who they are:
/// to be taken for one of another container costs a reader a little time and nothing else.
#[derive(Default)]
pub(super) struct KnownAside {
    owners: Mutex<HashMap<u32, (Owner, Instant)>>,
    count: AtomicUsize,
}

/// For so long: nobody can have ids be used again so soon.
const KNOWN_FOR: Duration = Duration::from_millis(500);
/// So many are remembered.
const MOST_KNOWN: usize = 8192;

impl KnownAside {
    pub(super) fn owner(&self, pid: u32) -> Option<Owner> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let (owner, since) = self.owners.lock().get(&pid).cloned()?;
        (since.elapsed() < KNOWN_FOR).then_some(owner)
    }

    pub(super) fn add(&self, pid: u32, owner: Owner) {
        let mut owners = self.owners.lock();
        if owners.len() >= MOST_KNOWN {
            owners.clear();
        }
        owners.insert(pid, (owner, Instant::now()));
        self.count.store(owners.len(), Ordering::Relaxed);
    }

    pub(super) fn remove(&self, pid: u32) {
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

    /// Forgets all of them: most are gone.
    pub(super) fn clear(&self) {
        *self.owners.lock() = HashMap::new();
        self.count.store(0, Ordering::Relaxed);
    }
}
