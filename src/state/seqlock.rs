//! A slot of words that is read as a whole or not at all: a sequence lock, as Hans Boehm has it in "Can Seqlocks Get Along
//! With Programming Language Memory Models?" (2012).
//!
//! The first word counts: it is odd while the others are being written, and stays so if the writer dies. Nobody waits
//! for that: what can't be read as a whole is not there.

use super::word::{Ordering, Word, fence};

/// The sequence and the length.
pub(crate) const HEAD: usize = 2;

/// Some words: the sequence, how many follow that are in use, and these.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'w> {
    words: &'w [Word],
}

impl<'w> Slot<'w> {
    /// Of [`HEAD`] words and at least one more.
    pub(crate) fn new(words: &'w [Word]) -> Self {
        debug_assert!(words.len() > HEAD);
        Self { words }
    }

    /// Replaces what is there. Nobody else may write to this slot meanwhile; what does not fit is cut off.
    pub(crate) fn write(self, data: impl IntoIterator<Item = u64>) {
        let odd = self.begin();
        let mut length = 0;
        for (word, value) in self.words[HEAD..].iter().zip(data) {
            word.store(value, Ordering::Relaxed);
            length += 1;
        }
        self.words[1].store(length, Ordering::Relaxed);
        // Who reads this has all that was stored before it.
        self.words[0].store(odd.wrapping_add(1), Ordering::Release);
    }

    /// Replaces one word of what is there. It has to make sense beside the others, be it the old one or the new.
    pub(crate) fn replace(self, place: usize, value: u64) {
        if let Some(word) = self.words[HEAD..].get(place) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Operation was written last; `None` while it is being replaced, or where a writer has died over that.
    pub(crate) fn read(self) -> Option<Vec<u64>> {
        let before = self.words[0].load(Ordering::Acquire);
        if before % 2 == 1 {
            return None;
        }
        // Where it is being replaced this may be anything.
        let length = usize::try_from(self.words[1].load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let data = self.words[HEAD..].iter().take(length);
        let data = data.map(|word| word.load(Ordering::Relaxed)).collect();
        // Who has read a word of a later writer reads that one's odd number below.
        fence(Ordering::Acquire);
        (self.words[0].load(Ordering::Relaxed) == before).then_some(data)
    }

    /// From here on nobody takes what is there for a whole. A writer that died has left an odd number already.
    fn begin(self) -> u64 {
        let odd = self.words[0].load(Ordering::Relaxed).wrapping_add(1) | 1;
        self.words[0].store(odd, Ordering::Relaxed);
        fence(Ordering::Release);
        odd
    }

    /// Writes as a process does that dies after so many words.
    #[cfg(test)]
    pub(crate) fn die_writing(self, data: &[u64]) {
        self.begin();
        for (word, value) in self.words[HEAD..].iter().zip(data) {
            word.store(*value, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn words(count: usize) -> Vec<Word> {
        (0..count).map(|_| Word::new(0)).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let words = words(5);
        let slot = Slot::new(&words);
        assert_eq!(slot.read(), Some(vec![]));
        for data in [vec![1, 2, 3], vec![4], vec![]] {
            slot.write(data.clone());
            assert_eq!(slot.read(), Some(data));
        }
        slot.write([1, 2, 3, 4]);
        assert_eq!(slot.read(), Some(vec![1, 2, 3]), "no more than there is room for");
    }

    #[test]
    fn a_length_that_makes_no_sense_is_cut() {
        let words = words(4);
        words[1].store(u64::MAX, Ordering::Relaxed);
        assert_eq!(Slot::new(&words).read(), Some(vec![0, 0]));
    }

    #[test]
    fn what_a_dead_writer_left_is_not_there_until_it_is_written_anew() {
        let words = words(4);
        let slot = Slot::new(&words);
        slot.write([1, 1]);
        slot.die_writing(&[2]);
        assert_eq!(slot.read(), None);
        slot.die_writing(&[]);
        assert_eq!(slot.read(), None);
        slot.write([3, 3]);
        assert_eq!(slot.read(), Some(vec![3, 3]));
    }
}

/// Every order in which threads can run and see each other's stores, on a processor as weakly ordered as the language allows.
#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    fn words() -> Arc<[Word; 4]> {
        Arc::new([0; 4].map(Word::new))
    }

    #[test]
    fn a_reader_has_all_of_one_writing() {
        loom::model(|| {
            let words = words();
            let shared = Arc::clone(&words);
            let writer = thread::spawn(move || {
                Slot::new(&*shared).write([1, 1]);
                Slot::new(&*shared).write([2, 2]);
            });
            if let Some(read) = Slot::new(&*words).read() {
                assert!([vec![], vec![1, 1], vec![2, 2]].contains(&read), "{read:?}");
            }
            writer.join().unwrap();
            assert_eq!(Slot::new(&*words).read(), Some(vec![2, 2]));
        });
    }

    #[test]
    fn nobody_reads_what_a_writer_died_over() {
        loom::model(|| {
            let words = words();
            let shared = Arc::clone(&words);
            let writer = thread::spawn(move || {
                Slot::new(&*shared).write([1, 1]);
                Slot::new(&*shared).die_writing(&[2]);
            });
            if let Some(read) = Slot::new(&*words).read() {
                assert!([vec![], vec![1, 1]].contains(&read), "{read:?}");
            }
            writer.join().unwrap();
            assert_eq!(Slot::new(&*words).read(), None);
            // Its successor, which is another thread of another process.
            let shared = Arc::clone(&words);
            let successor = thread::spawn(move || Slot::new(&*shared).write([3, 3]));
            let read = Slot::new(&*words).read();
            assert!(read.is_none_or(|read| read == [3, 3]));
            successor.join().unwrap();
        });
    }
}
