//! Several writers and a reader of one table.

use crate::table::{Table, Twins};
use loom::thread;

fn is_whole((key, twins): (u64, Twins)) -> bool {
    twins.0 == twins.1 && twins.0 == key
}

#[test]
fn a_record_is_never_taken_for_another() {
    loom::model(|| {
        let table: Table<Twins> = Twins::table(1);
        table.put(0, 1, &Twins(1, 1));
        let writer = thread::spawn(move || {
            table.remove(0);
            table.put(0, 2, &Twins(2, 2));
        });
        assert!(table.get(0).is_none_or(is_whole));
        writer.join().unwrap();
        assert_eq!(table.get(0), Some((2, Twins(2, 2))));
    });
}

#[test]
fn a_word_that_is_replaced_is_the_old_one_or_the_new() {
    loom::model(|| {
        let table: Table<Twins> = Twins::table(1);
        table.put(0, 1, &Twins(1, 1));
        let writer = thread::spawn(move || {
            table.replace(0, 1, 2);
            table.remove(0);
            table.put(0, 3, &Twins(3, 3));
        });
        let seen = table.get(0);
        let can_be_seen = [(1, Twins(1, 1)), (1, Twins(1, 2)), (3, Twins(3, 3))];
        assert!(seen.is_none_or(|record| can_be_seen.contains(&record)), "{seen:?}");
        writer.join().unwrap();
        assert_eq!(table.get(0), Some((3, Twins(3, 3))));
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
        assert!(table.iter().all(|(slot, key, twins)| key == slot as u64 + 1 && is_whole((key, twins))));
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
        let dying = thread::spawn(move || table.die_writing(0, &[1, 9]));
        let other = thread::spawn(move || table.put(1, 2, &Twins(2, 2)));
        assert!(table.get(0).is_none_or(is_whole));
        dying.join().unwrap();
        other.join().unwrap();
        assert_eq!(table.iter().collect::<Vec<_>>(), [(1, 2, Twins(2, 2))]);
    });
}
