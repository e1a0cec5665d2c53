//! The ledgers of the containers that were asked for.

use super::places::Places;
use crate::ledger::{Counters, Ledger, WORDS};
use crate::parse::uptime::uptime;
use crate::shared::{Record, Table};
use crate::shares::Policy;
use crate::snapshot::{Cpus, Native, Snapshot};
use crate::view::ViewError;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// So many are kept in memory that outlives this process. What is never touched of that costs nothing.
pub const LEDGERS: usize = 1024;
/// What a predecessor left and nobody asked for in so long is a container that is gone.
const PATIENCE: Duration = Duration::from_hours(24);

/// By the number of the container's cgroup, which is never used again.
pub(super) struct Ledgers {
    open: Mutex<Open>,
}

struct Open {
    by_container: HashMap<u64, Entry>,
    places: Places<StartedLedger>,
    since: Option<Instant>,
}

struct Entry {
    /// `None` of what a predecessor left, until it is asked for.
    path: Option<Vec<u8>>,
    kept: StartedLedger,
}

/// What is known of the processors of a container.
pub struct StartedLedger {
    /// When the container started, in clock ticks after the boot. What is known of that at first stays, so that its age never
    /// goes back when its oldest process ends.
    start: u64,
    ledger: Ledger,
}

impl Record for StartedLedger {
    const VERSION: u64 = 1;
    const WORDS: usize = 1 + WORDS;

    /// The start alone, which is not restored, where the ledger is too large.
    fn save(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.start).chain(self.ledger.save().unwrap_or_default())
    }

    fn restore(words: &[u64]) -> Option<Self> {
        let (&start, ledger) = words.split_first()?;
        Some(Self { start, ledger: Ledger::restore(ledger.iter().copied())? })
    }
}

impl Ledgers {
    pub(super) fn new() -> Self {
        let places = Places::new(LEDGERS, Policy::Replace);
        Self { open: Mutex::new(Open { by_container: HashMap::new(), places, since: None }) }
    }

    /// Keeps them in a table, and goes on with those that a predecessor has kept there.
    pub(super) fn keep(&self, table: Table<StartedLedger>) {
        let mut open = self.open.lock();
        open.since = Some(Instant::now());
        let left = open.places.resume(table);
        open.by_container
            .extend(left.into_iter().map(|(container, kept)| (container, Entry { path: None, kept })));
    }

    /// When the container of this number started, in clock ticks after the boot, if that is known.
    pub(super) fn start(&self, container: u64) -> Option<u64> {
        self.open.lock().by_container.get(&container).map(|entry| entry.kept.start)
    }

    /// What the processors of a container have counted, if it started when it seems to have. Nothing is kept.
    pub(super) fn provisional_counters(snapshot: &Snapshot) -> Result<Counters, ViewError> {
        let moment = Moment::of(snapshot)?;
        Ok(moment.begin().at(moment.now, moment.cpus))
    }

    /// What the processors of the container of this number, at this path, have counted by the moment of `snapshot`.
    pub(super) fn counters(
        &self,
        (container, path): (u64, &[u8]),
        snapshot: &Snapshot,
    ) -> Result<Counters, ViewError> {
        let moment = Moment::of(snapshot)?;
        let Moment { now, cpus, start } = moment;
        let mut open = self.open.lock();
        let begin = || Entry { path: None, kept: StartedLedger { start, ledger: moment.begin() } };
        let Open { by_container, places, .. } = &mut *open;
        let entry = by_container.entry(container).or_insert_with(begin);
        let is_new = entry.path.is_none();
        let path = entry.path.get_or_insert_with(|| path.to_vec());
        let counters = entry.kept.ledger.at(now, cpus);
        if entry.kept.ledger.can_be_saved() {
            match is_new {
                // Whoever loses its place goes on with what this process knows.
                true => drop(places.claim(container, path)),
                false => places.claim_if_free(container, path),
            }
            places.put(container, &entry.kept);
        } else {
            // What it was while it was smaller is not what it is.
            places.release(container);
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
            open.by_container.remove(&number);
            open.places.release(number);
        }
        let in_use = open.by_container.len();
        open.by_container.shrink_to(in_use * 2);
    }
}

/// What a ledger goes by.
struct Moment<'s> {
    /// In nanoseconds after the boot.
    now: u64,
    cpus: &'s Cpus,
    /// Of the container, in clock ticks after the boot.
    start: u64,
}

impl<'s> Moment<'s> {
    fn of(snapshot: &'s Snapshot) -> Result<Self, ViewError> {
        let cpus = snapshot.cpus.as_ref().ok_or(ViewError::NotLoaded("the processors"))?;
        let start = snapshot.start.ok_or(ViewError::NotLoaded("the container's start"))?;
        let now =
            uptime(snapshot.native(Native::Uptime)?).map_err(|e| ViewError::Malformed("/proc/uptime", e))?;
        Ok(Self { now: now.saturating_mul(10_000_000), cpus, start })
    }

    fn begin(&self) -> Ledger {
        Ledger::new(self.start.saturating_mul(nanoseconds_per_tick()).min(self.now), self.cpus)
    }
}

fn nanoseconds_per_tick() -> u64 {
    1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)
}
