//! What is counted as it comes and goes: a newcomer is admitted, and others give way if need be.

use super::path::components;
use super::tree::{Holder, Node};
use std::collections::HashMap;
use std::hash::Hash;

/// What becomes of a newcomer for which only its own cgroup could make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It replaces what that cgroup has used least recently. For caches.
    Replace,
    /// It is refused. For what programs were promised.
    Refuse,
}

/// Holders, each under a key, of no more than a fixed amount in all.
#[derive(Debug)]
pub struct Shares<K> {
    capacity: usize,
    policy: Policy,
    root: Node<K>,
    holders: HashMap<K, Holder>,
    clock: u64,
}

/// There is no room for a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl<K: Copy + Eq + Hash> Shares<K> {
    /// An amount of `capacity` of which nobody holds anything yet.
    #[must_use]
    pub fn new(capacity: usize, policy: Policy) -> Self {
        Self { capacity, policy, root: Node::default(), holders: HashMap::new(), clock: 0 }
    }

    /// Lets the cgroup at `path` hold `weight` more, under a key that is not in use. Returns the keys that
    /// give way to it, and hold nothing from now on.
    ///
    /// # Errors
    /// [`Full`], and nothing has changed. With [`Policy::Replace`] only for a `weight` of more than the
    /// capacity.
    pub fn admit(&mut self, key: K, path: &[u8], weight: usize) -> Result<Vec<K>, Full> {
        debug_assert!(!self.holders.contains_key(&key));
        if weight > self.capacity {
            return Err(Full);
        }
        let mut displaced = Vec::new();
        while self.root.weight + weight > self.capacity {
            // Once others have given way, the newcomer is admitted, whoever else has to give way for it.
            let replace = self.policy == Policy::Replace || !displaced.is_empty();
            let victim = self.root.find_victim(path, weight, replace, &self.holders).ok_or(Full)?;
            self.remove(victim);
            displaced.push(victim);
        }
        self.clock += 1;
        let holder = Holder { path: path.into(), weight, used: self.clock };
        self.root.add(key, path, weight);
        self.holders.insert(key, holder);
        Ok(displaced)
    }

    /// Whether `weight` is left that nobody holds.
    #[must_use]
    pub fn has_room(&self, weight: usize) -> bool {
        self.root.weight + weight <= self.capacity
    }

    /// How much is held in all.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.root.weight
    }

    /// Whether something is held under this key.
    #[must_use]
    pub fn contains(&self, key: K) -> bool {
        self.holders.contains_key(&key)
    }

    /// Marks what is held under this key as used now.
    pub fn touch(&mut self, key: K) {
        self.clock += 1;
        if let Some(holder) = self.holders.get_mut(&key) {
            holder.used = self.clock;
        }
    }

    /// Gives up what is held under this key.
    pub fn remove(&mut self, key: K) {
        if let Some(holder) = self.holders.remove(&key) {
            self.root.remove(key, components(&holder.path), holder.weight);
        }
        if self.holders.len() * 4 < self.holders.capacity() {
            self.holders.shrink_to(self.holders.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Admits `count` holders at `path`, under the keys from `first` on.
    fn fill(shares: &mut Shares<u32>, path: &str, first: u32, count: u32) {
        for key in first..first + count {
            shares.admit(key, path.as_bytes(), 1).unwrap();
        }
    }

    #[test]
    fn one_may_have_what_nobody_else_wants() {
        let mut shares = Shares::new(10, Policy::Refuse);
        fill(&mut shares, "/a", 0, 10);
        assert_eq!(shares.admit(10, b"/a", 1), Err(Full));
        assert_eq!(shares.held(), 10);
        shares.touch(0);
        assert_eq!(shares.admit(11, b"/b", 1), Ok(vec![1]), "the least recently used one");
        shares.remove(2);
        assert_eq!(shares.admit(12, b"/a", 1), Ok(vec![]));
        let mut cache = Shares::new(2, Policy::Replace);
        fill(&mut cache, "/a", 0, 2);
        assert_eq!(cache.admit(2, b"/a", 1), Ok(vec![0]));
        assert_eq!(cache.admit(3, b"/a", 3), Err(Full));
    }

    #[test]
    fn cgroups_that_a_tenant_makes_are_the_tenant_s() {
        let mut shares = Shares::new(100, Policy::Refuse);
        for child in 0..100 {
            fill(&mut shares, &format!("/kubepods/attacker/{child}/{child}"), child, 1);
        }
        for other in 0..3 {
            let displaced = shares.admit(200 + other, b"/kubepods/victim", 1).unwrap();
            assert!(matches!(displaced[..], [key] if key < 100), "{displaced:?}");
        }
        // And one whose own cgroup has more than any of the attacker's.
        fill(&mut shares, "/kubepods/victim", 210, 40);
        assert!((0..3).all(|other| shares.contains(200 + other)));
    }

    #[test]
    fn two_never_take_turns() {
        let mut shares = Shares::new(11, Policy::Refuse);
        fill(&mut shares, "/a", 0, 11);
        let taken = (100..200).filter(|&key| shares.admit(key, b"/b", 1).is_ok()).count();
        assert_eq!(taken, 5);
        assert!((200..300).all(|key| shares.admit(key, b"/a", 1) == Err(Full)));
    }

    #[test]
    fn whoever_is_heavy_gives_for_what_is_large() {
        let mut files = Shares::new(100, Policy::Replace);
        for key in 0..20 {
            files.admit(key, format!("/heavy/{key}").as_bytes(), 5).unwrap();
        }
        let displaced = files.admit(20, b"/other", 12).unwrap();
        assert_eq!(displaced, [0, 1, 2]);
        assert_eq!(files.held(), 97);
    }

    #[test]
    fn a_path_of_any_depth_is_counted() {
        let mut shares = Shares::new(3, Policy::Refuse);
        let deep = "/x".repeat(2000);
        fill(&mut shares, &deep, 0, 3);
        assert_eq!(shares.admit(3, b"/y", 1), Ok(vec![0]));
        assert_eq!(
            shares.admit(4, format!("{deep}/y").as_bytes(), 1),
            Err(Full),
            "too deep to be told apart"
        );
    }

    fn path() -> impl Strategy<Value = String> {
        prop::collection::vec(0..3_u8, 0..4)
            .prop_map(|names| names.iter().map(|name| format!("/{name}")).collect())
    }

    /// Compares what a node has counted with what its holders hold.
    fn check(node: &Node<usize>, path: &str, holders: &HashMap<usize, Holder>) {
        let below = |place: &str| {
            holders
                .values()
                .filter(|holder| {
                    format!("{}/", String::from_utf8_lossy(&holder.path)).starts_with(&format!("{place}/"))
                })
                .map(|holder| holder.weight)
                .sum::<usize>()
        };
        let own: usize = node.holders.iter().map(|key| holders[key].weight).sum();
        assert_eq!((node.weight, node.own), (below(path), own), "{path:?}");
        for (name, child) in &node.children {
            assert!(child.weight > 0, "a cgroup that nobody has anything in");
            check(child, &format!("{path}/{}", String::from_utf8_lossy(name)), holders);
        }
    }

    proptest! {
        /// Whatever came before, whoever holds nothing is admitted, everything is counted, and no more than
        /// the capacity is held.
        #[test]
        fn whoever_has_nothing_gets_a_place(
            capacity in 1..12_usize,
            replace: bool,
            steps in prop::collection::vec((path(), 1..4_usize, prop::option::of(0..40_usize)), 1..60),
        ) {
            let policy = if replace { Policy::Replace } else { Policy::Refuse };
            let mut shares = Shares::new(capacity, policy);
            let mut present = std::collections::BTreeMap::new();
            for (key, (path, weight, removed)) in steps.into_iter().enumerate() {
                let has_nothing = |present: &std::collections::BTreeMap<usize, String>| {
                    let top = path.split('/').nth(1);
                    top.is_some() && present.values().all(|held| held.split('/').nth(1) != top)
                };
                let before = shares.held();
                match shares.admit(key, path.as_bytes(), weight) {
                    Ok(displaced) => {
                        prop_assert!(displaced.is_empty() || before + weight > capacity, "nobody gives without need");
                        for key in displaced {
                            prop_assert!(present.remove(&key).is_some());
                        }
                        present.insert(key, path);
                    }
                    Err(Full) => {
                        prop_assert!(!has_nothing(&present) || weight > capacity);
                        prop_assert!(policy == Policy::Refuse || weight > capacity);
                        prop_assert_eq!(shares.held(), before);
                    }
                }
                if let Some(key) = removed {
                    shares.remove(key);
                    present.remove(&key);
                }
                check(&shares.root, "", &shares.holders);
                prop_assert!(shares.held() <= capacity);
                let held: std::collections::BTreeSet<_> = shares.holders.keys().copied().collect();
                prop_assert!(held.iter().eq(present.keys()));
            }
        }
    }
}
