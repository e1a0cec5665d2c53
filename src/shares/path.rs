//! Paths of cgroups, down to a depth.

/// Levels are told apart down to this depth. A hierarchy can be far deeper than any tenant needs, and each level takes time.
/// What is below counts as being in the cgroup at this depth.
pub(crate) const MAX_DEPTH: usize = 64;

/// The names on the way down to a cgroup.
pub(crate) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|name| !name.is_empty()).take(MAX_DEPTH)
}
