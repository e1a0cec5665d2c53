//! sched_getaffinity(2): as many of the processors that a task may run on as its container has.

use crate::parse::cpu_list::CpuList;
use crate::snapshot::{Needs, Scope, Snapshot};
use std::hash::{DefaultHasher, Hasher};

/// How many processors a container has, and which ones a task is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
pub struct CpuShare {
    count: usize,
    /// A number that is the container's own, or nearly so.
    seed: u64,
}

impl CpuShare {
    /// What has to be in the snapshot.
    pub const NEEDS: Needs = Needs::CPUS;

    /// The share of the snapshot's container, whose cgroup has that path; `None` in no container.
    #[must_use]
    pub fn of(snapshot: &Snapshot, container: &[u8]) -> Option<Self> {
        let (Scope::Container(_), Some(cpus)) = (&snapshot.scope, &snapshot.cpus) else { return None };
        Some(Self::new(cpus.count(), container))
    }

    fn new(count: usize, container: &[u8]) -> Self {
        // It gives the same in every process of one build.
        let mut hasher = DefaultHasher::new();
        hasher.write(container);
        Self { count: count.max(1), seed: hasher.finish() }
    }

    /// Those of its `own` processors that a task is told of; `None` if it may run on no more, so that the
    /// kernel's answer is the right one.
    ///
    /// A program may pin its threads to what it is told. So that those of all containers do not crowd the
    /// first processors, each container has others; and neighbours, for these share caches and memory.
    #[must_use]
    pub fn within(self, own: &CpuList) -> Option<CpuList> {
        if own.len() <= self.count {
            return None;
        }
        let runs = u64::try_from(own.len().div_ceil(self.count)).unwrap_or(u64::MAX);
        let run = usize::try_from(self.seed % runs).unwrap_or(0);
        // The last one may reach beyond the last processor.
        let first = (run * self.count).min(own.len() - self.count);
        Some(own.iter().skip(first).take(self.count).collect())
    }
}

/// The processors of a mask as the kernel writes it for a program: words of 64 bits, of which the lowest is
/// the first processor.
#[must_use]
pub fn of_mask(mask: &[u8]) -> CpuList {
    (0..mask.len() * 8)
        .filter(|&bit| mask[byte_of(bit)] >> (bit % 8) & 1 == 1)
        .filter_map(|bit| u32::try_from(bit).ok())
        .collect()
}

/// The mask of `length` bytes with these processors. Numbers beyond it are left out.
#[must_use]
pub fn to_mask(processors: &CpuList, length: usize) -> Vec<u8> {
    let mut mask = vec![0; length];
    for bit in processors.iter().filter_map(|number| usize::try_from(number).ok()) {
        if let Some(byte) = mask.get_mut(byte_of(bit)) {
            *byte |= 1 << (bit % 8);
        }
    }
    mask
}

const fn byte_of(bit: usize) -> usize {
    match cfg!(target_endian = "big") {
        true => (bit / 8) ^ 7,
        false => bit / 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_are_spread_over_the_host() {
        let own = CpuList::first(64);
        let firsts: Vec<u32> = (0..64)
            .map(|pod| CpuShare::new(2, &[b'/', pod]).within(&own).unwrap().iter().next().unwrap())
            .collect();
        let mut distinct = firsts.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 20, "{firsts:?}");
        assert!(firsts.iter().filter(|&&first| first < 8).count() < 20, "{firsts:?}");
    }

    #[test]
    fn whoever_has_no_more_is_left_alone() {
        assert_eq!(CpuShare::new(2, b"/").within(&CpuList::first(2)), None);
        assert_eq!(CpuShare::new(2, b"/").within(&CpuList::first(1)), None);
        assert_eq!(CpuShare::new(0, b"/").within(&CpuList::first(1)), None);
    }

    proptest! {
        #[test]
        fn a_share_is_a_part_and_always_the_same(
            own in prop::collection::btree_set(0u32..1024, 1..300), count in 0usize..300,
            container: Vec<u8>,
        ) {
            let own: CpuList = own.into_iter().collect();
            let share = CpuShare::new(count, &container);
            match share.within(&own) {
                Some(part) => {
                    prop_assert_eq!(part.len(), count.max(1));
                    prop_assert_eq!(part.within(&own), part.clone());
                    prop_assert_eq!(CpuShare::new(count, &container).within(&own), Some(part));
                }
                None => prop_assert!(own.len() <= count.max(1)),
            }
        }

        #[test]
        fn masks_are_read_as_they_are_written(own in prop::collection::btree_set(0u32..512, 0..100)) {
            let own: CpuList = own.into_iter().collect();
            prop_assert_eq!(of_mask(&to_mask(&own, 64)), own.clone());
            let half: CpuList = own.iter().filter(|number| *number < 256).collect();
            prop_assert_eq!(of_mask(&to_mask(&own, 32)), half);
        }
    }
}
