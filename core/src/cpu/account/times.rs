//! Processor times, and how a total is split into its parts.

use crate::parse::cpu_stat::CpuTime;

/// One processor's counters, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// Time spent in programs.
    pub user: u64,
    /// Time spent in the kernel on their behalf.
    pub system: u64,
    /// Time in which it could have run them and did not.
    pub idle: u64,
}

/// The counters of a container's processors, for `proc/stat`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuCounters {
    /// The sum of all processors that the container ever had.
    pub all: CpuTimes,
    /// Each processor that it has now.
    pub each: Vec<CpuTimes>,
}

/// Time that was run, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct UserSystem {
    pub(super) user: u64,
    pub(super) system: u64,
}

impl UserSystem {
    pub(super) const fn total(self) -> u64 {
        self.user.saturating_add(self.system)
    }

    /// The time that was run by a later reading: its total, split by the ratio of its parts so that neither
    /// part goes back (`cputime_adjust()`, kernel/sched/cputime.c).
    pub(super) fn until(self, time: CpuTime) -> Self {
        // Of two readers, the later one may have the earlier reading.
        let total = time.total.max(self.total());
        let (user, system) = (u128::from(time.user), u128::from(time.system));
        let part = (u128::from(total) * system).checked_div(user + system).unwrap_or(0);
        let part = u64::try_from(part).unwrap_or(u64::MAX);
        let system = part.max(self.system).min(total.saturating_sub(self.user));
        Self { user: total - system, system }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
    }
}
