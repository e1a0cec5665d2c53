//! Records in memory that outlives this process, which containers share.

use crate::shares::{Full, Policy, Shares};
use crate::state::{IndexedTable, Record, Table};
use std::collections::BTreeSet;

/// Records that are kept for a successor, each under a number and for a container.
pub(in crate::service) struct RetainedRecords<R> {
    map: IndexedTable<R>,
    shares: Shares<u64>,
    /// What a predecessor left and nobody has asked for since: the first to give.
    unclaimed: BTreeSet<u64>,
}

impl<R: Record> RetainedRecords<R> {
    /// Retains at most a number of records, whether or not there is memory for them.
    pub(in crate::service) fn new(most: usize, policy: Policy) -> Self {
        Self { map: IndexedTable::default(), shares: Shares::new(most, policy), unclaimed: BTreeSet::new() }
    }

    /// Keeps them in a table from now on, and tells what a predecessor has left there.
    pub(in crate::service) fn resume(&mut self, table: Table<R>) -> Vec<(u64, R)> {
        let (map, left) = IndexedTable::resume(table);
        self.map = map;
        self.unclaimed = left.iter().map(|(key, _)| *key).collect();
        left
    }

    /// Gives the container at `path` a place for a record, if it has none yet. Returns those that lose
    /// theirs.
    ///
    /// # Errors
    /// [`Full`] where the container has to do without.
    pub(in crate::service) fn claim(&mut self, key: u64, path: &[u8]) -> Result<Vec<u64>, Full> {
        if self.shares.contains(key) {
            self.shares.touch(key);
            return Ok(Vec::new());
        }
        let displaced = self.shares.admit(key, path, 1)?;
        for key in &displaced {
            self.map.remove(*key);
        }
        self.unclaimed.remove(&key);
        if !self.map.has_room() && !self.map.contains(key) {
            if let Some(unclaimed) = self.unclaimed.pop_first() {
                self.map.remove(unclaimed);
            }
        }
        Ok(displaced)
    }

    /// Claims a slot for a record that had none until now, or has lost it, unless another record would have
    /// to give up its own.
    pub(in crate::service) fn claim_if_free(&mut self, key: u64, path: &[u8]) {
        if self.shares.contains(key) || self.shares.has_room(1) {
            let _ = self.claim(key, path);
        }
    }

    /// Writes a record down, if it has a place.
    pub(in crate::service) fn put(&mut self, key: u64, record: &R) {
        if self.shares.contains(key) {
            self.map.put(key, record);
        }
    }

    /// Gives a place back.
    pub(in crate::service) fn release(&mut self, key: u64) {
        self.map.remove(key);
        self.shares.remove(key);
        self.unclaimed.remove(&key);
    }

    /// Gives back what nobody has asked for, and returns it.
    pub(in crate::service) fn release_unclaimed(&mut self) -> BTreeSet<u64> {
        let unclaimed = std::mem::take(&mut self.unclaimed);
        for key in &unclaimed {
            self.map.remove(*key);
        }
        unclaimed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Word;

    struct Number(u64);

    impl Record for Number {
        const VERSION: u64 = 1;
        const MAX_WORDS: usize = 1;

        fn save(&self) -> impl Iterator<Item = u64> {
            std::iter::once(self.0)
        }

        fn restore(words: &[u64]) -> Option<Self> {
            words.first().map(|word| Self(*word))
        }
    }

    fn kept(table: Table<Number>) -> Vec<u64> {
        let mut keys: Vec<_> = table.iter().map(|(_, key, _)| key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_container_gets_a_place_whatever_another_has() {
        const SLOTS: usize = 4;
        let table: Table<Number> =
            Table::new(Vec::leak((0..Table::<Number>::words(SLOTS)).map(|_| Word::new(0)).collect()));
        let mut retained = RetainedRecords::new(SLOTS, Policy::Replace);
        assert!(retained.resume(table).is_empty());
        for key in 1..=6 {
            retained.claim(key, format!("/heavy/{key}").as_bytes()).unwrap();
            retained.put(key, &Number(key));
        }
        assert_eq!(kept(table), [3, 4, 5, 6]);
        assert_eq!(retained.claim(7, b"/other"), Ok(vec![3]));
        retained.put(7, &Number(7));
        retained.put(3, &Number(3));
        assert_eq!(kept(table), [4, 5, 6, 7]);
        retained.claim_if_free(3, b"/heavy/3");
        retained.release(5);
        retained.claim_if_free(8, b"/heavy/8");
        retained.put(8, &Number(8));
        assert_eq!(kept(table), [4, 6, 7, 8]);

        // What a successor does not hear of again gives first.
        let mut retained = RetainedRecords::new(SLOTS, Policy::Replace);
        assert_eq!(retained.resume(table).len(), SLOTS);
        assert_eq!(retained.claim(4, b"/heavy/4"), Ok(vec![]));
        assert_eq!(retained.claim(9, b"/new"), Ok(vec![]));
        retained.put(9, &Number(9));
        assert_eq!(kept(table), [4, 7, 8, 9]);
        assert_eq!(retained.release_unclaimed(), BTreeSet::from([7, 8]));
        assert_eq!(kept(table), [4, 9]);
    }
}
