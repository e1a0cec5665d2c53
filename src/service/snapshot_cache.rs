//! What was answered lately, by the readers' cgroup: its open files, its last snapshot, the texts made from
//! it.

use super::cached_cgroup::CachedCgroup;
use super::owner::Owner;
use crate::error::Error;
use crate::kernel::CgroupAncestry;
use crate::shares::excess;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How often, in readings, those that are too old to be served again are looked for. A tenant can make many cgroups, each
/// with a reading of its own.
const EVICTION_INTERVAL: usize = 64;

/// A cache that is bounded by the files it keeps open. Of what is in the heaviest branch of the hierarchy what was not used for
/// the longest time goes first.
pub(super) struct SnapshotCache {
    most_files: usize,
    clock: AtomicU64,
    readings: AtomicUsize,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    by_cgroup: HashMap<Owner, Arc<CachedCgroup>>,
    open_files: usize,
}

impl SnapshotCache {
    /// A cache that keeps about `most_files` files open at most.
    pub(super) fn new(most_files: usize) -> Self {
        Self { most_files, clock: AtomicU64::new(0), readings: AtomicUsize::new(0), cache: Mutex::default() }
    }

    /// The answers for the readers in `cgroup`, which is opened if it is not yet.
    pub(super) fn of_cgroup(
        &self,
        cgroup: &[u8],
        open: impl FnOnce() -> Result<CgroupAncestry, Error>,
    ) -> Result<Arc<CachedCgroup>, Error> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        if let Some(known) = self.cache.lock().by_cgroup.get(cgroup) {
            known.last_used.store(now, Ordering::Relaxed);
            return Ok(Arc::clone(known));
        }
        let opened = Arc::new(CachedCgroup::new(cgroup.into(), open()?, now));
        let mut cache = self.cache.lock();
        let evicted = match cache.open_files > self.most_files {
            true => cache.evict_lru(self.most_files - self.most_files / 8),
            false => Vec::new(),
        };
        cache.insert(Arc::clone(&opened));
        drop(cache);
        // Closing takes a while, and nobody should wait for it.
        drop(evicted);
        Ok(opened)
    }

    /// To be called for each reading.
    pub(super) fn evict_stale(&self) {
        if !self.readings.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVICTION_INTERVAL) {
            return;
        }
        let all: Vec<_> = self.cache.lock().by_cgroup.values().map(Arc::clone).collect();
        all.iter().for_each(|answers| answers.evict_stale_entries());
    }

    /// Has `cgroup` opened anew by its next reader.
    pub(super) fn forget(&self, cgroup: &[u8]) {
        let removed = self.cache.lock().remove(cgroup);
        drop(removed);
    }

    /// Closes half of what is open, of whoever has most.
    pub(super) fn close_half(&self) {
        let mut cache = self.cache.lock();
        let half = cache.open_files / 2;
        let removed = cache.evict_lru(half);
        drop(cache);
        drop(removed);
    }

    /// Forgets the cgroups that `exists` denies, and the numbers that are too old to be served again.
    pub(super) fn sweep(&self, exists: impl Fn(&CgroupAncestry) -> bool) {
        let all: Vec<_> = self.cache.lock().by_cgroup.values().map(Arc::clone).collect();
        all.iter().for_each(|answers| answers.evict_stale_entries());
        let gone: Vec<_> = all.into_iter().filter(|answers| !exists(answers.path())).collect();
        let mut cache = self.cache.lock();
        let is_gone = |answers: &Arc<CachedCgroup>| gone.iter().any(|gone| Arc::ptr_eq(gone, answers));
        let names: Vec<_> = cache
            .by_cgroup
            .iter()
            .filter(|(_, answers)| is_gone(answers))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        let removed: Vec<_> = names.iter().map(|name| cache.remove(name)).collect();
        let in_use = cache.by_cgroup.len();
        cache.by_cgroup.shrink_to(in_use * 2);
        drop(cache);
        drop(removed);
    }
}

impl Cache {
    fn insert(&mut self, answers: Arc<CachedCgroup>) {
        self.remove(answers.cgroup());
        self.open_files += answers.path().open_files();
        self.by_cgroup.insert(Arc::clone(answers.cgroup()), answers);
    }

    fn remove(&mut self, cgroup: &[u8]) -> Option<Arc<CachedCgroup>> {
        let removed = self.by_cgroup.remove(cgroup)?;
        self.open_files = self.open_files.saturating_sub(removed.path().open_files());
        Some(removed)
    }

    /// Removes what has more than so many files open.
    fn evict_lru(&mut self, most_files: usize) -> Vec<Option<Arc<CachedCgroup>>> {
        let last_used = |answers: &Arc<CachedCgroup>| answers.last_used.load(Ordering::Relaxed);
        let mut all: Vec<_> = self.by_cgroup.values().map(|answers| (last_used(answers), answers)).collect();
        all.sort_unstable_by_key(|(last_used, _)| *last_used);
        let held = all.iter().map(|(_, answers)| {
            (Arc::clone(answers.cgroup()), &**answers.cgroup(), answers.path().open_files())
        });
        let excess = excess(held, most_files);
        excess.iter().map(|cgroup| self.remove(cgroup)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Source;
    use std::path::Path;

    #[test]
    fn whoever_opens_many_leaves_room_for_others() {
        let root = Path::new("tests/fixtures/v1-docker/root");
        let source = Source::open(root, None).unwrap();
        let files = source.path(b"/docker").unwrap().open_files();
        let answers = SnapshotCache::new(100 * files);
        let ask = |cgroup: &str| {
            let mut is_opened = false;
            let open = || {
                is_opened = true;
                source.path(b"/docker")
            };
            answers.of_cgroup(cgroup.as_bytes(), open).unwrap();
            is_opened
        };
        let others: Vec<_> = (0..5).map(|number| format!("/pods/other/{number}")).collect();
        assert!(others.iter().all(|other| ask(other)));
        for number in 0..1000 {
            assert!(ask(&format!("/pods/tenant/{number}/{number}")));
            let cache = answers.cache.lock();
            assert!(cache.open_files <= 101 * files);
            assert_eq!(cache.open_files, cache.by_cgroup.len() * files);
        }
        assert!(others.iter().all(|other| !ask(other)), "they are still open");
        // Of its own it loses what it has not used for the longest time.
        assert!(!ask("/pods/tenant/950/950") && ask("/pods/tenant/0/0"));
        // Nor does one lose more than it has who is alone.
        assert!(answers.cache.lock().by_cgroup.len() > 80);
    }
}
