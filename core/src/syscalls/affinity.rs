//! sched_getaffinity(2): as many of the processors that a task may run on as its container has.

use crate::parse::cpu_list::CpuList;
use std::hash::{DefaultHasher, Hasher};

/// The processors that a task is told of which may run on `own`, in a container that has `count`; `None` if
/// those are no more, so that the kernel's answer is the right one.
///
/// A program may pin its threads to what it is told. So that those of all containers do not crowd the first
/// processors, each container, by the path of its cgroup, has others; and neighbours, for these share caches
/// and memory.
#[must_use]
pub fn share(own: &CpuList, count: usize, container: &[u8]) -> Option<CpuList> {
    let count = count.max(1);
    if own.len() <= count {
        return None;
    }
    let places = u64::try_from(own.len().div_ceil(count)).unwrap_or(u64::MAX);
    let place = usize::try_from(hash(container) % places).unwrap_or(0);
    // The last place may reach beyond the last processor.
    let first = (place * count).min(own.len() - count);
    Some(own.iter().skip(first).take(count).collect())
}

/// The same in every process of one build.
fn hash(path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(path);
    hasher.finish()
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
        let firsts: Vec<u32> =
            (0..64).map(|pod| share(&own, 2, &[b'/', pod]).unwrap().iter().next().unwrap()).collect();
        let mut distinct = firsts.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 20, "{firsts:?}");
        assert!(firsts.iter().filter(|&&first| first < 8).count() < 20, "{firsts:?}");
    }

    #[test]
    fn whoever_has_no_more_is_left_alone() {
        assert_eq!(share(&CpuList::first(2), 2, b"/"), None);
        assert_eq!(share(&CpuList::first(1), 2, b"/"), None);
        assert_eq!(share(&CpuList::first(1), 0, b"/"), None);
    }

    proptest! {
        #[test]
        fn a_share_is_a_part_and_always_the_same(
            own in prop::collection::btree_set(0u32..1024, 1..300), count in 0usize..300,
            container: Vec<u8>,
        ) {
            let own: CpuList = own.into_iter().collect();
            match share(&own, count, &container) {
                Some(part) => {
                    prop_assert_eq!(part.len(), count.max(1));
                    prop_assert_eq!(part.within(&own), part.clone());
                    prop_assert_eq!(share(&own, count, &container), Some(part));
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
