//! A table of a fixed size: records, each under a number.
//!
//! In front are the numbers, one behind the other, so that who looks for what a predecessor has left touches only pages
//! that have something: a page that was never touched costs nothing.

use super::seqlock::{HEAD, Slot};
use super::word::{Ordering, Word};
use std::marker::PhantomData;

/// Operation a table holds.
pub trait Record: Sized {
    /// To be increased whenever the words of a record come to mean something else.
    const VERSION: u64;
    /// It has no more words than these.
    const WORDS: usize;

    /// Its words.
    fn save(&self) -> impl Iterator<Item = u64>;

    /// Operation was saved in these words; `None` if that was no record.
    fn restore(words: &[u64]) -> Option<Self>;
}

/// Records of one kind. Whoever has the memory may read it; each slot has one writer at a time.
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
    /// The number of a record is written and read with it.
    const SLOT: usize = HEAD + 1 + R::WORDS;

    /// How many words a table of so many slots takes.
    pub const fn words(slots: usize) -> usize {
        slots * (1 + Self::SLOT)
    }

    /// Tells tables apart that do not have the same words in the same places.
    pub const fn shape(slots: usize) -> u64 {
        R::VERSION << 48 | (R::WORDS as u64) << 24 | slots as u64
    }

    /// The table in these words: as many slots as fit, none in an empty memory. Where all words are 0 it is empty.
    #[must_use]
    pub fn new(words: &'static [Word]) -> Self {
        let (keys, slots) = words.split_at(words.len() / (1 + Self::SLOT));
        Self { keys, slots, record: PhantomData }
    }

    /// How many records there is room for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is room for none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The number of the record in a slot, 0 where there is none.
    #[must_use]
    pub fn key(&self, slot: usize) -> u64 {
        self.keys[slot].load(Ordering::Acquire)
    }

    /// The record in a slot and its number; `None` where there is none, or not all of one.
    #[must_use]
    pub fn get(&self, slot: usize) -> Option<(u64, R)> {
        let key = self.key(slot);
        if key == 0 {
            return None;
        }
        let words = self.slot(slot).read()?;
        let (&written, record) = words.split_first()?;
        // The slot may have become another's meanwhile.
        (written == key).then(|| R::restore(record)).flatten().map(|record| (key, record))
    }

    /// All records that are there, with their slots and numbers.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u64, R)> {
        (0..self.len()).filter_map(|slot| self.get(slot).map(|(key, record)| (slot, key, record)))
    }

    /// Writes a record, under a number other than 0. Where it takes the place of another, it is there no sooner than that
    /// is gone. Nobody else may write to this slot meanwhile.
    pub fn put(&self, slot: usize, key: u64, record: &R) {
        if self.keys[slot].load(Ordering::Relaxed) != key {
            self.remove(slot);
        }
        self.slot(slot).write(std::iter::once(key).chain(record.save()));
        self.keys[slot].store(key, Ordering::Release);
    }

    /// Replaces one word of the record in a slot, which has to make sense beside the others, be it the old one or the new.
    /// Nobody else may write to this slot meanwhile.
    pub fn replace(&self, slot: usize, word: usize, value: u64) {
        // Behind the number.
        self.slot(slot).replace(1 + word, value);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        (0..self.len()).filter(|slot| self.key(*slot) != 0).for_each(|slot| self.remove(slot));
    }

    /// Forgets what is in a slot.
    pub fn remove(&self, slot: usize) {
        self.keys[slot].store(0, Ordering::Release);
    }

    fn slot(&self, slot: usize) -> Slot<'static> {
        Slot::new(&self.slots[slot * Self::SLOT..][..Self::SLOT])
    }
}

/// Two numbers that have to be the same, for tests.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Twins(pub(crate) u64, pub(crate) u64);

#[cfg(test)]
impl Record for Twins {
    const VERSION: u64 = 1;
    const WORDS: usize = 2;

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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_under_their_numbers() {
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
    fn half_a_record_is_none() {
        let table = Twins::table(2);
        table.put(0, 70, &Twins(1, 1));
        table.slot(0).die_writing(&[70, 2]);
        assert_eq!(table.get(0), None);
        // One that was written as a whole, under a number that was not.
        table.put(1, 71, &Twins(1, 1));
        table.slot(1).write([72, 2, 2]);
        assert_eq!(table.get(1), None);
        table.slot(1).write([71]);
        assert_eq!(table.get(1), None, "not as long as a record is");
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::thread;

    fn is_fully_visible((key, twins): (u64, Twins)) -> bool {
        twins.0 == twins.1 && twins.0 == key
    }

    #[test]
    fn a_record_is_never_taken_for_another() {
        loom::model(|| {
            let table = Twins::table(1);
            table.put(0, 1, &Twins(1, 1));
            let writer = thread::spawn(move || {
                table.remove(0);
                table.put(0, 2, &Twins(2, 2));
            });
            assert!(table.get(0).is_none_or(is_fully_visible));
            writer.join().unwrap();
            assert_eq!(table.get(0), Some((2, Twins(2, 2))));
        });
    }

    #[test]
    fn two_writers_have_a_slot_each() {
        loom::model(|| {
            let table = Twins::table(2);
            let writers = [0, 1].map(|slot| {
                thread::spawn(move || {
                    let key = slot as u64 + 1;
                    table.put(slot, key, &Twins(key, key));
                })
            });
            assert!(
                table
                    .iter()
                    .all(|(slot, key, twins)| key == slot as u64 + 1 && is_fully_visible((key, twins)))
            );
            for writer in writers {
                writer.join().unwrap();
            }
            assert_eq!(table.iter().count(), 2);
        });
    }

    #[test]
    fn a_writer_that_dies_leaves_the_others_alone() {
        loom::model(|| {
            let table = Twins::table(2);
            table.put(0, 1, &Twins(1, 1));
            let dying = thread::spawn(move || table.slot(0).die_writing(&[1, 9]));
            let other = thread::spawn(move || table.put(1, 2, &Twins(2, 2)));
            assert!(table.get(0).is_none_or(is_fully_visible));
            dying.join().unwrap();
            other.join().unwrap();
            assert_eq!(table.iter().collect::<Vec<_>>(), [(1, 2, Twins(2, 2))]);
        });
    }
}
