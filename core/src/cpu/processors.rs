//! The processors that a container has, and how long they have run it.

use crate::parse::cpu_list::CpuList;
use crate::parse::cpu_stat::CpuTime;
use crate::units::MilliCpus;

/// The processors of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpus {
    /// The host's processors that are online.
    pub online: CpuList,
    /// The processors that the reader's cpuset lets it run on; `None` where there is no cpuset controller.
    pub allowed: Option<CpuList>,
    /// The smallest bandwidth limit of all levels.
    pub quota: Option<MilliCpus>,
    /// How long they have run it; `None` where no cgroup of its own accounts for that.
    pub time: Option<CpuTime>,
    /// Whether the cgroup says something malformed about that.
    pub has_malformed_time: bool,
}

impl Cpus {
    /// The host's processors that stand for the container's: the first of those that it may run on, as many
    /// as its bandwidth limit can keep busy, and at least one.
    #[must_use]
    pub fn usable(&self) -> CpuList {
        let allowed =
            self.allowed.as_ref().map_or_else(|| self.online.clone(), |list| list.within(&self.online));
        // The kernel lets a cpuset whose processors are all offline run elsewhere.
        let allowed = if allowed.is_empty() { self.online.clone() } else { allowed };
        let most = self.quota.map_or(usize::MAX, MilliCpus::rounded_up);
        allowed.truncated(most.max(1))
    }

    /// How many processors the container sees.
    #[must_use]
    pub fn count(&self) -> usize {
        self.usable().len().max(1)
    }

    /// How much of the processors the container may use: its bandwidth limit, or all the processors that it
    /// sees.
    #[must_use]
    pub fn capacity(&self) -> MilliCpus {
        let all = MilliCpus::whole(self.count());
        self.quota.map_or(all, |quota| quota.min(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(online: &str, allowed: Option<&str>, quota: Option<u64>) -> Cpus {
        let list = |text: &str| CpuList::parse(format!("{text}\n").as_bytes()).unwrap();
        Cpus {
            online: list(online),
            allowed: allowed.map(list),
            quota: quota.map(MilliCpus::new),
            ..Cpus::default()
        }
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
