//! What is not counted as it comes and goes: who has to give way is found out once there is too much.

use super::path::MAX_DEPTH;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap, VecDeque};

/// The keys of those who have to give way so that no more than `capacity` is held. `held` are all of them,
/// the least recently used one first, each with the path of its cgroup and its weight.
///
/// As with [`Shares`](super::Shares), the heaviest branch gives way until it is no heavier than the next.
/// Going through all of them takes time, so a cache has to make room for more than the next newcomer.
pub fn excess<'p, K>(held: impl IntoIterator<Item = (K, &'p [u8], usize)>, capacity: usize) -> Vec<K> {
    let mut keys = Vec::new();
    let mut all = Holders::default();
    for (key, path, weight) in held {
        keys.push(Some(key));
        all.rests.push(path);
        all.weights.push(weight);
    }
    let mut root = Branch::whole((0..keys.len()).collect(), 0, &all);
    let mut excess = Vec::new();
    while root.weight > capacity {
        let Some(holder) = root.give(&mut all) else { break };
        excess.extend(keys[holder].take());
    }
    excess
}

/// The order in which cached things are evicted, by when each was used last: first those that were not used
/// while others were again and again. Of the rest any may be the next to be asked for. Where each is asked in
/// its turn, the one that was used least lately is always the next, and to evict that would leave nothing of
/// the cache.
pub const fn eviction_order(last_used: u64, is_in_use: bool) -> (bool, u64) {
    // A number that tells nothing of those before and after it (Fibonacci hashing).
    let scattered = last_used.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    (is_in_use, if is_in_use { scattered } else { last_used })
}

/// Holders, by their index in the order of their use.
#[derive(Default)]
struct Holders<'p> {
    /// The part of each path that is below the present level.
    rests: Vec<&'p [u8]>,
    weights: Vec<usize>,
}

/// Some of the holders. They are not divided into branches before they have to give way: most never are.
struct Branch {
    weight: usize,
    /// The index of the holder that gives way next, as far as is known.
    next: usize,
    depth: usize,
    parts: Parts,
}

enum Parts {
    Whole(Vec<usize>),
    Divided(BinaryHeap<Branch>),
    /// Holders in one cgroup, or too deep to be told apart.
    Cgroup(VecDeque<usize>),
}

impl Branch {
    fn whole(holders: Vec<usize>, depth: usize, all: &Holders<'_>) -> Self {
        let weight = holders.iter().map(|&holder| all.weights[holder]).sum();
        let next = holders.first().copied().unwrap_or(usize::MAX);
        Self { weight, next, depth, parts: Parts::Whole(holders) }
    }

    fn give(&mut self, all: &mut Holders<'_>) -> Option<usize> {
        if let Parts::Whole(holders) = &mut self.parts {
            self.parts = divide(std::mem::take(holders), &mut self.depth, all);
        }
        let (given, next) = match &mut self.parts {
            Parts::Whole(_) => return None,
            Parts::Cgroup(holders) => (holders.pop_front()?, holders.front().copied()),
            Parts::Divided(branches) => {
                let given = branches.peek_mut()?.give(all)?;
                (given, branches.peek().map(|branch| branch.next))
            }
        };
        self.weight -= all.weights[given];
        self.next = next.unwrap_or(usize::MAX);
        Some(given)
    }
}

/// Divides holders by the next name in which their paths differ.
fn divide(holders: Vec<usize>, depth: &mut usize, all: &mut Holders<'_>) -> Parts {
    while holders.len() > 1 && *depth < MAX_DEPTH {
        *depth += 1;
        let mut by_name: HashMap<Option<&[u8]>, Vec<usize>> = HashMap::new();
        for &holder in &holders {
            by_name.entry(next_name(&mut all.rests[holder])).or_default().push(holder);
        }
        if by_name.contains_key(&None) && by_name.len() == 1 {
            break;
        }
        if by_name.len() > 1 {
            let branch = |(name, holders): (Option<&[u8]>, _)| {
                // The holders in the cgroup itself have no names left.
                Branch::whole(holders, if name.is_some() { *depth } else { MAX_DEPTH }, all)
            };
            return Parts::Divided(by_name.into_iter().map(branch).collect());
        }
    }
    Parts::Cgroup(holders.into())
}

/// The next name on the way down; `None` at its end.
fn next_name<'p>(rest: &mut &'p [u8]) -> Option<&'p [u8]> {
    let start = rest.iter().position(|&byte| byte != b'/')?;
    let name = &rest[start..];
    let end = name.iter().position(|&byte| byte == b'/').unwrap_or(name.len());
    *rest = &name[end..];
    Some(&name[..end])
}

/// The heaviest branch is the greatest; of several, the one whose next holder is the least recently used.
impl Ord for Branch {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.weight, Reverse(self.next)).cmp(&(other.weight, Reverse(other.next)))
    }
}

impl PartialOrd for Branch {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Branch {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Branch {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(held: &[(&'static str, usize)], most: usize) -> Vec<usize> {
        excess(held.iter().enumerate().map(|(key, (path, weight))| (key, path.as_bytes(), *weight)), most)
    }

    #[test]
    fn the_heaviest_gives_what_it_has_not_used_for_the_longest_time() {
        let held = [("/a", 1), ("/b/1", 2), ("/b/2", 1), ("/b/2", 1), ("/b", 2), ("/c", 1), ("/b/2/x", 1)];
        assert!(of(&held, 9).is_empty());
        assert_eq!(of(&held, 8), [2], "`/b/2` has most of `/b`, and its own are more than those below it");
        assert_eq!(of(&held, 4), [2, 1, 3, 4]);
        assert_eq!(of(&held, 1).len(), 6);
        assert_eq!(of(&held, 0).len(), 7);
        assert!(of(&[], 0).is_empty());
        assert_eq!(of(&[("/a", 1), ("/b", 1), ("//a/", 1)], 2), [0], "`//a/` is `/a`");
        assert_eq!(of(&[("/", 1), ("", 1), ("/a", 1)], 2), [0]);
    }

    #[test]
    fn cgroups_that_a_tenant_makes_are_the_tenant_s_however_deep() {
        let deep = "/x".repeat(1000);
        let tenants: Vec<_> = (0..1000).map(|number| format!("/pods/t/{number}{deep}/{number}")).collect();
        let others: Vec<_> = (0..10).map(|number| format!("/pods/{number}/c")).collect();
        // What the tenant has not used for long is that of the others, even more so.
        let held = others.iter().chain(&tenants).enumerate();
        let gone = excess(held.map(|(key, path)| (key, path.as_bytes(), 1)), 100);
        assert_eq!(gone, (10..920).collect::<Vec<_>>());
    }

    fn path() -> impl Strategy<Value = String> {
        prop::collection::vec(0..3_u8, 0..4)
            .prop_map(|names| names.iter().map(|name| format!("/{name}")).collect())
    }

    proptest! {
        /// Whoever gives is of the heaviest of what its cgroup is divided into, at every level, and what is
        /// left is just not too much.
        #[test]
        fn nobody_gives_who_has_less_than_others(
            held in prop::collection::vec((path(), 1..4_usize), 0..60),
            most in 0..60_usize,
        ) {
            let all = held.iter().enumerate().map(|(key, (path, weight))| (key, path.as_bytes(), *weight));
            let gone = excess(all, most);
            let mut left: std::collections::BTreeMap<_, _> = held.iter().enumerate().collect();
            let below = |left: &std::collections::BTreeMap<usize, &(String, usize)>, place: &str| {
                let is_below = |path: &str| format!("{path}/").starts_with(&format!("{place}/"));
                let weights = left.values().filter(|(path, _)| is_below(path)).map(|(_, weight)| *weight);
                weights.sum::<usize>()
            };
            for key in gone {
                prop_assert!(below(&left, "") > most, "nobody gives without need");
                let path = &held[key].0;
                for (end, _) in path.char_indices().filter(|(_, char)| *char == '/') {
                    let parent = &path[..end];
                    let name = path[end + 1..].split('/').next().unwrap();
                    let own: usize =
                        left.values().filter(|(path, _)| path == parent).map(|(_, weight)| *weight).sum();
                    let branches = (0..3_u8).map(|name| below(&left, &format!("{parent}/{name}")));
                    let heaviest = branches.chain([own]).max().unwrap();
                    prop_assert_eq!(below(&left, &format!("{parent}/{name}")), heaviest);
                }
                prop_assert!(left.remove(&key).is_some());
            }
            prop_assert!(below(&left, "") <= most);
        }
    }
}
