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
mod tests {
    use super::*;
    use crate::parse::cpu_list::CpuList;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn cpus(count: usize, quota: Option<u64>, user: u64, system: u64) -> Cpus {
        let time = Some(CpuTime { total: user + system, user, system });
        Cpus { online: CpuList::first(count), allowed: None, quota, time }
    }

    #[test]
    fn a_spinner_on_half_a_processor_leaves_nothing_idle() {
        let mut ledger = CpuAccount::new(10 * SECOND, &cpus(4, Some(500), 0, 0));
        let counters = ledger.advance(20 * SECOND, &cpus(4, Some(500), 5 * SECOND, 0));
        assert_eq!(counters.each, [CpuTimes { user: 5 * SECOND, system: 0, idle: 0 }]);
        let counters = ledger.advance(30 * SECOND, &cpus(4, Some(500), 5 * SECOND, SECOND));
        assert_eq!(counters.all, CpuTimes { user: 5 * SECOND, system: SECOND, idle: 4 * SECOND });
    }

    #[test]
    fn time_is_spread_evenly() {
        let mut ledger = CpuAccount::new(0, &cpus(2, None, 0, 0));
        let counters = ledger.advance(10 * SECOND, &cpus(2, None, 3 * SECOND + 1, 0));
        assert_eq!(
            counters.each.iter().map(|cpu| cpu.user).collect::<Vec<_>>(),
            [SECOND * 3 / 2, SECOND * 3 / 2 + 1]
        );
        assert_eq!(counters.all.idle, 17 * SECOND - 1);
    }

    /// What was measured was read on a machine where two others wanted each processor; the parts were 11 % too much.
    #[test]
    fn the_whole_is_what_was_measured() {
        let time = CpuTime { total: 13_970_000_000, user: 739, system: 739 };
        let cpus = Cpus { time: Some(time), ..cpus(1, None, 0, 0) };
        let counters = CpuAccount::new(0, &cpus).advance(20 * SECOND, &cpus);
        assert_eq!((counters.all.user, counters.all.system), (6_985_000_000, 6_985_000_000));
        assert_eq!(counters.all.idle, 6_030_000_000);
    }

    #[test]
    fn neither_part_goes_back_when_the_ratio_changes() {
        let ran = UserSystem::default().until(CpuTime { total: 100, user: 1, system: 1 });
        assert_eq!(ran, UserSystem { user: 50, system: 50 });
        let ran = ran.until(CpuTime { total: 110, user: 9, system: 1 });
        assert_eq!(ran, UserSystem { user: 60, system: 50 });
        let ran = ran.until(CpuTime { total: 120, user: 9, system: 90 });
        assert_eq!(ran, UserSystem { user: 60, system: 60 });
        assert_eq!(
            UserSystem::default().until(CpuTime { total: 9, user: 0, system: 0 }),
            UserSystem { user: 9, system: 0 }
        );
        let most = CpuTime { total: u64::MAX, user: u64::MAX, system: u64::MAX };
        assert_eq!(UserSystem::default().until(most).total(), u64::MAX);
    }

    #[test]
    fn what_was_run_before_the_container_is_not_its_own() {
        let mut ledger =
            CpuAccount::after(100 * SECOND, 10 * SECOND, &cpus(2, None, 90 * SECOND, 15 * SECOND));
        let counters = ledger.advance(20 * SECOND, &cpus(2, None, 90 * SECOND, 15 * SECOND));
        assert_eq!(counters.all.user + counters.all.system, 5 * SECOND);
        assert_eq!(counters.all.idle, 15 * SECOND);
        let mut ledger = CpuAccount::restore(ledger.save().unwrap()).unwrap();
        let later = ledger.advance(30 * SECOND, &cpus(2, None, 100 * SECOND, 15 * SECOND));
        assert_eq!(later.all.user + later.all.system, 15 * SECOND);
        assert!(later.all.user - counters.all.user > 9 * SECOND, "{counters:?}, then {later:?}");
        assert_eq!(ledger.total(), 115 * SECOND);
    }

    #[test]
    fn idle_time_goes_on_after_a_share_that_was_larger() {
        // Four processors were busy for five minutes before the limit was lowered and anybody looked.
        let now = |second: u64, user: u64| (second * SECOND, cpus(4, Some(500), user * SECOND, 0));
        let (at, share) = now(600, 1200);
        let mut ledger = CpuAccount::new(0, &share);
        let before = ledger.advance(at, &share).all.idle;
        let (at, share) = now(610, 1200);
        let idle = ledger.advance(at, &share).all.idle - before;
        assert!((4 * SECOND..=5 * SECOND).contains(&idle), "{idle}");
    }

    #[test]
    fn words_that_are_no_ledger() {
        assert_eq!(CpuAccount::restore([0; MAX_WORDS]), None);
        assert_eq!(CpuAccount::restore([u64::MAX; MAX_WORDS]), None);
        let mut cut = CpuAccount::new(0, &cpus(2, None, 0, 0)).save().unwrap();
        assert!(CpuAccount::restore(cut.clone()).is_some());
        cut.pop();
        assert_eq!(CpuAccount::restore(cut), None);
        let many = CpuAccount::new(0, &cpus(MAX_CPUS + 1, None, 0, 0));
        assert_eq!(many.save(), None);
        let most = CpuAccount::new(0, &cpus(MAX_CPUS, None, 0, 0));
        assert_eq!(most.save().map(|words| words.len()), Some(MAX_WORDS));
    }

    #[test]
    fn an_earlier_reading_that_comes_later_changes_nothing() {
        let mut ledger = CpuAccount::new(0, &cpus(2, None, 0, 0));
        let later = ledger.advance(10 * SECOND, &cpus(2, None, 8 * SECOND, SECOND));
        assert_eq!(ledger.advance(9 * SECOND, &cpus(2, None, 7 * SECOND, 0)), later);
    }

    #[test]
    fn hidden_processors_come_back_with_what_they_had() {
        let mut ledger = CpuAccount::new(0, &cpus(2, None, 0, 0));
        ledger.advance(10 * SECOND, &cpus(2, None, 8 * SECOND, 0));
        let one = ledger.advance(20 * SECOND, &cpus(2, Some(1000), 8 * SECOND, 0));
        assert_eq!((one.each.len(), one.each[0].user), (1, 4 * SECOND));
        let one = ledger.advance(30 * SECOND, &cpus(2, Some(1000), 10 * SECOND, 0));
        assert_eq!(one.each[0].user, 6 * SECOND);
        let two = ledger.advance(40 * SECOND, &cpus(2, None, 10 * SECOND, 0));
        assert_eq!(two.each.iter().map(|cpu| cpu.user).collect::<Vec<_>>(), [6 * SECOND, 4 * SECOND]);
    }

    proptest! {
        /// However the kernel samples the parts, they are the whole, and none goes back.
        #[test]
        fn parts_are_the_whole(readings in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 1..40)) {
            let mut before = UserSystem::default();
            for (total, user, system) in readings {
                let now = before.until(CpuTime { total, user, system });
                prop_assert!(now.user >= before.user && now.system >= before.system);
                prop_assert_eq!(now.user.checked_add(now.system), Some(total.max(before.total())));
                before = now;
            }
        }

        /// Whatever is used, and whatever share the container gets, no counter goes back; the parts are the whole.
        #[test]
        fn nothing_ever_goes_back(
            steps in prop::collection::vec((0u64..5 * SECOND, 0u64..5 * SECOND, 0u64..SECOND, 1usize..9, prop::option::of(1u64..9000)), 1..60)
        ) {
            let (mut now, mut user, mut system) = (SECOND, 0, 0);
            let mut ledger: Option<CpuAccount> = None;
            let mut before = CpuCounters::default();
            let mut most = 0;
            for (passed, in_programs, in_kernel, count, quota) in steps {
                (now, user, system) = (now + passed, user + in_programs, system + in_kernel);
                let cpus = cpus(count, quota, user, system);
                // It is saved each time, and a restarted daemon goes on with that.
                let mut known = match &ledger {
                    Some(ledger) => CpuAccount::restore(ledger.save().unwrap()).unwrap(),
                    None => CpuAccount::new(SECOND, &cpus),
                };
                prop_assert_eq!(ledger.as_ref().unwrap_or(&known), &known);
                let counters = known.advance(now, &cpus);
                ledger = Some(known);
                prop_assert_eq!(counters.each.len(), cpus.count());
                prop_assert_eq!((counters.all.user, counters.all.system), (user, system));
                prop_assert!(counters.all.idle >= before.all.idle);
                // No more than all that it ever saw would have been idle since it started.
                most = most.max(counters.each.len() as u64);
                prop_assert!(counters.all.idle <= (now - SECOND) * most);
                for (now, before) in counters.each.iter().zip(&before.each) {
                    prop_assert!(now.user >= before.user && now.system >= before.system && now.idle >= before.idle);
                }
                let hidden = ledger.iter().flat_map(|ledger| &ledger.base).skip(counters.each.len());
                let sum = counters.each.iter().chain(hidden).fold(CpuTimes::default(), |sum, cpu| CpuTimes {
                    user: sum.user + cpu.user, system: sum.system + cpu.system, idle: sum.idle + cpu.idle,
                });
                prop_assert_eq!(sum, counters.all);
                before = counters;
            }
        }
    }
}
