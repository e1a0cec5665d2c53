//! A process that waits for an answer, before it is known where it is.

use cgprocfs_core::parse::pid::Pid;
use cgprocfs_core::snapshot::Needs;
use std::time::Duration;

/// A process that waits for an answer, and what may be done to find its container.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// Its process id, or the id of one of its threads.
    pub pid: Pid,
    /// How long ago the init of its pid namespace may have been looked at last.
    pub max_age: Duration,
    /// What will be read for its container.
    pub needs: Needs,
    /// Whether the current thread may search for its container, which takes long, because nobody else needs the
    /// thread.
    pub may_search: bool,
    /// Whether the current thread may hang for ever.
    pub may_hang: bool,
}
