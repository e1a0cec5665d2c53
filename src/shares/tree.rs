//! The hierarchy of those who hold something, and who of them gives way.

use super::path::components;
use std::collections::HashMap;
use std::hash::Hash;

/// Who holds something, and how much.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) path: Box<[u8]>,
    pub(super) weight: usize,
    /// When it was last used: the greater, the later.
    pub(super) used: u64,
}

/// A cgroup in or below which something is held.
#[derive(Debug)]
pub(super) struct Node<K> {
    /// How much is held in it and below it.
    pub(super) weight: usize,
    /// How much is held in it alone.
    pub(super) own: usize,
    /// Who holds that.
    pub(super) holders: Vec<K>,
    pub(super) children: HashMap<Box<[u8]>, Self>,
}

impl<K> Default for Node<K> {
    fn default() -> Self {
        Self { weight: 0, own: 0, holders: Vec::new(), children: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash> Node<K> {
    pub(super) fn add(&mut self, key: K, path: &[u8], weight: usize) {
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

    /// Removes a holder, and the cgroups that are left without one.
    pub(super) fn remove<'p>(&mut self, key: K, mut path: impl Iterator<Item = &'p [u8]>, weight: usize) {
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

    /// Who gives way to a newcomer of this weight at `path`; `None` where the newcomer has to do without.
    ///
    /// A branch gives way to another only if it then still has more than that, so that two of them never take
    /// turns, or if the other has nothing at all.
    pub(super) fn find_victim(
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
            let max = heaviest.as_ref().map_or(0, Branch::weight);
            if max > already + weight || (already == 0 && max > 0) {
                return heaviest?.find_victim(holders);
            }
            match newcomers {
                Some(child) => node = child,
                None if replace => return oldest(&node.holders, holders).map(|(_, key)| key),
                None => return None,
            }
        }
    }

    /// When the least recently used holder was used.
    fn oldest(&self, holders: &HashMap<K, Holder>) -> u64 {
        let own = oldest(&self.holders, holders).map_or(u64::MAX, |(used, _)| used);
        self.children.values().map(|child| child.oldest(holders)).fold(own, u64::min)
    }
}

/// A part of a cgroup.
enum Branch<'n, K> {
    /// The holders in the cgroup itself.
    Own(&'n Node<K>),
    /// The holders in and below one of its children.
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

    /// The least recently used holder where the branch is heaviest, level by level.
    fn find_victim(self, holders: &HashMap<K, Holder>) -> Option<K> {
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

/// The heaviest branch; of several that are equally heavy, the one with the least recently used holder.
fn heaviest<'n, K: Copy + Eq + Hash>(
    branches: impl Iterator<Item = Branch<'n, K>>,
    holders: &HashMap<K, Holder>,
) -> Option<Branch<'n, K>> {
    let mut max = 0;
    let mut heaviest = Vec::new();
    for branch in branches {
        let weight = branch.weight();
        if weight > max {
            max = weight;
            heaviest.clear();
        }
        if weight == max && weight > 0 {
            heaviest.push(branch);
        }
    }
    match heaviest.len() {
        0 | 1 => heaviest.pop(),
        _ => heaviest.into_iter().min_by_key(|branch| branch.oldest(holders)),
    }
}

/// The least recently used of some holders, and when it was used.
fn oldest<K: Copy + Eq + Hash>(keys: &[K], holders: &HashMap<K, Holder>) -> Option<(u64, K)> {
    let used = |key: &K| holders.get(key).map_or(0, |holder| holder.used);
    keys.iter().map(|key| (used(key), *key)).min_by_key(|(used, _)| *used)
}
