//! The CPU accounts of the containers whose processor times were asked for.

use super::retained_records::RetainedRecords;
use super::start_times::Seen;
use crate::kernel::{CgroupId, CgroupRef, Life};
use crate::shares::{Policy, entry_weight, excess};
use crate::state::{ContainerAccount, MAX_CPU_ACCOUNTS, Table};
use cgprocfs_core::cpu::Cpus;
use cgprocfs_core::cpu::account::{CpuAccount, CpuCounters};
use cgprocfs_core::error::ViewError;
use cgprocfs_core::snapshot::Snapshot;
use cgprocfs_core::time::{BootTime, Nanos, TickRate, Ticks};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long an account that a predecessor left is kept while nobody asks for its container, which is gone
/// then.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// The most accounts, or fewer with long paths, whether or not there is room to retain them: a tenant may
/// have any number of cgroups.
const MAX_ACCOUNTS: usize = 32_768;

/// CPU accounts by the id of the container's cgroup, which the kernel never gives out twice.
pub(in crate::service) struct CpuAccounts {
    tick_rate: TickRate,
    accounts: Mutex<Accounts>,
}

struct Accounts {
    by_container: HashMap<CgroupId, Entry>,
    /// The [weight](entry_weight) of all of them.
    weight: usize,
    retained: RetainedRecords<ContainerAccount>,
    /// When this process has taken the accounts of a predecessor over.
    attached: Option<Instant>,
}

impl Accounts {
    /// Drops accounts where there are `max`, those of the heaviest branches of the hierarchy. Such a
    /// container begins anew.
    fn make_room(&mut self, max: usize) {
        if self.weight < max {
            return;
        }
        let held = self.by_container.iter().map(|(&id, entry)| (id, entry.path(), entry.weight()));
        for id in excess(held, max - max / 8) {
            self.remove(id);
        }
    }

    fn remove(&mut self, container: CgroupId) {
        self.weight -= self.by_container.remove(&container).map_or(0, |entry| entry.weight());
        self.retained.release(container.get());
    }
}

struct Entry {
    /// The path of the cgroup; `None` for what a predecessor left, until it is asked for.
    path: Option<Vec<u8>>,
    record: ContainerAccount,
}

impl Entry {
    fn path(&self) -> &[u8] {
        self.path.as_deref().unwrap_or(b"")
    }

    fn weight(&self) -> usize {
        entry_weight(self.path())
    }
}

/// Whether the processes in a cgroup are of another container than the account: its init has ended, and they
/// all began after it was last known to run, or in the same tick.
fn is_over(record: &ContainerAccount, life: &Life, rate: TickRate) -> bool {
    let last_seen = rate.ticks(record.last_seen.since(BootTime::default()));
    record.had_init && life.start != record.start && life.start >= last_seen
}

impl CpuAccounts {
    pub(in crate::service) fn new(tick_rate: TickRate) -> Self {
        let retained = RetainedRecords::new(MAX_CPU_ACCOUNTS, Policy::Replace);
        let accounts = Accounts { by_container: HashMap::new(), weight: 0, retained, attached: None };
        Self { tick_rate, accounts: Mutex::new(accounts) }
    }

    /// Stores the accounts in a table from now on, and goes on with those that a predecessor has stored
    /// there.
    pub(in crate::service) fn attach(&self, table: Table<ContainerAccount>) {
        let mut accounts = self.accounts.lock();
        accounts.attached = Some(Instant::now());
        let orphaned = accounts.retained.resume(table);
        for (id, record) in orphaned {
            let entry = Entry { path: None, record };
            accounts.weight += entry.weight();
            accounts.by_container.insert(CgroupId::new(id), entry);
        }
    }

    /// When a container started, after the host's boot; `None` where that is not known, or `life` is that of
    /// another container in the same cgroup.
    pub(in crate::service) fn start(&self, container: CgroupId, life: Option<&Life>) -> Option<Ticks> {
        let accounts = self.accounts.lock();
        let record = &accounts.by_container.get(&container)?.record;
        (!life.is_some_and(|life| is_over(record, life, self.tick_rate))).then_some(record.start)
    }

    /// When a container without an init process started, after the host's boot; `None` for one that ends with
    /// its init.
    pub(in crate::service) fn start_without_init(&self, container: CgroupId) -> Option<Ticks> {
        let accounts = self.accounts.lock();
        let record = &accounts.by_container.get(&container)?.record;
        (!record.had_init).then_some(record.start)
    }

    /// Notes when a container was last known to run.
    pub(in crate::service) fn mark_seen(&self, container: CgroupId, at: BootTime) {
        if let Some(entry) = self.accounts.lock().by_container.get_mut(&container) {
            let last_seen = &mut entry.record.last_seen;
            *last_seen = (*last_seen).max(at);
        }
    }

    /// The counters of a container's processors, if it started when it seems to have. Nothing is remembered.
    pub(in crate::service) fn provisional_counters(snapshot: &Snapshot) -> Result<CpuCounters, ViewError> {
        let inputs = AccountInputs::of(snapshot)?;
        Ok(inputs.open_account(Nanos::ZERO).advance(inputs.now, inputs.cpus))
    }

    /// The counters of a container's processors at the moment of `snapshot`. `seen` is what was seen of its
    /// processes, where these are certain to be its own.
    pub(in crate::service) fn counters(
        &self,
        container: CgroupRef<'_>,
        snapshot: &Snapshot,
        seen: Option<&Seen>,
    ) -> Result<CpuCounters, ViewError> {
        let inputs = AccountInputs::of(snapshot)?;
        let AccountInputs { now, cpus, start, rate } = inputs;
        let mut accounts = self.accounts.lock();
        accounts.make_room(MAX_ACCOUNTS);
        let Accounts { by_container, weight, retained, .. } = &mut *accounts;
        let open = |before| ContainerAccount {
            start,
            // Not the snapshot's moment: while that was read, another container may have begun in the cgroup.
            last_seen: seen.map_or(now, |seen| seen.at),
            had_init: false,
            account: inputs.open_account(before),
        };
        let life = seen.map(|seen| &*seen.life);
        let open_first = || {
            *weight += entry_weight(b"");
            Entry { path: None, record: open(inputs.ran_before(life, None)) }
        };
        let entry = by_container.entry(container.id).or_insert_with(open_first);
        if let Some(Seen { life, at }) = seen {
            if is_over(&entry.record, life, rate) {
                entry.record = open(inputs.ran_before(Some(life), Some(entry.record.account.total())));
            }
            entry.record.last_seen = entry.record.last_seen.max(*at);
            entry.record.had_init = life.has_init();
        }
        let is_new = entry.path.is_none();
        let path = entry.path.get_or_insert_with(|| {
            *weight += entry_weight(container.path) - entry_weight(b"");
            container.path.to_vec()
        });
        let counters = entry.record.account.advance(now, cpus);
        if entry.record.account.can_be_saved() {
            match is_new {
                // A container that loses its place to this one goes on with what this process knows.
                true => drop(retained.claim(container.id.get(), path)),
                false => retained.claim_if_free(container.id.get(), path),
            }
            retained.put(container.id.get(), &entry.record);
        } else {
            // What was saved while the account was smaller is out of date.
            retained.release(container.id.get());
        }
        Ok(counters)
    }

    /// Drops the accounts of containers that do not exist any more, according to `exists`.
    pub(in crate::service) fn sweep(&self, exists: impl Fn(CgroupRef<'_>) -> bool) {
        let (all, is_late) = {
            let accounts = self.accounts.lock();
            let paths = accounts.by_container.iter().map(|(&id, entry)| (id, entry.path.clone()));
            let all: Vec<_> = paths.collect();
            (all, accounts.attached.is_some_and(|attached| attached.elapsed() > ORPHAN_TIMEOUT))
        };
        let is_gone = |(id, path): &(CgroupId, Option<Vec<u8>>)| match path {
            Some(path) => !exists(CgroupRef { id: *id, path }),
            None => is_late,
        };
        let gone: Vec<_> = all.into_iter().filter(is_gone).collect();
        let mut accounts = self.accounts.lock();
        for (container, _) in gone {
            accounts.remove(container);
        }
        let in_use = accounts.by_container.len();
        accounts.by_container.shrink_to(in_use * 2);
    }
}

/// How much more than it could a container may seem to have run: neither its start nor its time is exact.
const TOLERANCE: Nanos = Nanos::SECOND;

/// What an account is opened and advanced with.
struct AccountInputs<'s> {
    now: BootTime,
    cpus: &'s Cpus,
    /// When the container started, after the host's boot.
    start: Ticks,
    rate: TickRate,
}

impl<'s> AccountInputs<'s> {
    fn of(snapshot: &'s Snapshot) -> Result<Self, ViewError> {
        let cpus = snapshot.cpus.as_ref().ok_or(ViewError::NotLoaded("the processors"))?;
        let start = snapshot.start.ok_or(ViewError::NotLoaded("the container's start"))?;
        let now = snapshot.uptime()?;
        Ok(Self { now, cpus, start, rate: snapshot.machine.tick_rate })
    }

    /// An account of a container whose cgroup had run for `before` when it started.
    fn open_account(&self, before: Nanos) -> CpuAccount {
        CpuAccount::after(before, self.start(), self.cpus)
    }

    /// When the container started, as far as that can be.
    fn start(&self) -> BootTime {
        self.rate.boot_time(self.start).min(self.now)
    }

    /// How long the cgroup had run before the container started. It was another container's
    /// then if that is known (`of_another` is how long that one had run), or if all processors together could
    /// not have run it for that long since the start. In that case all but what the container's own processes
    /// have run is from before.
    fn ran_before(&self, life: Option<&Life>, of_another: Option<Nanos>) -> Nanos {
        let total = self.cpus.time.unwrap_or_default().total;
        let processors = u64::try_from(self.cpus.online.len()).unwrap_or(u64::MAX);
        let possible = self.now.since(self.start()).times(processors);
        match life {
            Some(life) if of_another.is_some() || total > possible + TOLERANCE => {
                let own = self.rate.length_of(life.ran).min(possible);
                (total - own).max(of_another.unwrap_or_default())
            }
            _ => Nanos::ZERO,
        }
    }
}

#[cfg(test)]
mod tests;
