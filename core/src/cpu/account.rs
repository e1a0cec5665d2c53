//! What the processors of a container have counted: counters that never go back, whatever happens to the container's
//! share of the host's processors.
//!
//! The kernel tells how long all processors together have run a cgroup. Of that each processor that the container sees
//! is given an equal part, from the moment on that it sees so many; what it had counted before stays. Idle time is what
//! the container could have run, by its bandwidth limit, and did not.
//!
//! What was run in all is measured; how much of it was in programs and how much in the kernel is sampled. So the whole is
//! split by the ratio of the samples, as the kernel does for a process.

use super::processors::{CpuTime, Cpus};
use crate::parse::cpu_quota::MILLI;

/// One processor's counters, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// Time in programs.
    pub user: u64,
    /// Time in the kernel on their behalf.
    pub system: u64,
    /// Time that it could have run and did not.
    pub idle: u64,
}

/// What a container's `proc/stat` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuCounters {
    /// Of all processors that it ever had.
    pub all: CpuTimes,
    /// Of each that it has now.
    pub each: Vec<CpuTimes>,
}

/// What was run, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct UserSystem {
    user: u64,
    system: u64,
}

impl UserSystem {
    const fn total(self) -> u64 {
        self.user.saturating_add(self.system)
    }

    /// What was run by now, where this was by then: by the ratio of the parts, but neither of them ever goes back
    /// (`cputime_adjust()`, kernel/sched/cputime.c).
    fn until(self, time: CpuTime) -> Self {
        // A later reader may have an earlier reading.
        let total = time.total.max(self.total());
        let (user, system) = (u128::from(time.user), u128::from(time.system));
        let part = (u128::from(total) * system).checked_div(user + system).unwrap_or(0);
        let part = u64::try_from(part).unwrap_or(u64::MAX);
        let system = part.max(self.system).min(total.saturating_sub(self.user));
        Self { user: total - system, system }
    }
}

/// A container's counters at one moment, and how they go on from there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuAccount {
    /// What the cgroup had run before the container began: one may be used again.
    before: CpuTime,
    /// When the container got its present share, in nanoseconds after the boot.
    since: u64,
    /// What it had run by then.
    ran: UserSystem,
    /// The most that it was ever said to have run.
    seen: UserSystem,
    /// How many processors it sees, and how much of a processor it may use, in thousandths.
    share: (usize, u64),
    /// What could have been run by then less what was, which is below 0 for a moment if more was run than may be.
    idle_balance: i64,
    /// The most idle time that was ever reported_idle.
    reported_idle: u64,
    /// What each processor had counted by then, those included that it sees no more.
    base: Vec<CpuTimes>,
}

impl CpuAccount {
    /// The ledger of a container that started at `start` and had its present share since.
    #[must_use]
    pub fn new(start: u64, cpus: &Cpus) -> Self {
        let share = share(cpus);
        Self { since: start, share, base: vec![CpuTimes::default(); share.0], ..Self::default() }
    }

    /// The same in a cgroup that had run for `before` nanoseconds by then. How much of that was in programs is not known, and
    /// taken to be as much as of all until now.
    #[must_use]
    pub fn after(before: u64, start: u64, cpus: &Cpus) -> Self {
        let now = cpus.time.unwrap_or_default();
        let before = before.min(now.total);
        let part = |whole: u64| {
            let part = (u128::from(whole) * u128::from(before)).checked_div(u128::from(now.total));
            u64::try_from(part.unwrap_or(0)).unwrap_or(u64::MAX)
        };
        let before = CpuTime { total: before, user: part(now.user), system: part(now.system) };
        Self { before, ..Self::new(start, cpus) }
    }

    /// How long the cgroup was ever said to have run, in nanoseconds.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.before.total.saturating_add(self.seen.total())
    }

    /// The counters at `now`, in nanoseconds after the boot.
    pub fn advance(&mut self, now: u64, cpus: &Cpus) -> CpuCounters {
        let time = cpus.time.unwrap_or_default();
        let ran = self.seen.until(CpuTime {
            total: time.total.saturating_sub(self.before.total),
            user: time.user.saturating_sub(self.before.user),
            system: time.system.saturating_sub(self.before.system),
        });
        self.seen = ran;
        let now = now.max(self.since);
        let idle_balance = self.idle_balance_at(now, ran);
        self.reported_idle = self.reported_idle.max(idle_balance.try_into().unwrap_or(0));
        // More was run than the present share allows: it was another for a while. That is not to be made up for by hours
        // without idle time; but what one reading has too much the next may have too little.
        let slack = i64::try_from(self.share.1.saturating_mul(IDLE_SLACK) / MILLI).unwrap_or(i64::MAX);
        let debt = i64::try_from(self.reported_idle)
            .unwrap_or(i64::MAX)
            .saturating_sub(idle_balance)
            .saturating_sub(slack);
        self.idle_balance = self.idle_balance.saturating_add(debt.max(0));
        if share(cpus) != self.share {
            self.rebase(now, ran, share(cpus));
        }
        self.counters(ran)
    }

    /// Whether [`save`](Self::save) saves it.
    #[must_use]
    pub fn can_be_saved(&self) -> bool {
        self.base.len() <= MAX_CPUS
    }

    /// All of it in [`MAX_WORDS`] words at most, for [`restore`](Self::restore); `None` if it has more processors than fit.
    #[must_use]
    pub fn save(&self) -> Option<Vec<u64>> {
        if !self.can_be_saved() {
            return None;
        }
        let (count, capacity) = self.share;
        let head: [u64; HEADER_WORDS] = [
            self.since,
            self.ran.user,
            self.ran.system,
            self.seen.user,
            self.seen.system,
            count as u64,
            capacity,
            self.idle_balance.cast_unsigned(),
            self.reported_idle,
            self.base.len() as u64,
            self.before.total,
            self.before.user,
            self.before.system,
        ];
        let base = self.base.iter().flat_map(|cpu| [cpu.user, cpu.system, cpu.idle]);
        Some(head.into_iter().chain(base).collect())
    }

    /// What was saved; `None` if these words never were. No more of them are taken than were saved.
    #[must_use]
    pub fn restore(words: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut words = words.into_iter();
        let mut head = [0; HEADER_WORDS];
        for place in &mut head {
            *place = words.next()?;
        }
        let [
            since,
            user,
            system,
            seen_user,
            seen_system,
            count,
            capacity,
            idle_balance,
            reported_idle,
            length,
            before @ ..,
        ] = head;
        let number = |word: u64| usize::try_from(word).ok().filter(|&number| number <= MAX_CPUS);
        let (count, length) = (number(count)?, number(length)?);
        let mut cpu = || Some(CpuTimes { user: words.next()?, system: words.next()?, idle: words.next()? });
        let base = (0..length).map(|_| cpu()).collect::<Option<Vec<_>>>()?;
        let [total, before_user, before_system] = before;
        (0 < count && count <= length).then_some(Self {
            before: CpuTime { total, user: before_user, system: before_system },
            since,
            ran: UserSystem { user, system },
            seen: UserSystem { user: seen_user, system: seen_system },
            share: (count, capacity),
            idle_balance: idle_balance.cast_signed(),
            reported_idle,
            base,
        })
    }

    /// Begins anew with another share.
    fn rebase(&mut self, now: u64, ran: UserSystem, share: (usize, u64)) {
        let counted = self.counters(ran).each;
        self.idle_balance = self.idle_balance_at(now, ran);
        self.base.splice(..counted.len(), counted);
        let seen = self.base.len().max(share.0);
        self.base.resize(seen, CpuTimes::default());
        (self.since, self.ran, self.share) = (now, ran, share);
    }

    fn idle_balance_at(&self, now: u64, ran: UserSystem) -> i64 {
        let could = u128::from(now - self.since) * u128::from(self.share.1) / u128::from(MILLI);
        let did = ran.total() - self.ran.total();
        let could = i64::try_from(could).unwrap_or(i64::MAX);
        self.idle_balance.saturating_add(could).saturating_sub(i64::try_from(did).unwrap_or(i64::MAX))
    }

    fn counters(&self, ran: UserSystem) -> CpuCounters {
        let (count, _) = self.share;
        // Of the idle time that was reported_idle, what came since the last rebase.
        let based: u64 = self.base.iter().fold(0, |sum, cpu| sum.saturating_add(cpu.idle));
        let part = |whole: u64, place: usize| (whole.saturating_add(place as u64)) / (count.max(1) as u64);
        let each = self.base.iter().take(count).enumerate().map(|(place, base)| CpuTimes {
            user: base.user.saturating_add(part(ran.user - self.ran.user, place)),
            system: base.system.saturating_add(part(ran.system - self.ran.system, place)),
            idle: base.idle.saturating_add(part(self.reported_idle.saturating_sub(based), place)),
        });
        CpuCounters {
            all: CpuTimes { user: ran.user, system: ran.system, idle: self.reported_idle },
            each: each.collect(),
        }
    }
}

/// How much a processor may run more than it may, in nanoseconds: a period of the cpu controller.
const IDLE_SLACK: u64 = 100_000_000;

/// A ledger of no more processors can be saved. One of more begins anew, as if its share had always been what it is.
const MAX_CPUS: usize = 512;
const HEADER_WORDS: usize = 13;
/// How many words a saved ledger has at most.
pub const MAX_WORDS: usize = HEADER_WORDS + 3 * MAX_CPUS;

/// How many processors the container sees, and how much of a processor it may use, in thousandths.
fn share(cpus: &Cpus) -> (usize, u64) {
    (cpus.count(), cpus.capacity())
}

#[cfg(test)]
mod tests;
