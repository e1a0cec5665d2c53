//! Processor times, and how a total is split into its parts.

use crate::parse::cpu_stat::CpuTime;
use crate::time::Nanos;

/// One processor's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// Time spent in programs.
    pub user: Nanos,
    /// Time spent in the kernel on their behalf.
    pub system: Nanos,
    /// Time in which it could have run them and did not.
    pub idle: Nanos,
}

/// The counters of a container's processors, for `proc/stat`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuCounters {
    /// The sum of all processors that the container ever had.
    pub all: CpuTimes,
    /// Each processor that it has now.
    pub each: Vec<CpuTimes>,
}

/// Time that was run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct UserSystem {
    pub(super) user: Nanos,
    pub(super) system: Nanos,
}

impl UserSystem {
    pub(super) fn total(self) -> Nanos {
        self.user + self.system
    }

    /// The time that was run by a later reading: its total, split by the ratio of its parts so that neither
    /// part goes back (`cputime_adjust()`, kernel/sched/cputime.c).
    pub(super) fn until(self, time: CpuTime) -> Self {
        // Of two readers, the later one may have the earlier reading.
        let total = time.total.max(self.total());
        let (user, system) = (u128::from(time.user), u128::from(time.system));
        let part = (u128::from(total.get()) * system).checked_div(user + system).unwrap_or(0);
        let part = Nanos::new(u64::try_from(part).unwrap_or(u64::MAX));
        let system = part.max(self.system).min(total - self.user);
        Self { user: total - system, system }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(total: u64, user: u64, system: u64) -> CpuTime {
        CpuTime { total: Nanos::new(total), user, system }
    }

    fn parts(user: u64, system: u64) -> UserSystem {
        UserSystem { user: Nanos::new(user), system: Nanos::new(system) }
    }

    #[test]
    fn neither_part_goes_back_when_the_ratio_changes() {
        let ran = UserSystem::default().until(time(100, 1, 1));
        assert_eq!(ran, parts(50, 50));
        let ran = ran.until(time(110, 9, 1));
        assert_eq!(ran, parts(60, 50));
        let ran = ran.until(time(120, 9, 90));
        assert_eq!(ran, parts(60, 60));
        assert_eq!(UserSystem::default().until(time(9, 0, 0)), parts(9, 0));
        let most = time(u64::MAX, u64::MAX, u64::MAX);
        assert_eq!(UserSystem::default().until(most).total(), most.total);
    }

    proptest! {
        /// However the kernel samples the parts, they are the whole, and none goes back.
        #[test]
        fn parts_are_the_whole(readings in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 1..40)) {
            let mut before = UserSystem::default();
            for (total, user, system) in readings {
                let now = before.until(time(total, user, system));
                prop_assert!(now.user >= before.user && now.system >= before.system);
                prop_assert_eq!(now.user.get().checked_add(now.system.get()), Some(total.max(before.total().get())));
                before = now;
            }
        }
    }
}
