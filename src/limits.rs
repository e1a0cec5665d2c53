//! How many files this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many open files are enough for a host full of containers.
const MAX_OPEN_FILES: u64 = 64 << 10;

/// The most open files that are set aside for what does not depend on who reads.
const MAX_OTHERS: usize = 256;

/// Raises the limit on open files as far as it goes, if that is not done yet. How many may be kept open now,
/// and the limit before, which is what a program that is started should have.
#[must_use]
pub fn raise_open_files() -> (usize, Rlimit) {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    // `None` is no limit at all.
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { raised.current } else { before.current };
    let limit = usize::try_from(limit.unwrap_or(MAX_OPEN_FILES).min(MAX_OPEN_FILES)).unwrap_or(1024);
    (limit - (limit / 2).min(MAX_OTHERS), before)
}
