//! What identifies a namespace.

use rustix::fs::readlinkat_raw;
use std::fmt;
use std::os::fd::OwnedFd;

/// The number of a namespace, as in `ls -l /proc/PID/ns`. The kernel reuses a number as soon as nobody holds
/// the first namespace any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NamespaceId(u64);

impl NamespaceId {
    /// The namespace of this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The namespace that an open link leads to, as long as its process lives.
    pub(crate) fn of_open_link(link: &OwnedFd) -> Option<Self> {
        let mut target = [0u8; 64];
        let length = readlinkat_raw(link, c"", &mut target[..]).ok()?;
        Self::of_link(&target[..length])
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
