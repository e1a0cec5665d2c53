//! The table of requests in flight, and the guard that keeps one in it.

use super::clock::Moment;
use super::orphaned::{MAX_ATTEMPTS, OrphanedRequest};
use super::request::{Holder, InFlightRequest, RequestRecord, Unique};
use super::slots::{MAX_REQUESTS, Slots};
use super::threads::{self, Threads};
use crate::state::table::Table;
use crate::state::word::Word;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How many words of shared memory are needed: those of the threads, then the table.
pub(crate) const WORDS: usize = threads::WORDS + Table::<RequestRecord>::words(MAX_REQUESTS);
/// Identifies the format of these words: that of the threads' and that of the table.
pub(crate) const FORMAT: u64 =
    Table::<RequestRecord>::format(MAX_REQUESTS).wrapping_add(threads::VERSION << 56);

/// A request that the kernel was asked to give out again, and did not within this time, was answered just
/// before its server ended.
const RESEND_TIMEOUT: Duration = Duration::from_secs(10);

/// The requests in flight on a connection. Copies are of the same table, which stays until the process ends.
#[derive(Clone, Copy)]
pub struct InFlightTable(&'static Inner);

struct Inner {
    threads: Threads,
    table: Table<RequestRecord>,
    slots: Mutex<Slots>,
    /// How many there are in `slots.resent`: nearly always none, which is found out without the lock's
    /// contents.
    resent: AtomicUsize,
}

/// Keeps a request in the table; it counts as answered once this is dropped.
#[must_use]
pub struct InFlightGuard {
    table: Option<InFlightTable>,
    /// The slot of the request, if its key is that of the request.
    slot: AtomicUsize,
    request: InFlightRequest,
    attempts: u32,
}

impl InFlightGuard {
    /// A guard of a request that does not come from the kernel, or for which there is no room.
    pub fn untracked() -> Self {
        Self { table: None, slot: AtomicUsize::new(0), request: InFlightRequest::NONE, attempts: 0 }
    }

    /// The request waits for a thread from now on, and is not to blame for what happens meanwhile.
    ///
    /// Where too many wait, those of the heaviest branch of the hierarchy leave the table until they begin:
    /// nobody else's requests are to be left unanswered by a server that ends.
    pub fn wait(&self, cgroup: &Arc<[u8]>) {
        if let Some(table) = &self.table {
            table.wait(self, Some(cgroup));
        }
    }

    /// Marks a request that a predecessor has left as waiting. It never has to leave the table.
    pub fn wait_orphaned(&self) {
        if let Some(table) = &self.table {
            table.wait(self, None);
        }
    }

    /// A thread begins with the request, which has waited until now.
    pub fn begin(&self) {
        if let Some(table) = &self.table {
            table.begin(self);
        }
    }

    /// Whether servers have ended over the request: whoever asks is to get an error.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.attempts >= MAX_ATTEMPTS
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if let Some(table) = &self.table {
            table.finish(self);
        }
    }
}

impl InFlightTable {
    /// The table in these words, or, where these are none, one that ends with this process.
    pub(crate) fn new(words: &'static [Word]) -> Self {
        let words = match words.len() {
            WORDS => words,
            _ => Vec::leak((0..WORDS).map(|_| Word::new(0)).collect()),
        };
        let (threads, table) = words.split_at(threads::WORDS);
        let (threads, table) = (Threads::new(threads), Table::new(table));
        let inner = Inner { threads, table, slots: Mutex::default(), resent: AtomicUsize::new(0) };
        Self(Box::leak(Box::new(inner)))
    }

    /// Enters a request that this thread is busy with, until the guard is dropped. Nothing is entered before
    /// this server has taken the table over, nor while it is full.
    pub fn track(&self, request: InFlightRequest) -> InFlightGuard {
        let now = Moment::now();
        let Inner { threads, table, slots, resent } = self.0;
        let (slot, attempts) = {
            let mut slots = slots.lock();
            // None is added once requests are fetched.
            let known = match resent.load(Ordering::Relaxed) {
                0 => None,
                _ => slots.resent.remove(&request.unique),
            };
            if known.is_some() {
                resent.store(slots.resent.len(), Ordering::Relaxed);
            }
            match known.or_else(|| slots.free.pop().map(|slot| (slot, 0))) {
                Some(found) => found,
                None => return InFlightGuard::untracked(),
            }
        };
        let record = RequestRecord { request, begun: Some(now), attempts, holder: Holder::Server };
        table.put(slot, request.unique.get(), &record);
        threads.entered(request.unique, now);
        InFlightGuard { table: Some(*self), slot: AtomicUsize::new(slot), request, attempts }
    }

    fn wait(&self, guard: &InFlightGuard, cgroup: Option<&Arc<[u8]>>) {
        let mut slots = self.0.slots.lock();
        let Some(slot) = self.slot_of(guard) else { return };
        self.0.table.replace(slot, RequestRecord::BEGUN_WORD, RequestRecord::begun_word(None));
        let Some(cgroup) = cgroup else { return };
        slots.set_waiting(slot, cgroup);
        for slot in slots.over_limit() {
            self.release(slot, &mut slots);
        }
    }

    fn begin(&self, guard: &InFlightGuard) {
        let begun = Some(Moment::now());
        let mut slots = self.0.slots.lock();
        if let Some(slot) = self.slot_of(guard) {
            slots.stop_waiting(slot);
            self.0.table.replace(slot, RequestRecord::BEGUN_WORD, RequestRecord::begun_word(begun));
            return;
        }
        let Some(slot) = slots.free.pop() else { return };
        let InFlightGuard { request, attempts, .. } = *guard;
        let record = RequestRecord { request, begun, attempts, holder: Holder::Server };
        self.0.table.put(slot, request.unique.get(), &record);
        guard.slot.store(slot, Ordering::Relaxed);
    }

    fn finish(&self, guard: &InFlightGuard) {
        let mut slots = self.0.slots.lock();
        if let Some(slot) = self.slot_of(guard) {
            self.release(slot, &mut slots);
        }
        drop(slots);
        self.0.threads.answered_one();
    }

    /// The slot of a request, if it is in the table. To be called with `slots` locked.
    fn slot_of(&self, guard: &InFlightGuard) -> Option<usize> {
        let slot = guard.slot.load(Ordering::Relaxed);
        (self.0.table.key(slot) == guard.request.unique.get()).then_some(slot)
    }

    fn release(&self, slot: usize, slots: &mut Slots) {
        slots.stop_waiting(slot);
        self.0.table.remove(slot);
        slots.free.push(slot);
    }

    /// Whether every request in the table is answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        (0..self.0.table.len()).all(|slot| self.0.table.key(slot) == 0)
    }

    /// The requests that threads are busy with.
    #[must_use]
    pub fn begun(&self) -> Vec<InFlightRequest> {
        let records = self.0.table.iter().map(|(_, _, record)| record);
        records.filter(|record| record.begun_by_server().is_some()).map(|record| record.request).collect()
    }

    /// Takes the blame from what is not answered: this server ends because it was told to. To be called once
    /// no request is fetched any more.
    pub(crate) fn leave_to_successor(&self) {
        let Inner { table, slots, .. } = self.0;
        let _slots = slots.lock();
        for (slot, _, record) in table.iter() {
            if record.begun_by_server().is_some() {
                table.replace(slot, RequestRecord::BEGUN_WORD, RequestRecord::begun_word(None));
            }
        }
    }

    /// The requests that the last server has left unanswered. To be called before this one enters any.
    #[must_use]
    pub fn orphaned(&self) -> Vec<OrphanedRequest> {
        let last_seen = self.0.threads.last_seen();
        let orphaned = |record: RequestRecord| {
            let RequestRecord { request, attempts, .. } = record;
            let begun = record.begun_by_server();
            let age = begun.map_or(Duration::ZERO, |begun| last_seen.since(begun));
            OrphanedRequest { request, age, attempts: attempts.saturating_add(begun.is_some().into()) }
        };
        self.0.table.iter().map(|(_, _, record)| orphaned(record)).collect()
    }

    /// Whether the last server has entered a request, be it answered or among the `orphaned`.
    pub(crate) fn has_tracked(&self, orphaned: &[OrphanedRequest], unique: Unique) -> bool {
        self.0.threads.is_latest(unique) || orphaned.iter().any(|left| left.request.unique == unique)
    }

    /// Takes over the table of a server that has left these requests, which are going to be fetched, or
    /// entered, again.
    pub(crate) fn resume(&self, orphaned: &[OrphanedRequest]) {
        let Inner { table, slots, resent, .. } = self.0;
        let mut slots = slots.lock();
        let mut found: HashMap<u64, usize> = HashMap::new();
        (slots.free, slots.waiting) = (Vec::with_capacity(table.len()), HashMap::new());
        // In reverse, so that the first slots are given out first and few pages are touched.
        for slot in (0..table.len()).rev() {
            let key = table.key(slot);
            let is_orphaned = || orphaned.iter().any(|left| left.request.unique.get() == key);
            if key != 0 && is_orphaned() && !found.contains_key(&key) {
                found.insert(key, slot);
                continue;
            }
            if key != 0 {
                table.remove(slot);
            }
            slots.free.push(slot);
        }
        slots.resent = HashMap::new();
        for left in orphaned {
            let unique = left.request.unique;
            let Some(slot) = found.remove(&unique.get()).or_else(|| slots.free.pop()) else { break };
            // A poisoned request stays poisoned until it is answered, whichever server does that.
            let attempts = if left.is_poisoned() { MAX_ATTEMPTS } else { left.attempts };
            let begun = Some(Moment::now());
            let record = RequestRecord { request: left.request, begun, attempts, holder: Holder::Kernel };
            table.put(slot, unique.get(), &record);
            slots.resent.insert(unique, (slot, attempts));
        }
        slots.resend_asked = Moment::now();
        resent.store(slots.resent.len(), Ordering::Relaxed);
    }

    /// Writes down that this server still runs, so that its successor knows for how long it has had the
    /// requests that it leaves. To be called regularly.
    pub fn mark_alive(&self) {
        let Inner { threads, table, slots, resent } = self.0;
        let now = Moment::now();
        threads.set_last_seen(now);
        if resent.load(Ordering::Relaxed) > 0 {
            let mut slots = slots.lock();
            if now.since(slots.resend_asked) > RESEND_TIMEOUT {
                for (slot, _) in std::mem::take(&mut slots.resent).into_values() {
                    table.remove(slot);
                    slots.free.push(slot);
                }
                resent.store(0, Ordering::Relaxed);
            }
        }
    }

    /// How many requests were answered on this connection.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.0.threads.answered()
    }

    /// Empties the table of a server that is not this one's predecessor.
    pub(crate) fn clear(&self) {
        self.0.table.clear();
        self.0.threads.clear();
    }

    /// Enters a request for as long as `answer` takes. A poisoned one is not answered: `answer` is dropped.
    #[cfg(test)]
    pub(crate) fn track_while<T>(&self, request: InFlightRequest, answer: impl FnOnce() -> T) -> Option<T> {
        let guard = self.track(request);
        (!guard.is_poisoned()).then(answer)
    }
}

#[cfg(test)]
mod tests;
