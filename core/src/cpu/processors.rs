//! The processors that a container has, and how long they have run it.

use crate::parse::cpu_list::CpuList;
use crate::parse::cpu_quota::MILLI;

/// The processors of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpus {
    /// The host's processors that are online.
    pub online: CpuList,
    /// The processors that the reader's cpuset lets it run on; `None` where there is no cpuset controller.
    pub allowed: Option<CpuList>,
    /// The smallest bandwidth limit of all levels, in thousandths of a processor.
    pub quota: Option<u64>,
    /// How long they have run it; `None` where no cgroup of its own accounts for that.
    pub time: Option<CpuTime>,
    /// Whether the cgroup says something malformed about that.
    pub has_odd_time: bool,
}

/// How long processors have run a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// The whole time, in nanoseconds, as the scheduler has measured it.
    pub total: u64,
    /// The part spent in its programs. This and [`system`](Self::system) may be counted by clock ticks, in a unit of their own,
    /// and do not add up to the whole then: only their ratio means something.
    pub user: u64,
    /// The part spent in the kernel on their behalf.
    pub system: u64,
}

impl Cpus {
    /// The host's processors that stand for the container's: the first of those that it may run on, as many as its bandwidth
    /// limit can keep busy, and at least one.
    #[must_use]
    pub fn usable(&self) -> CpuList {
        let allowed =
            self.allowed.as_ref().map_or_else(|| self.online.clone(), |list| list.within(&self.online));
        // The kernel lets a cpuset whose processors are all offline run elsewhere.
        let allowed = if allowed.is_empty() { self.online.clone() } else { allowed };
        let most = self
            .quota
            .map_or(usize::MAX, |milli| usize::try_from(milli.div_ceil(MILLI)).unwrap_or(usize::MAX));
        allowed.truncated(most.max(1))
    }

    /// How many processors the container sees.
    #[must_use]
    pub fn count(&self) -> usize {
        self.usable().len().max(1)
    }

    /// How much of a processor the container may use, in thousandths: its bandwidth limit, or all the processors that it sees.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        let all = (self.count() as u64).saturating_mul(MILLI);
        self.quota.map_or(all, |quota| quota.min(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(online: &str, allowed: Option<&str>, quota: Option<u64>) -> Cpus {
        let list = |text: &str| CpuList::parse(format!("{text}\n").as_bytes()).unwrap();
        Cpus { online: list(online), allowed: allowed.map(list), quota, ..Cpus::default() }
    }

    #[test]
    fn processors_of_a_container() {
        assert_eq!(cpus("0-3", None, None).count(), 4);
        assert_eq!(cpus("0-3", None, Some(1500)).count(), 2);
        assert_eq!(cpus("0-3", None, Some(1)).count(), 1);
        assert_eq!(cpus("0-3", None, Some(0)).count(), 1);
        assert_eq!(cpus("0-3", None, Some(9000)).count(), 4);
        assert_eq!(cpus("0-3", Some("2-3"), Some(9000)).usable().to_string(), "2-3");
        assert_eq!(cpus("0-3", Some("1,3"), Some(1000)).usable().to_string(), "1");
        assert_eq!(cpus("0-1", Some("2-3"), None).count(), 2, "a cpuset that is offline as a whole");
    }
}
