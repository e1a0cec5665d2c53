//! Whose turn it is among cgroups that wait.
//!
//! Siblings take turns, at every level of the hierarchy: a tenant that spreads its requests over a thousand
//! cgroups of its own gets no more turns for that than one that has a single cgroup.

use crate::shares::components;
use std::collections::{HashMap, VecDeque};

/// What waits, by the paths of those that it waits for.
#[derive(Debug)]
pub(in crate::service) struct Turns<T> {
    root: Branch<T>,
}

/// A cgroup, and what waits in it and below it.
#[derive(Debug)]
struct Branch<T> {
    own: VecDeque<T>,
    children: HashMap<Box<[u8]>, Self>,
    /// The names of the children that something waits for, and an empty one for the cgroup itself: the next
    /// one first.
    order: VecDeque<Box<[u8]>>,
}

impl<T> Default for Branch<T> {
    fn default() -> Self {
        Self { own: VecDeque::new(), children: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { root: Branch::default() }
    }
}

impl<T> Turns<T> {
    /// Has `item` wait for its turn on behalf of the cgroup at `path`.
    pub(in crate::service) fn push(&mut self, path: &[u8], item: T) {
        let mut branch = &mut self.root;
        for name in components(path) {
            if !branch.children.contains_key(name) {
                branch.order.push_back(name.into());
            }
            branch = branch.children.entry(name.into()).or_default();
        }
        if branch.own.is_empty() {
            branch.order.push_back([].into());
        }
        branch.own.push_back(item);
    }

    /// Takes out the one whose turn it is.
    pub(in crate::service) fn pop(&mut self) -> Option<T> {
        self.root.pop()
    }

    pub(in crate::service) fn is_empty(&self) -> bool {
        self.root.order.is_empty()
    }
}

impl<T> Branch<T> {
    fn pop(&mut self) -> Option<T> {
        let name = self.order.pop_front()?;
        let (item, has_more) = match self.children.get_mut(&name) {
            Some(child) => (child.pop(), !child.order.is_empty()),
            None => (self.own.pop_front(), !self.own.is_empty()),
        };
        if has_more {
            self.order.push_back(name);
        } else {
            self.children.remove(&name);
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(paths: &[&'static str]) -> Vec<&'static str> {
        let mut turns = Turns::default();
        for path in paths {
            turns.push(path.as_bytes(), *path);
        }
        let order = std::iter::from_fn(|| turns.pop()).collect();
        assert!(turns.is_empty() && turns.root.children.is_empty());
        order
    }

    #[test]
    fn siblings_take_turns_at_every_level() {
        assert_eq!(order(&["/a/1", "/a/2", "/a/3", "/b"]), ["/a/1", "/b", "/a/2", "/a/3"]);
        assert_eq!(
            order(&["/p/a/1", "/p/a/2", "/p/b", "/c", "/c"]),
            ["/p/a/1", "/c", "/p/b", "/c", "/p/a/2"]
        );
        assert_eq!(order(&["/", "/a", "/", "/a"]), ["/", "/a", "/", "/a"]);
    }

    #[test]
    fn a_tenant_with_many_cgroups_has_no_more_turns() {
        let mut turns = Turns::default();
        (0..1000).for_each(|index| turns.push(format!("/tenant/{index}").as_bytes(), "tenant"));
        (0..3).for_each(|_| turns.push(b"/other", "other"));
        let first: Vec<_> = (0..6).filter_map(|_| turns.pop()).collect();
        assert_eq!(first, ["tenant", "other", "tenant", "other", "tenant", "other"]);
    }

    #[test]
    fn depth_is_bounded() {
        let mut turns = Turns::default();
        turns.push("/d".repeat(10_000).as_bytes(), ());
        assert_eq!(turns.pop(), Some(()));
    }
}
