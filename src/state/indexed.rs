//! A table with its writer's own index of which record is in which slot.

use super::record::Record;
use super::table::Table;
use std::collections::HashMap;

/// A table that only this process writes to, which finds a record by its key without searching the table.
pub struct IndexedTable<R> {
    table: Table<R>,
    slots: HashMap<u64, usize>,
    free: Vec<usize>,
}

impl<R: Record> IndexedTable<R> {
    /// Takes a table over, and returns the records that a predecessor left in it. Half-written ones are
    /// dropped.
    #[must_use]
    pub fn resume(table: Table<R>) -> (Self, Vec<(u64, R)>) {
        let mut indexed = Self { table, slots: HashMap::new(), free: Vec::new() };
        let mut left = Vec::new();
        // In reverse, so that the first slots are given out first and few pages are touched.
        for slot in (0..table.len()).rev() {
            if table.key(slot) == 0 {
                indexed.free.push(slot);
                continue;
            }
            match table.get(slot) {
                Some((key, record)) if !indexed.slots.contains_key(&key) => {
                    indexed.slots.insert(key, slot);
                    left.push((key, record));
                }
                _ => {
                    table.remove(slot);
                    indexed.free.push(slot);
                }
            }
        }
        (indexed, left)
    }

    /// Whether a slot is free.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether there is a record under this key.
    #[must_use]
    pub fn contains(&self, key: u64) -> bool {
        self.slots.contains_key(&key)
    }

    /// Stores a record under a key other than 0. Returns whether there was room for it.
    pub fn put(&mut self, key: u64, record: &R) -> bool {
        let slot = match self.slots.get(&key) {
            Some(&slot) => slot,
            None => {
                let Some(slot) = self.free.pop() else { return false };
                self.slots.insert(key, slot);
                slot
            }
        };
        self.table.put(slot, key, record);
        true
    }

    /// Removes a record.
    pub fn remove(&mut self, key: u64) {
        if let Some(slot) = self.slots.remove(&key) {
            self.table.remove(slot);
            self.free.push(slot);
        }
    }
}

impl<R: Record> Default for IndexedTable<R> {
    /// A table without slots.
    fn default() -> Self {
        Self { table: Table::new(&[]), slots: HashMap::new(), free: Vec::new() }
    }
}

// Loom's atomics exist only inside a model: `loom/indexed_tests.rs`.
#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::table::Twins;

    #[test]
    fn a_successor_has_what_was_there() {
        let table = Twins::table(2);
        let (mut indexed, left) = IndexedTable::resume(table);
        assert_eq!(left, []);
        assert!(indexed.put(7, &Twins(1, 1)) && indexed.put(8, &Twins(2, 2)) && indexed.put(7, &Twins(3, 3)));
        assert!(!indexed.put(9, &Twins(4, 4)) && !indexed.has_room() && !indexed.contains(9));
        indexed.remove(8);
        let (mut indexed, left) = IndexedTable::resume(table);
        assert_eq!(left, [(7, Twins(3, 3))]);
        assert!(indexed.contains(7) && indexed.has_room() && indexed.put(9, &Twins(4, 4)));
        assert_eq!(table.iter().count(), 2);
        assert!(!IndexedTable::<Twins>::default().put(1, &Twins(1, 1)));
    }
}
