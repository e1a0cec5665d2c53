//! A table of a fixed size in shared memory: records of one kind, each under a key.
//!
//! The keys come first, one behind the other, so that a successor finds the records without touching any page
//! that holds none: a page that was never touched costs no memory.

use super::record::Record;
use super::seqlock::{HEADER_WORDS, Seqlock};
use super::word::{Ordering, Word};
use std::marker::PhantomData;

/// Records of one kind, in slots. Everybody who has mapped the memory may read it; each slot has one writer
/// at a time.
pub struct Table<R> {
    keys: &'static [Word],
    slots: &'static [Word],
    record: PhantomData<fn() -> R>,
}

impl<R> Clone for Table<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Table<R> {}

impl<R: Record> Table<R> {
    /// Words of a slot. The key is stored with the record, too, so that a reader can tell whose record it has
    /// read.
    const SLOT_WORDS: usize = HEADER_WORDS + 1 + R::MAX_WORDS;

    /// How many words a table of `slots` slots takes.
    pub const fn words(slots: usize) -> usize {
        slots * (1 + Self::SLOT_WORDS)
    }

    /// Identifies the format of a table of `slots` slots: two tables of the same format have the same words
    /// in the same places.
    pub const fn format(slots: usize) -> u64 {
        R::VERSION << 48 | (R::MAX_WORDS as u64) << 24 | slots as u64
    }

    /// The table in these words, with as many slots as fit; it is empty where all words are 0.
    #[must_use]
    pub fn new(words: &'static [Word]) -> Self {
        let (keys, slots) = words.split_at(words.len() / (1 + Self::SLOT_WORDS));
        Self { keys, slots, record: PhantomData }
    }

    /// How many slots there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are no slots.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key of the record in a slot; 0 if the slot is free.
    #[must_use]
    pub fn key(&self, slot: usize) -> u64 {
        self.keys[slot].load(Ordering::Acquire)
    }

    /// The record in a slot and its key; `None` if the slot is free, or its record is not there as a whole.
    #[must_use]
    pub fn get(&self, slot: usize) -> Option<(u64, R)> {
        let key = self.key(slot);
        if key == 0 {
            return None;
        }
        let words = self.lock(slot).read()?;
        let (&written, record) = words.split_first()?;
        // The slot may have been given to another record since its key was read.
        (written == key).then(|| R::restore(record)).flatten().map(|record| (key, record))
    }

    /// All records, with their slots and keys.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u64, R)> {
        (0..self.len()).filter_map(|slot| self.get(slot).map(|(key, record)| (slot, key, record)))
    }

    /// Stores a record under a key other than 0. The record that was there before is gone before this one
    /// appears. A slot may have only one writer at a time.
    pub fn put(&self, slot: usize, key: u64, record: &R) {
        if self.keys[slot].load(Ordering::Relaxed) != key {
            self.remove(slot);
        }
        self.lock(slot).write(std::iter::once(key).chain(record.save()));
        self.keys[slot].store(key, Ordering::Release);
    }

    /// Replaces one word of a record in place: readers see the old word or the new one, and either must make
    /// sense beside the others. A slot may have only one writer at a time.
    pub fn replace(&self, slot: usize, word: usize, value: u64) {
        // Behind the key.
        self.lock(slot).replace(1 + word, value);
    }

    /// Removes all records.
    pub fn clear(&self) {
        (0..self.len()).filter(|slot| self.key(*slot) != 0).for_each(|slot| self.remove(slot));
    }

    /// Removes the record in a slot.
    pub fn remove(&self, slot: usize) {
        self.keys[slot].store(0, Ordering::Release);
    }

    fn lock(&self, slot: usize) -> Seqlock<'static> {
        Seqlock::new(&self.slots[slot * Self::SLOT_WORDS..][..Self::SLOT_WORDS])
    }

    /// Writes to a slot like a process that dies after these words.
    #[cfg(test)]
    pub(crate) fn die_writing(&self, slot: usize, words: &[u64]) {
        self.lock(slot).die_writing(words);
    }
}

/// Two numbers that have to be equal, for tests.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Twins(pub(crate) u64, pub(crate) u64);

#[cfg(test)]
impl Record for Twins {
    const VERSION: u64 = 1;
    const MAX_WORDS: usize = 2;

    fn save(&self) -> impl Iterator<Item = u64> {
        [self.0, self.1].into_iter()
    }

    fn restore(words: &[u64]) -> Option<Self> {
        let &[one, other] = words else { return None };
        Some(Self(one, other))
    }
}

#[cfg(test)]
impl Twins {
    pub(crate) fn table(slots: usize) -> Table<Self> {
        Table::new(Vec::leak((0..Table::<Self>::words(slots)).map(|_| Word::new(0)).collect()))
    }
}

// Loom's atomics exist only inside a model: `loom/table_tests.rs`.
#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_under_their_keys() {
        let table = Twins::table(3);
        assert_eq!((table.len(), table.iter().count()), (3, 0));
        table.put(2, 70, &Twins(1, 1));
        table.put(0, 71, &Twins(2, 2));
        assert_eq!(table.get(2), Some((70, Twins(1, 1))));
        assert_eq!(table.iter().collect::<Vec<_>>(), [(0, 71, Twins(2, 2)), (2, 70, Twins(1, 1))]);
        table.put(2, 72, &Twins(3, 3));
        table.remove(0);
        assert_eq!(table.iter().collect::<Vec<_>>(), [(2, 72, Twins(3, 3))]);
        table.replace(2, 1, 4);
        assert_eq!(table.get(2), Some((72, Twins(3, 4))));
        assert!(Table::<Twins>::new(&[]).is_empty());
    }

    #[test]
    fn half_a_record_is_absent() {
        let table = Twins::table(2);
        table.put(0, 70, &Twins(1, 1));
        table.die_writing(0, &[70, 2]);
        assert_eq!(table.get(0), None);
        // Written as a whole, but under a key that is not the slot's.
        table.put(1, 71, &Twins(1, 1));
        table.lock(1).write([72, 2, 2]);
        assert_eq!(table.get(1), None);
        table.lock(1).write([71]);
        assert_eq!(table.get(1), None, "too short for a record");
    }
}
