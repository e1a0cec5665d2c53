//! A bounded map of namespaces that are held open.

use crate::kernel::namespace_id::NamespaceId;
use crate::shares::excess;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// A namespace that is held open.
pub(crate) trait HeldNamespace {
    /// The path of a cgroup whose tenant has made the namespace, most likely.
    fn cgroup(&self) -> &[u8];
}

/// Namespaces by their numbers. Entries that are dropped are closed only after the lock is released, for
/// closing takes a while.
pub(crate) struct NamespaceMap<T> {
    capacity: usize,
    entries: Mutex<HashMap<NamespaceId, Arc<T>>>,
}

impl<T: HeldNamespace> NamespaceMap<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, entries: Mutex::default() }
    }

    /// Changes how many namespaces are held at most.
    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    pub(crate) fn get(&self, id: NamespaceId) -> Option<Arc<T>> {
        self.entries.lock().get(&id).map(Arc::clone)
    }

    /// Adds a namespace. If the map is full an eighth is dropped, any of those in the heaviest branch of the
    /// hierarchy: their numbers say nothing about who asks next.
    pub(crate) fn insert(&self, id: NamespaceId, namespace: &Arc<T>) {
        let mut entries = self.entries.lock();
        let mut removed = Vec::new();
        if entries.len() >= self.capacity {
            removed = remove_excess(&mut entries, self.capacity - self.capacity.div_ceil(8));
        }
        let replaced = entries.insert(id, Arc::clone(namespace));
        drop(entries);
        drop((removed, replaced));
    }

    pub(crate) fn remove(&self, id: NamespaceId) {
        let removed = self.entries.lock().remove(&id);
        drop(removed);
    }

    /// Drops half of the namespaces, those of whoever has most.
    pub(crate) fn remove_half(&self) {
        let mut entries = self.entries.lock();
        let half = entries.len() / 2;
        let removed = remove_excess(&mut entries, half);
        drop(entries);
        drop(removed);
    }

    /// Drops the namespaces for which `keep` is false. It may take its time: the map is not locked meanwhile.
    pub(crate) fn retain(&self, mut keep: impl FnMut(&T) -> bool) {
        let all: Vec<_> =
            self.entries.lock().iter().map(|(id, namespace)| (*id, Arc::clone(namespace))).collect();
        let gone: Vec<_> = all.into_iter().filter(|(_, namespace)| !keep(namespace)).collect();
        let mut entries = self.entries.lock();
        for (id, namespace) in &gone {
            if entries.get(id).is_some_and(|now| Arc::ptr_eq(now, namespace)) {
                entries.remove(id);
            }
        }
    }
}

fn remove_excess<T: HeldNamespace>(
    entries: &mut HashMap<NamespaceId, Arc<T>>,
    capacity: usize,
) -> Vec<Arc<T>> {
    let owned = entries.iter().map(|(id, namespace)| (*id, namespace.cgroup(), 1));
    let excess = excess(owned, capacity);
    excess.iter().filter_map(|id| entries.remove(id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Owned(String);

    impl HeldNamespace for Owned {
        fn cgroup(&self) -> &[u8] {
            self.0.as_bytes()
        }
    }

    #[test]
    fn whoever_makes_many_leaves_room_for_others() {
        const CAPACITY: usize = 64;
        let map = NamespaceMap::new(CAPACITY);
        for id in 0..10 {
            map.insert(NamespaceId::new(id), &Arc::new(Owned(format!("/pods/other/{id}"))));
        }
        for id in 1000..1500 {
            map.insert(NamespaceId::new(id), &Arc::new(Owned(format!("/pods/tenant/{id}"))));
            assert!(map.entries.lock().len() <= CAPACITY && map.get(NamespaceId::new(id)).is_some());
        }
        assert!((0..10).all(|id| map.get(NamespaceId::new(id)).is_some()));
    }
}
