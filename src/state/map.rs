//! A table with the writer's own notes of what is where.

use super::table::{Record, Table};
use std::collections::HashMap;

/// A table that this process alone writes to, and finds its way in without looking through it.
pub struct Map<R> {
    table: Table<R>,
    slots: HashMap<u64, usize>,
    free: Vec<usize>,
}

impl<R: Record> Map<R> {
    /// Goes on with a table, and tells what a predecessor has left there. Operation it left half written is dropped.
    #[must_use]
    pub fn resume(table: Table<R>) -> (Self, Vec<(u64, R)>) {
        let mut map = Self { table, slots: HashMap::new(), free: Vec::new() };
        let mut left = Vec::new();
        // The first slots are given out first, so that few pages are touched.
        for slot in (0..table.len()).rev() {
            if table.key(slot) != 0
                && let Some((key, record)) = table.get(slot)
                && !map.slots.contains_key(&key)
            {
                map.slots.insert(key, slot);
                left.push((key, record));
            } else {
                if table.key(slot) != 0 {
                    table.remove(slot);
                }
                map.free.push(slot);
            }
        }
        (map, left)
    }

    /// Whether there is room for one more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether there is a record of that number.
    #[must_use]
    pub fn contains(&self, key: u64) -> bool {
        self.slots.contains_key(&key)
    }

    /// Keeps a record, under a number other than 0. Whether there was room for it.
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

    /// Forgets a record.
    pub fn remove(&mut self, key: u64) {
        if let Some(slot) = self.slots.remove(&key) {
            self.table.remove(slot);
            self.free.push(slot);
        }
    }
}

impl<R: Record> Default for Map<R> {
    /// One that has room for none.
    fn default() -> Self {
        Self { table: Table::new(&[]), slots: HashMap::new(), free: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::table::Twins;

    #[test]
    fn a_successor_has_what_was_there() {
        let table = Twins::table(2);
        let (mut map, left) = Map::resume(table);
        assert_eq!(left, []);
        assert!(map.put(7, &Twins(1, 1)) && map.put(8, &Twins(2, 2)) && map.put(7, &Twins(3, 3)));
        assert!(!map.put(9, &Twins(4, 4)) && !map.has_room() && !map.contains(9));
        map.remove(8);
        let (mut map, left) = Map::resume(table);
        assert_eq!(left, [(7, Twins(3, 3))]);
        assert!(map.contains(7) && map.has_room() && map.put(9, &Twins(4, 4)));
        assert_eq!(table.iter().count(), 2);
        assert!(!Map::<Twins>::default().put(1, &Twins(1, 1)));
    }
}
