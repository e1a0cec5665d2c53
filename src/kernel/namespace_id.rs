//! What identifies a namespace.

use std::fmt;

/// The number of a namespace, as in `ls -l /proc/PID/ns`. The kernel reuses a number as soon as nobody holds the first namespace any
/// more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NamespaceId(u64);

impl NamespaceId {
    /// The namespace of this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The namespace that a link leads to: `cgroup:[4026531835]`.
    pub(crate) fn of_link(target: &[u8]) -> Option<Self> {
        let open = target.iter().position(|&b| b == b'[')?;
        let digits = target[open + 1..].strip_suffix(b"]")?;
        cgprocfs_core::parse::decimal(digits).ok().map(Self)
    }
}

impl fmt::Display for NamespaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
