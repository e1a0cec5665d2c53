//! Limits on swap, and what was swapped.

use crate::parse::CgroupVersion;
use crate::units::{Bytes, MAX};

/// Limits on swap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Swap {
    /// The kernel does not account for swap, or the host has none: only the host's figures bind.
    #[default]
    Unaccounted,
    /// cgroup v1, where limit and usage are of memory and swap together.
    V1 {
        /// `memory.memsw.limit_in_bytes`.
        limit: Option<Bytes>,
        /// `memory.memsw.usage_in_bytes`.
        usage: Bytes,
    },
    /// cgroup v2.
    V2 {
        /// `memory.swap.max`.
        limit: Option<Bytes>,
        /// `memory.swap.current`.
        usage: Bytes,
    },
    /// The kernel's limit is malformed: nothing is promised.
    Malformed,
}

impl Swap {
    /// The limit; `None` where there is none, or it made no sense.
    #[must_use]
    pub const fn limit(self) -> Option<Bytes> {
        match self {
            Self::V1 { limit, .. } | Self::V2 { limit, .. } => limit,
            Self::Unaccounted | Self::Malformed => None,
        }
    }

    /// `None` is what made no sense: of such a limit nothing is promised, and of such a usage nothing is
    /// left. It has drifted below 0, and the kernel compares it without a sign (`page_counter_try_charge()`,
    /// mm/page_counter.c): until something is given back it refuses all.
    #[must_use]
    pub fn of(version: CgroupVersion, limit: Option<Option<Bytes>>, usage: Option<Bytes>) -> Self {
        let Some(limit) = limit else { return Self::Malformed };
        let usage = usage.or(limit).unwrap_or(Bytes::new(MAX));
        match version {
            CgroupVersion::V1 => Self::V1 { limit, usage },
            CgroupVersion::V2 => Self::V2 { limit, usage },
        }
    }
}
