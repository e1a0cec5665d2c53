//! The ledgers of the containers that were asked for.

use crate::ledger::{Counters, Ledger, WORDS};
use crate::parse::uptime::uptime;
use crate::snapshot::{Native, Snapshot};
use crate::view::ViewError;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How much of the memory that outlives this process they take, in words of 64 bits: a container's number, its start, then
/// its ledger.
const SLOT: usize = 2 + WORDS;
const SLOTS: usize = 1024;
/// All of it. What is never touched costs nothing.
pub const LEDGER_WORDS: usize = SLOT * SLOTS;
/// What a predecessor left and nobody asked for in so long is a container that is gone.
const PATIENCE: Duration = Duration::from_hours(24);

/// By the number of the container's cgroup, which is never used again.
#[derive(Default)]
pub(super) struct Ledgers {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    by_container: HashMap<u64, Entry>,
    /// Memory that outlives this process, if there is any.
    kept: &'static [AtomicU64],
    since: Option<Instant>,
}

struct Entry {
    /// `None` of what a predecessor left, until it is asked for.
    path: Option<Vec<u8>>,
    /// When the container started, in clock ticks after the boot. What is known of that at first stays, so that its age never
    /// goes back when its oldest process ends.
    start: u64,
    ledger: Ledger,
    /// Where it is kept.
    slot: Option<usize>,
}

impl Ledgers {
    /// Keeps them in `words`, and goes on with those that a predecessor has kept there.
    pub(super) fn keep(&self, words: &'static [AtomicU64]) {
        let mut open = self.open.lock();
        (open.kept, open.since) = (words, Some(Instant::now()));
        for (slot, words) in words.chunks_exact(SLOT).enumerate() {
            let container = words[0].load(Ordering::Acquire);
            if container == 0 {
                continue;
            }
            let mut saved = words[1..].iter().map(|word| word.load(Ordering::Relaxed));
            let start = saved.next().unwrap_or(0);
            match Ledger::restore(saved) {
                Some(ledger) => {
                    let entry = Entry { path: None, start, ledger, slot: Some(slot) };
                    open.by_container.insert(container, entry);
                }
                None => words[0].store(0, Ordering::Relaxed),
            }
        }
    }

    /// When the container of this number started, in clock ticks after the boot, if that is known.
    pub(super) fn start(&self, container: u64) -> Option<u64> {
        self.open.lock().by_container.get(&container).map(|entry| entry.start)
    }

    /// What the processors of the container of this number, at this path, have counted by the moment of `snapshot`.
    pub(super) fn counters(
        &self,
        (container, path): (u64, &[u8]),
        snapshot: &Snapshot,
    ) -> Result<Counters, ViewError> {
        let cpus = snapshot.cpus.as_ref().ok_or(ViewError::NotLoaded("the processors"))?;
        let start = snapshot.start.ok_or(ViewError::NotLoaded("the container's start"))?;
        let now =
            uptime(snapshot.native(Native::Uptime)?).map_err(|e| ViewError::Malformed("/proc/uptime", e))?;
        let now = now.saturating_mul(10_000_000);
        let mut open = self.open.lock();
        let begin = Ledger::new(start.saturating_mul(nanoseconds_per_tick()).min(now), cpus);
        let slot = match open.by_container.contains_key(&container) {
            // It would take the place without ever filling it.
            false if begin.save().is_some() => open.free_slot(),
            _ => None,
        };
        let begin = || Entry { path: None, start, ledger: begin, slot };
        let kept = open.kept;
        let entry = open.by_container.entry(container).or_insert_with(begin);
        entry.path.get_or_insert_with(|| path.to_vec());
        let counters = entry.ledger.at(now, cpus);
        if let Some(slot) = entry.slot {
            let words = &kept[slot * SLOT..][..SLOT];
            match entry.ledger.save() {
                Some(saved) => put(words, container, std::iter::once(entry.start).chain(saved)),
                // What it was while it was smaller is not what it is.
                None => words[0].store(0, Ordering::Relaxed),
            }
        }
        Ok(counters)
    }

    /// Closes those of containers that `exists` denies.
    pub(super) fn sweep(&self, exists: impl Fn(u64, &[u8]) -> bool) {
        let (all, is_late) = {
            let open = self.open.lock();
            let all: Vec<_> =
                open.by_container.iter().map(|(&number, entry)| (number, entry.path.clone())).collect();
            (all, open.since.is_some_and(|since| since.elapsed() > PATIENCE))
        };
        let is_gone = |(number, path): &(u64, Option<Vec<u8>>)| match path {
            Some(path) => !exists(*number, path),
            None => is_late,
        };
        let gone: Vec<_> = all.into_iter().filter(is_gone).collect();
        let mut open = self.open.lock();
        for (number, _) in gone {
            if let Some(slot) = open.by_container.remove(&number).and_then(|entry| entry.slot) {
                open.kept[slot * SLOT].store(0, Ordering::Relaxed);
            }
        }
        let in_use = open.by_container.len();
        open.by_container.shrink_to(in_use * 2);
    }
}

impl Open {
    /// One that nobody has, or that of a predecessor's container that nobody has asked for yet.
    fn free_slot(&mut self) -> Option<usize> {
        let free = self.kept.chunks_exact(SLOT).position(|slot| slot[0].load(Ordering::Relaxed) == 0);
        free.or_else(|| {
            let unclaimed = self.by_container.iter().find(|(_, entry)| entry.path.is_none())?;
            let number = *unclaimed.0;
            self.by_container.remove(&number)?.slot
        })
    }
}

/// A process that dies in the middle of it leaves nothing rather than half of it.
fn put(slot: &[AtomicU64], container: u64, saved: impl Iterator<Item = u64>) {
    slot[0].store(0, Ordering::Release);
    slot[1..].iter().zip(saved).for_each(|(to, from)| to.store(from, Ordering::Relaxed));
    slot[0].store(container, Ordering::Release);
}

fn nanoseconds_per_tick() -> u64 {
    1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)
}
