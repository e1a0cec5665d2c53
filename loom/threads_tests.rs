//! What a thread of a server writes down, and the process that reads it while that thread goes on.

use crate::clock::Moment;
use crate::request::Unique;
use crate::table::Twins;
use crate::threads::{Threads, WORDS};
use crate::word::Word;
use loom::thread;

fn words() -> &'static [Word] {
    Vec::leak((0..WORDS).map(|_| Word::new(0)).collect())
}

/// Nobody looks for a request elsewhere once it is said to be entered.
#[test]
fn what_was_entered_is_in_the_table() {
    loom::model(|| {
        let (table, words) = (Twins::table(1), words());
        let server = thread::spawn(move || {
            table.put(0, 7, &Twins(7, 7));
            Threads::new(words).entered(Unique(7), Moment(1));
        });
        if Threads::new(words).is_latest(Unique(7)) {
            assert_eq!(table.get(0), Some((7, Twins(7, 7))));
            assert_eq!(Threads::new(words).last_seen().0, 1);
        }
        server.join().unwrap();
        assert!(Threads::new(words).is_latest(Unique(7)));
    });
}

/// Two threads that share a word, as where there are too many: no answer goes uncounted.
#[test]
fn answers_are_counted() {
    loom::model(|| {
        let words = words();
        let servers = [0, 1].map(|_| thread::spawn(move || Threads::new(words).answered_one()));
        assert!(Threads::new(words).answered() <= 2);
        for server in servers {
            server.join().unwrap();
        }
        assert_eq!(Threads::new(words).answered(), 2);
    });
}
