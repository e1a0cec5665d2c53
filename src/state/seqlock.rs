//! A sequence lock: words that are read as a whole or not at all, as described by Hans Boehm in "Can Seqlocks
//! Get Along With Programming Language Memory Models?" (2012).
//!
//! The first word is the sequence number. It is odd while the others are being written, and stays odd if the
//! writer dies. A reader never waits: words that it cannot read as a whole are absent.

use super::word::{Ordering, Word, fence};

/// Words in front of the data: the sequence number and the length.
pub(crate) const HEADER_WORDS: usize = 2;

/// A sequence number, the number of data words in use, and the data.
#[derive(Clone, Copy)]
pub(crate) struct Seqlock<'w> {
    words: &'w [Word],
}

impl<'w> Seqlock<'w> {
    /// A lock over `words`: [`HEADER_WORDS`] and at least one more.
    pub(crate) fn new(words: &'w [Word]) -> Self {
        debug_assert!(words.len() > HEADER_WORDS);
        Self { words }
    }

    /// Replaces the data, cut off where there is no more room. Only one writer may do so at a time.
    pub(crate) fn write(self, data: impl IntoIterator<Item = u64>) {
        let odd = self.begin_write();
        let mut length = 0;
        for (word, value) in self.words[HEADER_WORDS..].iter().zip(data) {
            word.store(value, Ordering::Relaxed);
            length += 1;
        }
        self.words[1].store(length, Ordering::Relaxed);
        // A reader that sees this number also sees everything stored before it.
        self.words[0].store(odd.wrapping_add(1), Ordering::Release);
    }

    /// Replaces one word of the data without taking the lock: readers see the old word or the new one, and
    /// either must make sense beside the others.
    pub(crate) fn replace(self, index: usize, value: u64) {
        if let Some(word) = self.words[HEADER_WORDS..].get(index) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// The data as last written; `None` while it is being replaced, or if its writer died before it was done.
    pub(crate) fn read(self) -> Option<Vec<u64>> {
        let before = self.words[0].load(Ordering::Acquire);
        if before % 2 == 1 {
            return None;
        }
        // Any value, while the data is being replaced.
        let length = usize::try_from(self.words[1].load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let data = self.words[HEADER_WORDS..].iter().take(length);
        let data = data.map(|word| word.load(Ordering::Relaxed)).collect();
        // A reader that got a word from a later writer sees that writer's odd number below.
        fence(Ordering::Acquire);
        (self.words[0].load(Ordering::Relaxed) == before).then_some(data)
    }

    /// Makes the sequence number odd: readers treat the data as absent from here on. It is odd already if a
    /// writer died.
    fn begin_write(self) -> u64 {
        let odd = self.words[0].load(Ordering::Relaxed).wrapping_add(1) | 1;
        self.words[0].store(odd, Ordering::Relaxed);
        fence(Ordering::Release);
        odd
    }

    /// Writes like a process that dies after these words.
    #[cfg(test)]
    pub(crate) fn die_writing(self, data: &[u64]) {
        self.begin_write();
        for (word, value) in self.words[HEADER_WORDS..].iter().zip(data) {
            word.store(*value, Ordering::Relaxed);
        }
    }
}

// Loom's atomics exist only inside a model: `loom/seqlock_tests.rs`.
#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    fn words(count: usize) -> Vec<Word> {
        (0..count).map(|_| Word::new(0)).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let words = words(5);
        let lock = Seqlock::new(&words);
        assert_eq!(lock.read(), Some(vec![]));
        for data in [vec![1, 2, 3], vec![4], vec![]] {
            lock.write(data.clone());
            assert_eq!(lock.read(), Some(data));
        }
        lock.write([1, 2, 3, 4]);
        assert_eq!(lock.read(), Some(vec![1, 2, 3]), "no more than there is room for");
    }

    #[test]
    fn a_length_that_makes_no_sense_is_cut() {
        let words = words(4);
        words[1].store(u64::MAX, Ordering::Relaxed);
        assert_eq!(Seqlock::new(&words).read(), Some(vec![0, 0]));
    }

    #[test]
    fn data_of_a_dead_writer_is_absent_until_it_is_written_again() {
        let words = words(4);
        let lock = Seqlock::new(&words);
        lock.write([1, 1]);
        lock.die_writing(&[2]);
        assert_eq!(lock.read(), None);
        lock.die_writing(&[]);
        assert_eq!(lock.read(), None);
        lock.write([3, 3]);
        assert_eq!(lock.read(), Some(vec![3, 3]));
    }
}
