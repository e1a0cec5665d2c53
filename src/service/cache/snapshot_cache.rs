//! The cache of cgroups that were read lately: their open files, snapshots and rendered views.

use super::cached_cgroup::CachedCgroup;
use crate::error::Error;
use crate::kernel::CgroupAncestry;
use crate::service::scheduling::owner::Owner;
use crate::service::scheduling::serving_account::ServingAccount;
use crate::shares::{eviction_order, excess};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How many readings there are between two evictions of stale entries: a tenant may have any number of
/// cgroups, each with an entry.
const EVICTION_INTERVAL: usize = 64;

/// A cache bounded by the number of files it keeps open. What goes first is a cgroup of the branch of the
/// hierarchy that holds most, so that one tenant can't evict the cgroups of others.
pub(in crate::service) struct SnapshotCache {
    max_files: usize,
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
    /// A cache that keeps about `max_files` files open at most.
    pub(in crate::service) fn new(max_files: usize) -> Self {
        Self { max_files, clock: AtomicU64::new(0), readings: AtomicUsize::new(0), cache: Mutex::default() }
    }

    /// The entry for readers in `cgroup`, which is opened with `open` if it is not cached, and charged to
    /// `account`.
    ///
    /// # Errors
    /// What `open` returns, if the cgroup is not cached.
    pub(in crate::service) fn get_or_open(
        &self,
        cgroup: &[u8],
        open: impl FnOnce() -> Result<CgroupAncestry, Error>,
        account: impl FnOnce() -> Arc<ServingAccount>,
    ) -> Result<Arc<CachedCgroup>, Error> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        if let Some(known) = self.cache.lock().by_cgroup.get(cgroup) {
            known.last_used.store(now, Ordering::Relaxed);
            return Ok(Arc::clone(known));
        }
        let opened = Arc::new(CachedCgroup::new(cgroup.into(), open()?, account(), now));
        let mut cache = self.cache.lock();
        let evicted = match cache.open_files > self.max_files {
            true => cache.evict(self.max_files - self.max_files / 16, now),
            false => Vec::new(),
        };
        cache.insert(Arc::clone(&opened));
        drop(cache);
        // Closing takes a while, and nobody should wait for it.
        drop(evicted);
        Ok(opened)
    }

    /// Counts a reading, and evicts stale entries now and then.
    pub(in crate::service) fn evict_stale(&self) {
        if self.readings.fetch_add(1, Ordering::Relaxed) % EVICTION_INTERVAL != 0 {
            return;
        }
        let all: Vec<_> = self.cache.lock().by_cgroup.values().map(Arc::clone).collect();
        all.iter().for_each(|cached| cached.evict_stale_entries());
    }

    /// How many cgroups there are.
    pub(in crate::service) fn len(&self) -> usize {
        self.cache.lock().by_cgroup.len()
    }

    /// Evicts `cgroup`, so that its next reader opens it anew.
    pub(in crate::service) fn forget(&self, cgroup: &[u8]) {
        let removed = self.cache.lock().remove(cgroup);
        drop(removed);
    }

    /// Evicts all cgroups.
    pub(in crate::service) fn clear(&self) {
        let all = std::mem::take(&mut *self.cache.lock());
        drop(all);
    }

    /// Closes half of the open files, those of the heaviest branches of the hierarchy.
    pub(in crate::service) fn close_half(&self) {
        let mut cache = self.cache.lock();
        let half = cache.open_files / 2;
        let removed = cache.evict(half, self.clock.load(Ordering::Relaxed));
        drop(cache);
        drop(removed);
    }

    /// Evicts cgroups for which `exists` is false, and all stale entries.
    pub(in crate::service) fn sweep(&self, exists: impl Fn(&CgroupAncestry) -> bool) {
        let all: Vec<_> = self.cache.lock().by_cgroup.values().map(Arc::clone).collect();
        all.iter().for_each(|cached| cached.evict_stale_entries());
        let gone: Vec<_> = all.into_iter().filter(|cached| !exists(cached.ancestry())).collect();
        let mut cache = self.cache.lock();
        let pointers: HashSet<_> = gone.iter().map(Arc::as_ptr).collect();
        let is_gone = |cached: &Arc<CachedCgroup>| pointers.contains(&Arc::as_ptr(cached));
        let names: Vec<_> = cache
            .by_cgroup
            .iter()
            .filter(|(_, cached)| is_gone(cached))
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
    fn insert(&mut self, cached: Arc<CachedCgroup>) {
        self.remove(cached.path());
        self.open_files += cached.ancestry().open_files();
        self.by_cgroup.insert(Arc::clone(cached.path()), cached);
    }

    fn remove(&mut self, cgroup: &[u8]) -> Option<Arc<CachedCgroup>> {
        let removed = self.by_cgroup.remove(cgroup)?;
        self.open_files = self.open_files.saturating_sub(removed.ancestry().open_files());
        Some(removed)
    }

    /// Evicts cgroups until no more than `max_files` files are open, in their [`eviction_order`].
    fn evict(&mut self, max_files: usize, now: u64) -> Vec<Option<Arc<CachedCgroup>>> {
        let long_ago = now.saturating_sub(4 * self.by_cgroup.len() as u64);
        let order = |cached: &Arc<CachedCgroup>| {
            let last_used = cached.last_used.load(Ordering::Relaxed);
            eviction_order(last_used, last_used >= long_ago)
        };
        let mut all: Vec<_> = self.by_cgroup.values().map(|cached| (order(cached), cached)).collect();
        all.sort_unstable_by_key(|(order, _)| *order);
        let held = all
            .iter()
            .map(|(_, cached)| (Arc::clone(cached.path()), &**cached.path(), cached.ancestry().open_files()));
        let excess = excess(held, max_files);
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
        let files = source.ancestry(b"/docker").unwrap().open_files();
        let cache = SnapshotCache::new(100 * files);
        let ask = |cgroup: &str| {
            let mut is_opened = false;
            let open = || {
                is_opened = true;
                source.ancestry(b"/docker")
            };
            cache.get_or_open(cgroup.as_bytes(), open, Arc::default).unwrap();
            is_opened
        };
        let others: Vec<_> = (0..5).map(|number| format!("/pods/other/{number}")).collect();
        assert!(others.iter().all(|other| ask(other)));
        for number in 0..1000 {
            assert!(ask(&format!("/pods/tenant/{number}/{number}")));
            let inner = cache.cache.lock();
            assert!(inner.open_files <= 101 * files);
            assert_eq!(inner.open_files, inner.by_cgroup.len() * files);
        }
        assert!(others.iter().all(|other| !ask(other)), "they are still open");
        // Of its own it loses what it has not used for the longest time.
        assert!(!ask("/pods/tenant/950/950") && ask("/pods/tenant/0/0"));
        // Nor does one lose more than it has who is alone.
        assert!(cache.cache.lock().by_cgroup.len() > 80);
    }
}
