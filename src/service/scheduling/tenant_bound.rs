//! A bound on what one tenant may have at a time, at every level of the hierarchy.

use super::owner::Owner;
use crate::shares::components;

/// Deeper levels count as one: at this depth the bound has long come down to its minimum.
const MAX_DEPTH: usize = 16;

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    components(path).take(MAX_DEPTH)
}

/// Whether the cgroup at `path`, or one above it, has as many items as it may have. Everybody together may
/// have `max`, and a cgroup half of what the one above it may have, but at least `min`. `owners` are those
/// who have items, and how many.
pub(in crate::service) fn are_too_many<'o>(
    path: &[u8],
    (max, min): (usize, usize),
    owners: impl Iterator<Item = (&'o Owner, usize)>,
) -> bool {
    let mut counts = [0_usize; MAX_DEPTH + 1];
    for (owner, count) in owners {
        let in_common = names(path).zip(names(owner)).take_while(|(one, other)| one == other).count();
        counts[..=in_common].iter_mut().for_each(|sum| *sum += count);
    }
    let levels = counts.iter().take(names(path).count() + 1).enumerate();
    levels.into_iter().any(|(depth, count)| *count >= (max >> depth).max(min))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_levels_are_bounded() {
        let owner = |path: &str| Owner::from(path.as_bytes());
        let have = |path: &str, others: &[(&str, usize)]| {
            let others: Vec<_> = others.iter().map(|(path, count)| (owner(path), *count)).collect();
            are_too_many(path.as_bytes(), (48, 1), others.iter().map(|(path, count)| (path, *count)))
        };
        assert!(!have("/a/b", &[("/a/b", 11), ("/a", 12), ("/c", 24)]));
        assert!(have("/a/b", &[("/a/b/c", 12)]));
        assert!(have("/a/b", &[("/a/c", 24)]) && !have("/a", &[("/ab", 47)]));
        assert!(have("/a/b", &[("/c", 48)]) && have("/", &[("/c", 48)]));
        let deep = "/d".repeat(100);
        assert!(!have(&deep, &[("/d/d", 1)]) && have(&deep, &[(&deep, 1)]));
    }
}
