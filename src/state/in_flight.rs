//! Operation was fetched from the kernel and is not yet answered, in memory that outlives this process.
//!
//! Since Linux 6.9 the kernel gives such requests out again when asked to; before that a successor answers
//! them from here, and those that were not even in_flight from the buffers that they were read into. A successor also sees
//! here how long a request was in flight and how many servers it has outlived, and the daemon whether a thread is stuck.

mod record;

pub use self::record::{InFlightRequest, Operation};

use self::record::{Request, SINCE, State, WAITING};
use super::{Table, Word};
use crate::shares::excess;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// So many requests are in flight at most, whether a thread is about them or they wait for one. More are not in_flight.
const SLOTS: usize = 4096;
/// So many are left free by those that wait, for those that threads begin with: any number may wait for a tenant that is slow.
const SPARE: usize = SLOTS / 4;
/// One for each thread that fetches, and some to spare: a line of cache each.
const THREADS: usize = 16;
const THREAD_WORDS: usize = 8;
/// How much memory it takes, in words of 64 bits, and what tells it from others.
pub(crate) const WORDS: usize = THREADS * THREAD_WORDS + Table::<Request>::words(SLOTS);
pub(crate) const SHAPE: u64 = Table::<Request>::shape(SLOTS);

/// `FUSE_UNIQUE_RESEND` of include/uapi/linux/fuse.h: set in the number of a request that is given out again.
const RESENT: u64 = 1 << 63;

/// A request that was in flight for longer when its server ended is what that server hung over. A machine with far too much
/// to do may take a second or two; a watchdog has waited for longer.
const PATIENCE: Duration = Duration::from_secs(3);
/// A request that so many servers have died over is what they died of.
const MOST_DEATHS: u32 = 3;
/// Operation is to be given out again and was not for so long was answered just before its server ended.
const RESEND: Duration = Duration::from_secs(10);

/// The journal of a connection. Like the memory that it is in, it stays until the process ends.
#[derive(Clone, Copy)]
pub struct InFlightTable(&'static Inner);

struct Inner {
    threads: &'static [Word],
    table: Table<Request>,
    slots: Mutex<Slots>,
    /// How many are in `slots.again`: nearly always none, which is then all that has to be known.
    again: AtomicUsize,
}

#[derive(Default)]
struct Slots {
    free: Vec<usize>,
    /// Where requests are that wait, and for which cgroup.
    waiting: HashMap<usize, Arc<[u8]>>,
    /// Where requests are that a predecessor has fetched and the kernel gives out again, by their numbers.
    again: HashMap<u64, (usize, u32)>,
    /// When that was asked for, by the clock of [`now`].
    since: u64,
}

/// Places of the words of a thread.
mod word {
    /// The last request that it has in_flight.
    pub(crate) const LATEST: usize = 0;
    /// How many were answered.
    pub(crate) const ANSWERED: usize = 1;
    /// When something happened last, as far as that was written down.
    pub(crate) const SEEN: usize = 2;
}

/// A request that a server has left unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Of what it is.
    pub fetched: InFlightRequest,
    /// How long that server had it, as far as is known.
    pub age: Duration,
    /// How many servers have ended while they had it.
    pub attempts: u32,
}

impl Left {
    /// Whether it is most likely what its servers have ended over, so that it is not to be tried again.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.age > PATIENCE || self.attempts >= MOST_DEATHS
    }
}

/// That a request was fetched; it counts as answered once this is dropped.
#[must_use]
pub struct InFlightGuard {
    journal: Option<InFlightTable>,
    /// Where it is in_flight, if that has its number.
    slot: AtomicUsize,
    fetched: InFlightRequest,
    attempts: u32,
}

impl InFlightGuard {
    /// Of a request that is nobody's but this process's.
    pub fn nowhere() -> Self {
        let fetched = InFlightRequest { unique: 0, pid: 0, ino: 0, what: Operation::Other };
        Self { journal: None, slot: AtomicUsize::new(0), fetched, attempts: 0 }
    }

    /// No thread is about it any more, and it waits for one: what happens meanwhile is not its fault.
    ///
    /// Where too many wait those of the heaviest branch of the hierarchy are in_flight no more until they begin: they are what a
    /// server that ends may leave unanswered, and nobody else's.
    pub fn wait(&self, cgroup: &Arc<[u8]>) {
        if let Some(journal) = &self.journal {
            journal.wait(self, Some(cgroup));
        }
    }

    /// The same for what a predecessor has left, for which there is room.
    pub fn wait_again(&self) {
        if let Some(journal) = &self.journal {
            journal.wait(self, None);
        }
    }

    /// A thread begins with it, which only waited until now.
    pub fn begin(&self) {
        if let Some(journal) = &self.journal {
            journal.begin(self);
        }
    }

    /// Whether servers have ended over it: whoever asks is to get an error.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.attempts >= MOST_DEATHS
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if let Some(journal) = &self.journal {
            journal.answered_one(self);
        }
    }
}

impl Slots {
    fn stop_waiting(&mut self, slot: usize) {
        // Nearly always nobody waits.
        if !self.waiting.is_empty() && self.waiting.remove(&slot).is_some() && self.waiting.is_empty() {
            self.waiting.shrink_to_fit();
        }
    }
}

impl InFlightTable {
    /// The journal in these words, or, where these are none, one that ends with this process.
    pub(crate) fn new(words: &'static [Word]) -> Self {
        let words = match words.len() {
            WORDS => words,
            _ => Vec::leak((0..WORDS).map(|_| Word::new(0)).collect()),
        };
        let (threads, table) = words.split_at(THREADS * THREAD_WORDS);
        let inner =
            Inner { threads, table: Table::new(table), slots: Mutex::default(), again: AtomicUsize::new(0) };
        Self(Box::leak(Box::new(inner)))
    }

    /// Notes a request that a thread is about until it is answered, when what is returned is dropped. Nothing is in_flight before
    /// this server has taken the journal over, and nothing while that is full.
    pub fn note(&self, fetched: InFlightRequest) -> InFlightGuard {
        self.enter(fetched)
    }

    fn enter(&self, mut fetched: InFlightRequest) -> InFlightGuard {
        let since = now();
        let Inner { table, slots, again, .. } = self.0;
        fetched.unique &= !RESENT;
        let (slot, attempts) = {
            let mut slots = slots.lock();
            // Nothing is added once requests are fetched.
            let known = match again.load(Ordering::Relaxed) {
                0 => None,
                _ => slots.again.remove(&fetched.unique),
            };
            if known.is_some() {
                again.store(slots.again.len(), Ordering::Relaxed);
            }
            match known.or_else(|| slots.free.pop().map(|slot| (slot, 0))) {
                Some(found) => found,
                None => return InFlightGuard::nowhere(),
            }
        };
        table.put(slot, fetched.unique, &Request { fetched, since, attempts, state: State::InFlightRequest });
        let thread = self.own_words();
        thread[word::SEEN].store(since, Ordering::Relaxed);
        // Last: from here on nobody looks for it in the buffer that it was read to.
        thread[word::LATEST].store(fetched.unique, Ordering::Release);
        InFlightGuard { journal: Some(*self), slot: AtomicUsize::new(slot), fetched, attempts }
    }

    fn wait(&self, in_flight: &InFlightGuard, cgroup: Option<&Arc<[u8]>>) {
        let mut slots = self.0.slots.lock();
        let Some(slot) = self.slot_of(in_flight) else { return };
        self.0.table.replace(slot, SINCE, WAITING);
        let Some(cgroup) = cgroup else { return };
        slots.waiting.insert(slot, Arc::clone(cgroup));
        if slots.free.len() >= SPARE {
            return;
        }
        let held = slots.waiting.iter().map(|(&slot, cgroup)| (slot, &**cgroup, 1));
        // Some more than need be, so that this is seldom done.
        let most = (slots.waiting.len() + slots.free.len()).saturating_sub(SPARE) * 7 / 8;
        for slot in excess(held, most) {
            self.release(slot, &mut slots);
        }
    }

    fn begin(&self, in_flight: &InFlightGuard) {
        let since = now();
        let mut slots = self.0.slots.lock();
        if let Some(slot) = self.slot_of(in_flight) {
            slots.stop_waiting(slot);
            return self.0.table.replace(slot, SINCE, since);
        }
        let Some(slot) = slots.free.pop() else { return };
        let InFlightGuard { fetched, attempts, .. } = *in_flight;
        let request = Request { fetched, since, attempts, state: State::InFlightRequest };
        self.0.table.put(slot, fetched.unique, &request);
        in_flight.slot.store(slot, Ordering::Relaxed);
    }

    /// Where it is in_flight, if it is. To be called with `slots` locked.
    fn slot_of(&self, in_flight: &InFlightGuard) -> Option<usize> {
        let slot = in_flight.slot.load(Ordering::Relaxed);
        (self.0.table.key(slot) == in_flight.fetched.unique).then_some(slot)
    }

    fn release(&self, slot: usize, slots: &mut Slots) {
        slots.stop_waiting(slot);
        self.0.table.remove(slot);
        slots.free.push(slot);
    }

    /// Notes a request as long as `answer` takes. A poisoned one is not answered: `answer` is dropped.
    #[cfg(test)]
    pub(crate) fn during<T>(&self, fetched: InFlightRequest, answer: impl FnOnce() -> T) -> Option<T> {
        let in_flight = self.note(fetched);
        (!in_flight.is_poisoned()).then(answer)
    }

    /// Whether all is answered that was in_flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        (0..self.0.table.len()).all(|slot| self.0.table.key(slot) == 0)
    }

    /// The requests that threads are about.
    #[must_use]
    pub fn fetched(&self) -> Vec<InFlightRequest> {
        let requests = self.0.table.iter().map(|(_, _, request)| request);
        requests.filter(Request::is_begun).map(|request| request.fetched).collect()
    }

    /// Operation the server before has left, to be asked by its successor before that notes anything.
    #[must_use]
    pub fn left(&self) -> Vec<Left> {
        let seen = self.words_of_all(word::SEEN).max().unwrap_or(0);
        let left = |request: Request| match request.is_begun() {
            true => Left {
                fetched: request.fetched,
                age: Duration::from_nanos(seen.saturating_sub(request.since)),
                attempts: request.attempts.saturating_add(1),
            },
            false => Left { fetched: request.fetched, age: Duration::ZERO, attempts: request.attempts },
        };
        self.0.table.iter().map(|(_, _, request)| left(request)).collect()
    }

    /// Whether a request was in_flight by the server before, be it answered or among `left`.
    pub(crate) fn has_noted(&self, left: &[Left], unique: u64) -> bool {
        self.words_of_all(word::LATEST).any(|latest| latest == unique)
            || left.iter().any(|left| left.fetched.unique == unique)
    }

    /// Goes on with the journal of a server that has left these requests, which are going to be fetched, and in_flight, again.
    pub(crate) fn resume(&self, left: &[Left]) {
        let Inner { table, slots, again, .. } = self.0;
        let mut slots = slots.lock();
        let mut found: HashMap<u64, usize> = HashMap::new();
        (slots.free, slots.waiting) = (Vec::with_capacity(table.len()), HashMap::new());
        // The first slots are given out first, so that few pages are touched.
        for slot in (0..table.len()).rev() {
            let key = table.key(slot);
            if key != 0 && left.iter().any(|left| left.fetched.unique == key) && !found.contains_key(&key) {
                found.insert(key, slot);
                continue;
            }
            if key != 0 {
                table.remove(slot);
            }
            slots.free.push(slot);
        }
        slots.again = HashMap::new();
        for left in left {
            let unique = left.fetched.unique;
            let Some(slot) = found.remove(&unique).or_else(|| slots.free.pop()) else { break };
            // Operation was poisoned stays so until it is answered, whoever does that.
            let attempts = if left.is_poisoned() { MOST_DEATHS } else { left.attempts };
            let request = Request { fetched: left.fetched, since: now(), attempts, state: State::Again };
            table.put(slot, unique, &request);
            slots.again.insert(unique, (slot, attempts));
        }
        slots.since = now();
        again.store(slots.again.len(), Ordering::Relaxed);
    }

    /// Writes down that this server still runs, so that its successor knows for how long it has had what it leaves. To be
    /// called now and then.
    pub fn beat(&self) {
        let Inner { table, slots, again, .. } = self.0;
        let now = now();
        // The first thread's word is as good as any: only the latest of all counts.
        self.0.threads[word::SEEN].fetch_max(now, Ordering::Relaxed);
        if again.load(Ordering::Relaxed) > 0 {
            let mut slots = slots.lock();
            if Duration::from_nanos(now.saturating_sub(slots.since)) > RESEND {
                for (slot, _) in std::mem::take(&mut slots.again).into_values() {
                    table.remove(slot);
                    slots.free.push(slot);
                }
                again.store(0, Ordering::Relaxed);
            }
        }
    }

    /// How many requests were answered on this connection.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.words_of_all(word::ANSWERED).fold(0, u64::wrapping_add)
    }

    /// Forgets what servers left that are not this one's predecessors.
    pub(crate) fn clear(&self) {
        self.0.table.clear();
        self.0.threads.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    fn answered_one(&self, in_flight: &InFlightGuard) {
        let mut slots = self.0.slots.lock();
        if let Some(slot) = self.slot_of(in_flight) {
            self.release(slot, &mut slots);
        }
        drop(slots);
        self.own_words()[word::ANSWERED].fetch_add(1, Ordering::Relaxed);
    }

    fn words_of_all(&self, place: usize) -> impl Iterator<Item = u64> {
        self.0.threads.chunks_exact(THREAD_WORDS).map(move |thread| thread[place].load(Ordering::Acquire))
    }

    /// More threads than there is room for share: the last request of such a one may then seem not to have been in_flight.
    fn own_words(&self) -> &'static [Word] {
        thread_local! {
            static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
        }
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let index = THREAD.get().unwrap_or_else(|| {
            let index = NEXT.fetch_add(1, Ordering::Relaxed) % THREADS;
            THREAD.set(Some(index));
            index
        });
        &self.0.threads[index * THREAD_WORDS..][..THREAD_WORDS]
    }
}

/// In nanoseconds, by a clock that goes on over the end of a process and is the same for all of them.
fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(now).map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> &'static [Word] {
        Vec::leak((0..WORDS).map(|_| Word::new(0)).collect())
    }

    fn server(words: &'static [Word]) -> (InFlightTable, Vec<Left>) {
        let journal = InFlightTable::new(words);
        let left = journal.left();
        journal.resume(&left);
        (journal, left)
    }

    fn fetched(unique: u64) -> InFlightRequest {
        InFlightRequest { unique, pid: 1, ino: 1, what: Operation::Other }
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
        let (journal, _) = server(words());
        let what = Operation::Read { handle: u64::MAX, offset: 1 << 40, size: u32::MAX };
        for what in
            [what, Operation::Open { flags: -1 }, Operation::Lookup, Operation::Release, Operation::Other]
        {
            let fetched = InFlightRequest { unique: 7, pid: u32::MAX, ino: 16, what };
            assert_eq!(journal.during(fetched, || journal.fetched()), Some(vec![fetched]));
            assert_eq!(journal.fetched(), []);
            assert!(journal.has_noted(&[], 7) && !journal.has_noted(&[], 8));
        }
        assert_eq!(journal.answered(), 5);
    }

    #[test]
    fn any_number_may_be_in_flight_and_be_answered_by_anybody() {
        let (journal, _) = server(words());
        let all: Vec<_> = (1..=SLOTS as u64 + 10).map(|unique| journal.note(fetched(unique))).collect();
        assert_eq!(journal.fetched().len(), SLOTS);
        // More threads than there is room for do no harm either.
        std::thread::scope(|scope| {
            for in_flight in all {
                if in_flight.fetched.unique % 64 == 0 {
                    scope.spawn(move || drop(in_flight));
                }
            }
        });
        assert_eq!((journal.fetched().len(), journal.answered()), (0, SLOTS as u64));
    }

    #[test]
    fn a_successor_counts_the_servers_that_a_request_has_outlived() {
        let words = words();
        let (first, _) = server(words);
        dies(first.note(fetched(70)));
        drop(first.note(fetched(72)));
        for attempts in 1..3 {
            let (next, left) = server(words);
            assert_eq!(
                left.iter().map(|left| (left.fetched, left.attempts)).collect::<Vec<_>>(),
                [(fetched(70), attempts)]
            );
            assert_eq!(next.fetched(), [], "it was not given out again yet");
            let in_flight = next.note(fetched(70 | RESENT));
            assert!(!in_flight.is_poisoned());
            assert_eq!(next.fetched(), [fetched(70)]);
            dies(in_flight);
        }
        let (last, left) = server(words);
        assert!(left[0].is_poisoned() && left[0].attempts == 3);
        let in_flight = last.note(fetched(70 | RESENT));
        assert!(in_flight.is_poisoned());
        drop(in_flight);
        assert!(!last.note(fetched(74)).is_poisoned() && server(words).1.is_empty());
    }

    #[test]
    fn what_was_not_given_out_again_is_not_held_against_it() {
        let words = words();
        dies(server(words).0.note(fetched(70)));
        for _ in 0..5 {
            let (_, left) = server(words);
            assert_eq!((left[0].attempts, left[0].is_poisoned()), (1, false));
        }
        // It had been answered, and nobody gives it out again.
        let (journal, _) = server(words);
        journal.0.slots.lock().since = 0;
        journal.beat();
        assert!(server(words).1.is_empty());
    }

    #[test]
    fn a_request_that_its_server_hung_over_is_poisoned_until_it_is_answered() {
        let words = words();
        let (first, _) = server(words);
        let in_flight = first.note(fetched(70));
        let slot = in_flight.slot.load(Ordering::Relaxed);
        let mut request = first.0.table.get(slot).unwrap().1;
        request.since -= 3_500_000_000;
        first.0.table.put(slot, 70, &request);
        dies(in_flight);
        first.beat();
        for _ in 0..2 {
            // Nor does one that dies before it was given out again make it anew.
            let (_, left) = server(words);
            assert!(left[0].is_poisoned(), "{left:?}");
        }
        let (next, _) = server(words);
        assert_eq!(next.during(fetched(70 | RESENT), || ()), None);
        assert!(server(words).1.is_empty());
    }

    #[test]
    fn a_server_that_stood_still_is_not_held_against_its_requests() {
        let words = words();
        dies(server(words).0.note(fetched(70)));
        std::thread::sleep(PATIENCE + Duration::from_millis(100));
        // Nobody has said that it was running.
        assert!(!server(words).1[0].is_poisoned());
    }

    #[test]
    fn whoever_waited_for_a_thread_is_not_to_blame() {
        let words = words();
        let (journal, _) = server(words);
        let (waiting, begun) = (journal.note(fetched(70)), journal.note(fetched(72)));
        waiting.wait(&cgroup("/c"));
        begun.wait(&cgroup("/c"));
        begun.begin();
        assert_eq!(journal.fetched(), [fetched(72)]);
        std::thread::sleep(PATIENCE + Duration::from_millis(100));
        journal.beat();
        dies(waiting);
        dies(begun);
        let mut left = journal.left();
        left.sort_by_key(|left| left.fetched.unique);
        assert_eq!([left[0].attempts, left[1].attempts], [0, 1]);
        assert_eq!([left[0].is_poisoned(), left[1].is_poisoned()], [false, true]);
    }

    #[test]
    fn whoever_has_many_wait_leaves_room_for_others() {
        let words = words();
        let (journal, _) = server(words);
        let wait = |unique: u64, path: &str| {
            let in_flight = journal.note(fetched(unique));
            in_flight.wait(&cgroup(path));
            in_flight
        };
        let before: Vec<_> = (1..=50).map(|unique| wait(unique, "/pods/other")).collect();
        let many: Vec<_> = (1001..=6000).map(|unique| wait(unique, "/pods/slow")).collect();
        let after: Vec<_> = (51..=100).map(|unique| wait(unique, &format!("/pods/{unique}"))).collect();
        let in_flight = |journal: &InFlightTable| {
            let mut all: Vec<_> = journal.left().iter().map(|left| left.fetched.unique).collect();
            all.sort_unstable();
            all
        };
        let all = in_flight(&journal);
        assert!(all.iter().copied().filter(|unique| *unique <= 100).eq(1..=100));
        assert!(all.len() > SLOTS / 2 && all.len() <= SLOTS - SPARE, "{}", all.len());
        // Operation is no more in_flight is so again when a thread begins with it.
        let gone = (1001..=6000).find(|unique| !all.contains(unique)).unwrap();
        let again = many.iter().find(|in_flight| in_flight.fetched.unique == gone).unwrap();
        again.begin();
        assert_eq!(journal.fetched(), [fetched(gone)]);
        again.wait(&cgroup("/pods/slow"));
        // Operation is answered leaves others' places alone.
        drop(many);
        assert!(in_flight(&journal).into_iter().eq(1..=100));
        drop((before, after));
        assert!(journal.is_empty() && journal.0.slots.lock().free.len() == SLOTS);
        assert!(journal.0.slots.lock().waiting.is_empty());
        assert_eq!(journal.answered(), 5100);
    }

    #[test]
    fn there_is_a_journal_where_there_is_no_memory_for_it() {
        let (journal, left) = server(&[]);
        assert!(left.is_empty());
        assert_eq!(journal.during(fetched(7), || journal.fetched()), Some(vec![fetched(7)]));
    }
}
