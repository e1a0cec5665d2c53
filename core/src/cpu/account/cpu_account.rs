//! The account of one container.

use super::times::{CpuCounters, CpuTimes, UserSystem};
use crate::cpu::processors::Cpus;
use crate::parse::cpu_stat::CpuTime;
use crate::time::{BootTime, Nanos};
use crate::units::MilliCpus;

/// How much more than its capacity a container may seem to run, for each processor: a period of the cpu
/// controller.
const IDLE_SLACK: Nanos = Nanos::from_micros(100_000);

/// A container's allotment of the host's processors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CpuAllotment {
    /// How many processors it sees.
    pub(super) count: usize,
    /// How much of them it may use.
    pub(super) capacity: MilliCpus,
}

impl CpuAllotment {
    fn of(cpus: &Cpus) -> Self {
        Self { count: cpus.count(), capacity: cpus.capacity() }
    }
}

/// A container's counters at one moment, and how they go on from there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuAccount {
    /// What the cgroup had run before the container started: a cgroup may be used again.
    pub(super) before: CpuTime,
    /// When the container got its present allotment.
    pub(super) since: BootTime,
    /// What it had run by then.
    pub(super) ran: UserSystem,
    /// The most that it was ever reported to have run.
    pub(super) seen: UserSystem,
    pub(super) allotment: CpuAllotment,
    /// What it could have run by then less what it had run, in nanoseconds: below 0 for a moment if that was
    /// more than it may.
    pub(super) idle_balance: i64,
    /// The most idle time that was ever reported.
    pub(super) reported_idle: Nanos,
    /// What each processor had counted by then, including those that the container does not see any more.
    pub(super) base: Vec<CpuTimes>,
}

impl CpuAccount {
    /// The account of a container that started at `start` and has had its present allotment since.
    #[must_use]
    pub fn new(start: BootTime, cpus: &Cpus) -> Self {
        let allotment = CpuAllotment::of(cpus);
        Self { since: start, allotment, base: vec![CpuTimes::default(); allotment.count], ..Self::default() }
    }

    /// The account of a container that started at `start` in a cgroup which had run for `before` by then.
    /// How much of that was spent in programs is not known, and taken to be the same part as of all until
    /// now.
    #[must_use]
    pub fn after(before: Nanos, start: BootTime, cpus: &Cpus) -> Self {
        let now = cpus.time.unwrap_or_default();
        let before = before.min(now.total);
        let part = |whole: u64| {
            let part = (u128::from(whole) * u128::from(before.get())).checked_div(now.total.get().into());
            u64::try_from(part.unwrap_or(0)).unwrap_or(u64::MAX)
        };
        let before = CpuTime { total: before, user: part(now.user), system: part(now.system) };
        Self { before, ..Self::new(start, cpus) }
    }

    /// The longest that the cgroup was ever reported to have run.
    #[must_use]
    pub fn total(&self) -> Nanos {
        self.before.total + self.seen.total()
    }

    /// The counters at `now`.
    pub fn advance(&mut self, now: BootTime, cpus: &Cpus) -> CpuCounters {
        let time = cpus.time.unwrap_or_default();
        let ran = self.seen.until(CpuTime {
            total: time.total - self.before.total,
            user: time.user.saturating_sub(self.before.user),
            system: time.system.saturating_sub(self.before.system),
        });
        self.seen = ran;
        let now = now.max(self.since);
        let idle_balance = self.idle_balance_at(now, ran);
        self.reported_idle = self.reported_idle.max(Nanos::new(idle_balance.try_into().unwrap_or(0)));
        // If more was run than the present allotment allows, the allotment was another for a while. That must
        // not be made up for by hours without idle time. But what is too much in one reading may be missing
        // in the next.
        let slack = signed(self.allotment.capacity.time_in(IDLE_SLACK));
        let debt = signed(self.reported_idle).saturating_sub(idle_balance).saturating_sub(slack);
        self.idle_balance = self.idle_balance.saturating_add(debt.max(0));
        if CpuAllotment::of(cpus) != self.allotment {
            self.rebase(now, ran, CpuAllotment::of(cpus));
        }
        self.counters(ran)
    }

    /// What each processor had counted when the allotment last changed.
    #[cfg(test)]
    pub(super) fn base(&self) -> &[CpuTimes] {
        &self.base
    }

    /// Counts from now on by another allotment.
    fn rebase(&mut self, now: BootTime, ran: UserSystem, allotment: CpuAllotment) {
        let counted = self.counters(ran).each;
        self.idle_balance = self.idle_balance_at(now, ran);
        self.base.splice(..counted.len(), counted);
        let count = self.base.len().max(allotment.count);
        self.base.resize(count, CpuTimes::default());
        (self.since, self.ran, self.allotment) = (now, ran, allotment);
    }

    fn idle_balance_at(&self, now: BootTime, ran: UserSystem) -> i64 {
        let could = self.allotment.capacity.time_in(now.since(self.since));
        let did = ran.total() - self.ran.total();
        self.idle_balance.saturating_add(signed(could)).saturating_sub(signed(did))
    }

    fn counters(&self, ran: UserSystem) -> CpuCounters {
        let count = self.allotment.count;
        // The idle time that was reported before the last rebase.
        let based: Nanos = self.base.iter().map(|cpu| cpu.idle).sum();
        let part = |whole: Nanos, index: usize| {
            Nanos::new(whole.get().saturating_add(index as u64) / count.max(1) as u64)
        };
        let each = self.base.iter().take(count).enumerate().map(|(index, base)| CpuTimes {
            user: base.user + part(ran.user - self.ran.user, index),
            system: base.system + part(ran.system - self.ran.system, index),
            idle: base.idle + part(self.reported_idle - based, index),
        });
        CpuCounters {
            all: CpuTimes { user: ran.user, system: ran.system, idle: self.reported_idle },
            each: each.collect(),
        }
    }
}

fn signed(time: Nanos) -> i64 {
    i64::try_from(time.get()).unwrap_or(i64::MAX)
}
