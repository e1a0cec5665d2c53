//! A reader and a writer of one sequence lock.

use crate::seqlock::Seqlock;
use crate::word::Word;
use loom::sync::Arc;
use loom::thread;

fn words() -> Arc<[Word; 4]> {
    Arc::new([0; 4].map(Word::new))
}

#[test]
fn a_reader_sees_the_whole_of_one_write() {
    loom::model(|| {
        let words = words();
        let shared = Arc::clone(&words);
        let writer = thread::spawn(move || {
            Seqlock::new(&*shared).write([1, 1]);
            Seqlock::new(&*shared).write([2, 2]);
        });
        if let Some(read) = Seqlock::new(&*words).read() {
            assert!([vec![], vec![1, 1], vec![2, 2]].contains(&read), "{read:?}");
        }
        writer.join().unwrap();
        assert_eq!(Seqlock::new(&*words).read(), Some(vec![2, 2]));
    });
}

#[test]
fn nobody_reads_what_a_dead_writer_left_half_written() {
    loom::model(|| {
        let words = words();
        let shared = Arc::clone(&words);
        let writer = thread::spawn(move || {
            Seqlock::new(&*shared).write([1, 1]);
            Seqlock::new(&*shared).die_writing(&[2]);
        });
        if let Some(read) = Seqlock::new(&*words).read() {
            assert!([vec![], vec![1, 1]].contains(&read), "{read:?}");
        }
        writer.join().unwrap();
        assert_eq!(Seqlock::new(&*words).read(), None);
        // Its successor, which is another thread of another process.
        let shared = Arc::clone(&words);
        let successor = thread::spawn(move || Seqlock::new(&*shared).write([3, 3]));
        let read = Seqlock::new(&*words).read();
        assert!(read.is_none_or(|read| read == [3, 3]));
        successor.join().unwrap();
    });
}
