//! Who has to give where there is not enough for all.
//!
//! Cgroups are cheap: a limit for each is none for a tenant, who makes as many as it likes, at whatever depth. And nothing
//! tells which cgroup above a container is a tenant's, and which, as `kubepods`, holds all there are. So what is held is
//! counted at every level of the holders' paths, and where a place is needed it is the heaviest branch that gives one,
//! seen from the top down. One tenant may have all that nobody else wants, and whoever has nothing yet gets a place at once.

mod excess;

pub use self::excess::excess;

use std::collections::HashMap;
use std::hash::Hash;

/// Levels are told apart down to this depth: a hierarchy can be far deeper than any tenant needs, and each level takes
/// its time. What is below is counted where it leaves that depth.
const DEEPEST: usize = 64;

/// What becomes of a newcomer whose own cgroup would have to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It takes the place of what that cgroup has not used for the longest time. For caches.
    Replace,
    /// It gets none. For what programs were promised.
    Refuse,
}

/// Holders, by a key of each, of no more than so much.
#[derive(Debug)]
pub struct Shares<K> {
    most: usize,
    policy: Policy,
    root: Node<K>,
    holders: HashMap<K, Holder>,
    clock: u64,
}

/// There is no place for a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

#[derive(Debug)]
struct Holder {
    path: Box<[u8]>,
    weight: usize,
    /// The later the greater.
    used: u64,
}

/// A cgroup.
#[derive(Debug)]
struct Node<K> {
    /// Of all holders in it and below it.
    weight: usize,
    /// Of those in it.
    own: usize,
    holders: Vec<K>,
    children: HashMap<Box<[u8]>, Self>,
}

impl<K> Default for Node<K> {
    fn default() -> Self {
        Self { weight: 0, own: 0, holders: Vec::new(), children: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash> Shares<K> {
    /// Nobody holds anything yet of `most` in all.
    #[must_use]
    pub fn new(most: usize, policy: Policy) -> Self {
        Self { most, policy, root: Node::default(), holders: HashMap::new(), clock: 0 }
    }

    /// Lets the cgroup at `path` hold `weight` more, under a key that is not in use. Returns those that have to give
    /// theirs up for it, which hold nothing from now on.
    ///
    /// # Errors
    /// [`Full`]; nothing has changed then. With [`Policy::Replace`] only where `weight` is more than there is.
    pub fn admit(&mut self, key: K, path: &[u8], weight: usize) -> Result<Vec<K>, Full> {
        debug_assert!(!self.holders.contains_key(&key));
        if weight > self.most {
            return Err(Full);
        }
        let mut displaced = Vec::new();
        while self.root.weight + weight > self.most {
            // Once somebody else has given it is no more than just that whoever must goes on giving.
            let replace = self.policy == Policy::Replace || !displaced.is_empty();
            let gives = self.root.who_gives(path, weight, replace, &self.holders).ok_or(Full)?;
            self.remove(gives);
            displaced.push(gives);
        }
        self.clock += 1;
        let holder = Holder { path: path.into(), weight, used: self.clock };
        self.root.add(key, path, weight);
        self.holders.insert(key, holder);
        Ok(displaced)
    }

    /// Whether there is so much that nobody holds.
    #[must_use]
    pub fn has_room(&self, weight: usize) -> bool {
        self.root.weight + weight <= self.most
    }

    /// How much is held in all.
    #[must_use]
    pub fn held(&self) -> usize {
        self.root.weight
    }

    /// Whether it holds something.
    #[must_use]
    pub fn contains(&self, key: K) -> bool {
        self.holders.contains_key(&key)
    }

    /// What it holds is used.
    pub fn touch(&mut self, key: K) {
        self.clock += 1;
        if let Some(holder) = self.holders.get_mut(&key) {
            holder.used = self.clock;
        }
    }

    /// It holds nothing any more.
    pub fn remove(&mut self, key: K) {
        if let Some(holder) = self.holders.remove(&key) {
            self.root.remove(key, components(&holder.path), holder.weight);
        }
        if self.holders.len() * 4 < self.holders.capacity() {
            self.holders.shrink_to(self.holders.len() * 2);
        }
    }

    /// Nobody holds anything any more.
    pub fn clear(&mut self) {
        (self.root, self.holders) = (Node::default(), HashMap::new());
    }
}

impl<K: Copy + Eq + Hash> Node<K> {
    fn add(&mut self, key: K, path: &[u8], weight: usize) {
        let mut node = self;
        node.weight += weight;
        for name in components(path) {
            if !node.children.contains_key(name) {
                node.children.insert(name.into(), Self::default());
            }
            let Some(child) = node.children.get_mut(name) else { return };
            node = child;
            node.weight += weight;
        }
        node.own += weight;
        node.holders.push(key);
    }

    /// Removes a holder, and the cgroups that have none any more.
    fn remove<'p>(&mut self, key: K, mut path: impl Iterator<Item = &'p [u8]>, weight: usize) {
        self.weight -= weight;
        match path.next() {
            None => {
                self.own -= weight;
                self.holders.retain(|holder| *holder != key);
            }
            Some(name) => {
                let Some(child) = self.children.get_mut(name) else { return };
                child.remove(key, path, weight);
                if child.weight == 0 && child.holders.is_empty() && child.children.is_empty() {
                    self.children.remove(name);
                }
            }
        }
    }

    /// Who gives something up for a newcomer of that weight at `path`; `None` where the newcomer has to do without.
    ///
    /// A branch gives to another only if it has more even then, so that two of them never take turns, or if that other
    /// has nothing at all.
    fn who_gives(
        &self,
        path: &[u8],
        weight: usize,
        replace: bool,
        holders: &HashMap<K, Holder>,
    ) -> Option<K> {
        let mut node = self;
        let mut path = components(path);
        loop {
            let name = path.next();
            let newcomers = name.and_then(|name| node.children.get(name));
            let already = name.map_or(node.own, |_| newcomers.map_or(0, |child| child.weight));
            let others = node.children.iter().filter(|(child, _)| name != Some(&***child));
            let others = others.map(|(_, child)| Branch::Below(child));
            let own = name.is_some().then_some(Branch::Own(node));
            let heaviest = heaviest(others.chain(own), holders);
            let most = heaviest.as_ref().map_or(0, Branch::weight);
            if most > already + weight || (already == 0 && most > 0) {
                return heaviest?.gives(holders);
            }
            match newcomers {
                Some(child) => node = child,
                None if replace => return oldest(&node.holders, holders).map(|(_, key)| key),
                None => return None,
            }
        }
    }

    /// When the holder that was not used for the longest time was used.
    fn oldest(&self, holders: &HashMap<K, Holder>) -> u64 {
        let own = oldest(&self.holders, holders).map_or(u64::MAX, |(used, _)| used);
        self.children.values().map(|child| child.oldest(holders)).fold(own, u64::min)
    }
}

/// What a cgroup is divided into.
enum Branch<'n, K> {
    /// Those in it.
    Own(&'n Node<K>),
    /// Those in and below one of its children.
    Below(&'n Node<K>),
}

impl<K: Copy + Eq + Hash> Branch<'_, K> {
    fn weight(&self) -> usize {
        match self {
            Self::Own(node) => node.own,
            Self::Below(node) => node.weight,
        }
    }

    fn oldest(&self, holders: &HashMap<K, Holder>) -> u64 {
        match self {
            Self::Own(node) => oldest(&node.holders, holders).map_or(u64::MAX, |(used, _)| used),
            Self::Below(node) => node.oldest(holders),
        }
    }

    /// The oldest holder where it is heaviest.
    fn gives(self, holders: &HashMap<K, Holder>) -> Option<K> {
        let mut branch = self;
        loop {
            match branch {
                Self::Own(node) => return oldest(&node.holders, holders).map(|(_, key)| key),
                Self::Below(node) => {
                    let parts = node.children.values().map(Branch::Below).chain([Branch::Own(node)]);
                    branch = heaviest(parts, holders)?;
                }
            }
        }
    }
}

/// Of several that are as heavy, the one with the oldest holder.
fn heaviest<'n, K: Copy + Eq + Hash>(
    branches: impl Iterator<Item = Branch<'n, K>>,
    holders: &HashMap<K, Holder>,
) -> Option<Branch<'n, K>> {
    let mut most = 0;
    let mut heaviest = Vec::new();
    for branch in branches {
        let weight = branch.weight();
        if weight > most {
            most = weight;
            heaviest.clear();
        }
        if weight == most && weight > 0 {
            heaviest.push(branch);
        }
    }
    match heaviest.len() {
        0 | 1 => heaviest.pop(),
        _ => heaviest.into_iter().min_by_key(|branch| branch.oldest(holders)),
    }
}

fn oldest<K: Copy + Eq + Hash>(keys: &[K], holders: &HashMap<K, Holder>) -> Option<(u64, K)> {
    let used = |key: &K| holders.get(key).map_or(0, |holder| holder.used);
    keys.iter().map(|key| (used(key), *key)).min_by_key(|(used, _)| *used)
}

/// The names on the way down to a cgroup.
fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|name| !name.is_empty()).take(DEEPEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// So many of `path`, under the numbers from `first` on.
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
        assert_eq!(shares.admit(11, b"/b", 1), Ok(vec![1]), "the one that was not used for the longest time");
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

    /// What a node counts by what its holders hold.
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
        /// Whatever came before, whoever has nothing is admitted; all is counted; no more is held than there is.
        #[test]
        fn whoever_has_nothing_gets_a_place(
            most in 1..12_usize,
            replace: bool,
            steps in prop::collection::vec((path(), 1..4_usize, prop::option::of(0..40_usize)), 1..60),
        ) {
            let policy = if replace { Policy::Replace } else { Policy::Refuse };
            let mut shares = Shares::new(most, policy);
            let mut present = std::collections::BTreeMap::new();
            for (key, (path, weight, removed)) in steps.into_iter().enumerate() {
                let has_nothing = |present: &std::collections::BTreeMap<usize, String>| {
                    let top = path.split('/').nth(1);
                    top.is_some() && present.values().all(|held| held.split('/').nth(1) != top)
                };
                let before = shares.held();
                match shares.admit(key, path.as_bytes(), weight) {
                    Ok(displaced) => {
                        prop_assert!(displaced.is_empty() || before + weight > most, "nobody gives without need");
                        for key in displaced {
                            prop_assert!(present.remove(&key).is_some());
                        }
                        present.insert(key, path);
                    }
                    Err(Full) => {
                        prop_assert!(!has_nothing(&present) || weight > most);
                        prop_assert!(policy == Policy::Refuse || weight > most);
                        prop_assert_eq!(shares.held(), before);
                    }
                }
                if let Some(key) = removed {
                    shares.remove(key);
                    present.remove(&key);
                }
                check(&shares.root, "", &shares.holders);
                prop_assert!(shares.held() <= most);
                let held: std::collections::BTreeSet<_> = shares.holders.keys().copied().collect();
                prop_assert!(held.iter().eq(present.keys()));
            }
        }
    }
}
