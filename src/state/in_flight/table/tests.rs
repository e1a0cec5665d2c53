//! Servers that end, one after the other, and what becomes of the requests that they had.

use super::*;
use crate::state::in_flight::orphaned::HANG_THRESHOLD;
use crate::state::in_flight::request::{Ino, Operation};
use crate::state::in_flight::slots::RESERVED;
use crate::state::open_file::OpenFile;
use cgprocfs_core::parse::pid::Pid;

/// Set by the kernel in the number of a request that it gives out again.
const RESENT: u64 = 1 << 63;

fn words() -> &'static [Word] {
    Vec::leak((0..WORDS).map(|_| Word::new(0)).collect())
}

fn server(words: &'static [Word]) -> (InFlightTable, Vec<OrphanedRequest>) {
    let table = InFlightTable::new(words);
    let left = table.orphaned();
    table.resume(&left);
    (table, left)
}

fn request(unique: u64) -> InFlightRequest {
    InFlightRequest {
        unique: Unique::new(unique),
        pid: Pid::INIT,
        ino: Ino::new(1),
        operation: Operation::Other,
    }
}

fn cgroup(path: &str) -> Arc<[u8]> {
    path.as_bytes().into()
}

/// The server is gone at once, and what it was about is not answered.
fn dies(in_flight: InFlightGuard) {
    std::mem::forget(in_flight);
}

#[test]
fn requests_are_there_while_they_are_answered() {
    let (table, _) = server(words());
    let read = Operation::Read { file: OpenFile::new(u64::MAX), offset: 1 << 40, size: u32::MAX };
    for operation in
        [read, Operation::Open { flags: -1 }, Operation::Lookup, Operation::Release, Operation::Other]
    {
        let request =
            InFlightRequest { unique: Unique::new(7), pid: Pid::new(u32::MAX), ino: Ino::new(16), operation };
        assert_eq!(table.track_while(request, || table.begun()), Some(vec![request]));
        assert_eq!(table.begun(), []);
        assert!(table.has_tracked(&[], Unique::new(7)) && !table.has_tracked(&[], Unique::new(8)));
    }
    assert_eq!(table.answered(), 5);
}

#[test]
fn any_number_may_be_in_flight_and_be_answered_by_anybody() {
    let (table, _) = server(words());
    let all: Vec<_> = (1..=MAX_REQUESTS as u64 + 10).map(|unique| table.track(request(unique))).collect();
    assert_eq!(table.begun().len(), MAX_REQUESTS);
    // More threads than there is room for do no harm either.
    std::thread::scope(|scope| {
        for in_flight in all {
            if in_flight.request.unique.get() % 64 == 0 {
                scope.spawn(move || drop(in_flight));
            }
        }
    });
    assert_eq!((table.begun().len(), table.answered()), (0, MAX_REQUESTS as u64));
}

#[test]
fn a_successor_counts_the_servers_that_a_request_has_outlived() {
    let words = words();
    let (first, _) = server(words);
    dies(first.track(request(70)));
    drop(first.track(request(72)));
    for attempts in 1..3 {
        let (next, left) = server(words);
        assert_eq!(
            left.iter().map(|left| (left.request, left.attempts)).collect::<Vec<_>>(),
            [(request(70), attempts)]
        );
        assert_eq!(next.begun(), [], "it was not given out again yet");
        let in_flight = next.track(request(70 | RESENT));
        assert!(!in_flight.is_poisoned());
        assert_eq!(next.begun(), [request(70)]);
        dies(in_flight);
    }
    let (last, left) = server(words);
    assert!(left[0].is_poisoned() && left[0].attempts == 3);
    let in_flight = last.track(request(70 | RESENT));
    assert!(in_flight.is_poisoned());
    drop(in_flight);
    assert!(!last.track(request(74)).is_poisoned() && server(words).1.is_empty());
}

#[test]
fn what_was_not_given_out_again_is_not_held_against_it() {
    let words = words();
    dies(server(words).0.track(request(70)));
    for _ in 0..5 {
        let (_, left) = server(words);
        assert_eq!((left[0].attempts, left[0].is_poisoned()), (1, false));
    }
    // It had been answered, and nobody gives it out again.
    let (table, _) = server(words);
    table.0.slots.lock().resend_asked = Moment::default();
    table.mark_alive();
    assert!(server(words).1.is_empty());
}

#[test]
fn a_request_that_its_server_hung_over_is_poisoned_until_it_is_answered() {
    let words = words();
    let (first, _) = server(words);
    let in_flight = first.track(request(70));
    let slot = in_flight.slot.load(Ordering::Relaxed);
    let mut record = first.0.table.get(slot).unwrap().1;
    record.begun = record.begun.map(|begun| Moment(begun.0 - 3_500_000_000));
    first.0.table.put(slot, 70, &record);
    dies(in_flight);
    first.mark_alive();
    for _ in 0..2 {
        // Nor does one that dies before it was given out again make it anew.
        let (_, left) = server(words);
        assert!(left[0].is_poisoned(), "{left:?}");
    }
    let (next, _) = server(words);
    assert_eq!(next.track_while(request(70 | RESENT), || ()), None);
    assert!(server(words).1.is_empty());
}

/// Whoever waits for a slow cgroup while daemons are replaced is to get an answer in the end.
#[test]
fn a_server_that_was_told_to_end_holds_nothing_against_its_requests() {
    let words = words();
    for _ in 0..=MAX_ATTEMPTS {
        let (table, left) = server(words);
        assert!(left.iter().all(|left| left.attempts == 0 && !left.is_poisoned()), "{left:?}");
        let in_flight = table.track(request(70));
        table.0.table.replace(in_flight.slot.load(Ordering::Relaxed), RequestRecord::BEGUN_WORD, 1);
        table.leave_to_successor();
        dies(in_flight);
        table.mark_alive();
    }
}

#[test]
fn a_server_that_stood_still_is_not_held_against_its_requests() {
    let words = words();
    dies(server(words).0.track(request(70)));
    std::thread::sleep(HANG_THRESHOLD + Duration::from_millis(100));
    // Nobody has said that it was running.
    assert!(!server(words).1[0].is_poisoned());
}

#[test]
fn whoever_waited_for_a_thread_is_not_to_blame() {
    let words = words();
    let (table, _) = server(words);
    let (waiting, begun) = (table.track(request(70)), table.track(request(72)));
    waiting.wait(&cgroup("/c"));
    begun.wait(&cgroup("/c"));
    begun.begin();
    assert_eq!(table.begun(), [request(72)]);
    std::thread::sleep(HANG_THRESHOLD + Duration::from_millis(100));
    table.mark_alive();
    dies(waiting);
    dies(begun);
    let mut left = table.orphaned();
    left.sort_by_key(|left| left.request.unique);
    assert_eq!([left[0].attempts, left[1].attempts], [0, 1]);
    assert_eq!([left[0].is_poisoned(), left[1].is_poisoned()], [false, true]);
}

#[test]
fn whoever_has_many_wait_leaves_room_for_others() {
    let words = words();
    let (table, _) = server(words);
    let wait = |unique: u64, path: &str| {
        let in_flight = table.track(request(unique));
        in_flight.wait(&cgroup(path));
        in_flight
    };
    let before: Vec<_> = (1..=50).map(|unique| wait(unique, "/pods/other")).collect();
    let many: Vec<_> = (1001..=6000).map(|unique| wait(unique, "/pods/slow")).collect();
    let after: Vec<_> = (51..=100).map(|unique| wait(unique, &format!("/pods/{unique}"))).collect();
    let in_flight = |table: &InFlightTable| {
        let mut all: Vec<_> = table.orphaned().iter().map(|left| left.request.unique.get()).collect();
        all.sort_unstable();
        all
    };
    let all = in_flight(&table);
    assert!(all.iter().copied().filter(|unique| *unique <= 100).eq(1..=100));
    assert!(all.len() > MAX_REQUESTS / 2 && all.len() <= MAX_REQUESTS - RESERVED, "{}", all.len());
    // A request that has left the table is back in it when a thread begins with it.
    let gone = (1001..=6000).find(|unique| !all.contains(unique)).unwrap();
    let again = many.iter().find(|in_flight| in_flight.request.unique.get() == gone).unwrap();
    again.begin();
    assert_eq!(table.begun(), [request(gone)]);
    again.wait(&cgroup("/pods/slow"));
    // Requests that are answered leave others' places alone.
    drop(many);
    assert!(in_flight(&table).into_iter().eq(1..=100));
    drop((before, after));
    assert!(table.is_empty() && table.0.slots.lock().free.len() == MAX_REQUESTS);
    assert!(table.0.slots.lock().waiting.is_empty());
    assert_eq!(table.answered(), 5100);
}

#[test]
fn there_is_a_table_without_shared_memory() {
    let (table, left) = server(&[]);
    assert!(left.is_empty());
    assert_eq!(table.track_while(request(7), || table.begun()), Some(vec![request(7)]));
}
