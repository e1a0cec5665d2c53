//! The ledgers of the containers that were asked for.

use super::places::Places;
use crate::kernel::Life;
use crate::shares::Policy;
use crate::state::{Record, Table};
use cgprocfs_core::cpu::Cpus;
use cgprocfs_core::cpu::account::{CpuAccount, CpuCounters, MAX_WORDS};
use cgprocfs_core::error::ViewError;
use cgprocfs_core::machine::{TickRate, Ticks};
use cgprocfs_core::parse::uptime::uptime;
use cgprocfs_core::snapshot::{HostFile, Snapshot};
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// So many are kept in memory that outlives this process. What is never touched of that costs nothing.
pub const LEDGERS: usize = 1024;
/// What a predecessor left and nobody asked for in so long is a container that is gone.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// By the number of the container's cgroup, which is never used again.
pub(super) struct Ledgers {
    tick_rate: TickRate,
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
    /// When the container started, after the boot. What is known of that at first stays, so that its age never
    /// goes back when its oldest process ends.
    start: Ticks,
    /// When it was last known to run, in nanoseconds after the boot.
    seen: u64,
    /// Whether it had an init then.
    had_init: bool,
    ledger: CpuAccount,
}

impl StartedLedger {
    /// Whether whoever lives in its cgroup now is another container: its init has ended, and all that is there began after it
    /// was last known to run.
    fn is_over(&self, life: &Life, rate: TickRate) -> bool {
        self.had_init && rate.nanoseconds(life.start) > self.seen
    }
}

impl Record for StartedLedger {
    const VERSION: u64 = 2;
    const WORDS: usize = 3 + MAX_WORDS;

    /// The times alone, which are not restored, where the ledger is too large.
    fn save(&self) -> impl Iterator<Item = u64> {
        [self.start.get(), self.seen, self.had_init.into()]
            .into_iter()
            .chain(self.ledger.save().unwrap_or_default())
    }

    fn restore(words: &[u64]) -> Option<Self> {
        let (&[start, seen, had_init], ledger) = words.split_first_chunk()?;
        let ledger = CpuAccount::restore(ledger.iter().copied())?;
        Some(Self { start: Ticks::new(start), seen, had_init: had_init != 0, ledger })
    }
}

impl Ledgers {
    pub(super) fn new(tick_rate: TickRate) -> Self {
        let places = Places::new(LEDGERS, Policy::Replace);
        Self { tick_rate, open: Mutex::new(Open { by_container: HashMap::new(), places, since: None }) }
    }

    /// Keeps them in a table, and goes on with those that a predecessor has kept there.
    pub(super) fn keep(&self, table: Table<StartedLedger>) {
        let mut open = self.open.lock();
        open.since = Some(Instant::now());
        let left = open.places.resume(table);
        open.by_container
            .extend(left.into_iter().map(|(container, kept)| (container, Entry { path: None, kept })));
    }

    /// When the container of this number started, after the boot, if that is known, and it is still the one
    /// whose processes these are.
    pub(super) fn start(&self, container: u64, life: Option<&Life>) -> Option<Ticks> {
        let open = self.open.lock();
        let kept = &open.by_container.get(&container)?.kept;
        (!life.is_some_and(|life| kept.is_over(life, self.tick_rate))).then_some(kept.start)
    }

    /// The same, if it has no init with which it ends.
    pub(super) fn start_without_init(&self, container: u64) -> Option<Ticks> {
        let open = self.open.lock();
        let kept = &open.by_container.get(&container)?.kept;
        (!kept.had_init).then_some(kept.start)
    }

    /// The container of this number is known to run.
    pub(super) fn is_seen(&self, container: u64) {
        let now = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
        if let Some(entry) = self.open.lock().by_container.get_mut(&container) {
            entry.kept.seen = entry.kept.seen.max(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// What the processors of a container have counted, if it started when it seems to have. Nothing is kept.
    pub(super) fn provisional_counters(snapshot: &Snapshot) -> Result<CpuCounters, ViewError> {
        let moment = Moment::of(snapshot)?;
        Ok(moment.begin(0).advance(moment.now, moment.cpus))
    }

    /// What the processors of the container of this number, at this path, have counted by the moment of `snapshot`. `life` is
    /// what was seen of its processes, where it is certain that these are.
    pub(super) fn counters(
        &self,
        (container, path): (u64, &[u8]),
        snapshot: &Snapshot,
        life: Option<&Life>,
    ) -> Result<CpuCounters, ViewError> {
        let moment = Moment::of(snapshot)?;
        let Moment { now, cpus, start, rate } = moment;
        let mut open = self.open.lock();
        let Open { by_container, places, .. } = &mut *open;
        let begin =
            |before| StartedLedger { start, seen: now, had_init: false, ledger: moment.begin(before) };
        let begin_first = || Entry { path: None, kept: begin(moment.ran_before(life, None)) };
        let entry = by_container.entry(container).or_insert_with(begin_first);
        if let Some(life) = life {
            if entry.kept.is_over(life, rate) {
                entry.kept = begin(moment.ran_before(Some(life), Some(entry.kept.ledger.total())));
            }
            entry.kept.seen = entry.kept.seen.max(now);
            entry.kept.had_init = life.has_init();
        }
        let is_new = entry.path.is_none();
        let path = entry.path.get_or_insert_with(|| path.to_vec());
        let counters = entry.kept.ledger.advance(now, cpus);
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

/// So much more than it could a container may seem to have run.
const INEXACT: u64 = 1_000_000_000;

/// What a ledger goes by.
struct Moment<'s> {
    /// In nanoseconds after the boot.
    now: u64,
    cpus: &'s Cpus,
    /// Of the container, after the boot.
    start: Ticks,
    rate: TickRate,
}

impl<'s> Moment<'s> {
    fn of(snapshot: &'s Snapshot) -> Result<Self, ViewError> {
        let cpus = snapshot.cpus.as_ref().ok_or(ViewError::NotLoaded("the processors"))?;
        let start = snapshot.start.ok_or(ViewError::NotLoaded("the container's start"))?;
        let now = uptime(snapshot.host_file(HostFile::Uptime)?)
            .map_err(|e| ViewError::Malformed("/proc/uptime", e))?;
        Ok(Self { now: now.saturating_mul(10_000_000), cpus, start, rate: snapshot.machine.tick_rate })
    }

    /// Of a container whose cgroup had run for so many nanoseconds before.
    fn begin(&self, before: u64) -> CpuAccount {
        CpuAccount::after(before, self.start_in_nanoseconds(), self.cpus)
    }

    fn start_in_nanoseconds(&self) -> u64 {
        self.rate.nanoseconds(self.start).min(self.now)
    }

    /// How long the cgroup has run before the container began, in nanoseconds: if there was another in it, which is known or
    /// else seen by that all processors could not have run it for so long since, all but what its processes have run.
    fn ran_before(&self, life: Option<&Life>, of_another: Option<u64>) -> u64 {
        let total = self.cpus.time.unwrap_or_default().total;
        let processors = u64::try_from(self.cpus.online.len()).unwrap_or(u64::MAX);
        let most = (self.now - self.start_in_nanoseconds()).saturating_mul(processors);
        match life {
            Some(life) if of_another.is_some() || total > most.saturating_add(INEXACT) => {
                let own = self.rate.nanoseconds(life.ran).min(most);
                total.saturating_sub(own).max(of_another.unwrap_or(0))
            }
            _ => 0,
        }
    }
}
