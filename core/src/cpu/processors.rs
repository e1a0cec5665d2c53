//! The processors that a container has, and how long they have run it.

use crate::parse::cpu_list::CpuList;
use crate::parse::cpu_quota::MILLI;

/// Processors as a container has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpus {
    /// The host's that are online.
    pub online: CpuList,
    /// Those that the reader's cpuset lets it run on; `None` where there is no cpuset controller.
    pub allowed: Option<CpuList>,
    /// The smallest bandwidth limit of all levels, in thousandths of a processor.
    pub quota: Option<u64>,
    /// `None` where the container has no cgroup of its own that is accounted for.
    pub time: Option<CpuTime>,
}

/// How long processors have run a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In all, in nanoseconds: what the scheduler has measured.
    pub total: u64,
    /// The part spent in its programs. This and [`system`](Self::system) may be counted by the tick of a clock, in a unit of its
    /// own, and then do not add up to the whole: it is their ratio that counts.
    pub user: u64,
    /// Of that in the kernel on their behalf.
    pub system: u64,
}

impl Cpus {
    /// The host's processors that stand for the container's: of those that it may run on, the first so many as its
    /// bandwidth fills at most, and at least one.
    #[must_use]
    pub fn usable(&self) -> CpuList {
        let allowed =
            self.allowed.as_ref().map_or_else(|| self.online.clone(), |list| list.within(&self.online));
        // A cpuset whose processors all went offline is let run elsewhere.
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

    /// How much of a processor it may use, in thousandths: its bandwidth, or all of the processors that it sees.
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
        Cpus { online: list(online), allowed: allowed.map(list), quota, time: None }
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
