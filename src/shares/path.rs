//! Paths of cgroups, down to a depth.

/// Levels are told apart down to this depth. A hierarchy can be far deeper than any tenant needs, and each
/// level takes time. What is below counts as being in the cgroup at this depth.
pub(crate) const MAX_DEPTH: usize = 64;

/// How many bytes of a path come with an entry that is kept for it.
const BYTES_INCLUDED: usize = 256;

/// How many entries one with this path counts as where entries are bounded: a path has up to 4096 bytes, so
/// that a number of entries alone is no bound of memory.
pub(crate) const fn entry_weight(path: &[u8]) -> usize {
    1 + path.len() / BYTES_INCLUDED
}

/// The names on the way down to a cgroup.
pub(crate) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|name| !name.is_empty()).take(MAX_DEPTH)
}
