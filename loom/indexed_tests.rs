//! A table that one process writes to, and others that read it at the same time or later.

use crate::indexed::IndexedTable;
use crate::table::Twins;
use loom::thread;

#[test]
fn a_successor_has_what_was_put_last() {
    loom::model(|| {
        let table = Twins::table(2);
        let writer = thread::spawn(move || {
            let (mut indexed, left) = IndexedTable::resume(table);
            assert_eq!(left, []);
            assert!(indexed.put(7, &Twins(7, 7)));
            indexed.remove(7);
            assert!(indexed.put(8, &Twins(8, 8)));
        });
        // As the supervisor looks at what its child has in hand.
        assert!(table.iter().all(|(_, key, twins)| twins == Twins(key, key)));
        writer.join().unwrap();
        assert_eq!(IndexedTable::resume(table).1, [(8, Twins(8, 8))]);
    });
}

#[test]
fn a_successor_drops_what_was_half_written() {
    loom::model(|| {
        let table = Twins::table(1);
        let writer = thread::spawn(move || table.die_writing(0, &[7, 7]));
        assert!(table.get(0).is_none());
        writer.join().unwrap();
        let (mut indexed, left) = IndexedTable::resume(table);
        assert!(left.is_empty() && indexed.put(8, &Twins(8, 8)));
        assert_eq!(table.get(0), Some((8, Twins(8, 8))));
    });
}
