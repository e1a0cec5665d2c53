//! One command in a cgroup of its own that sees its own numbers: daemon, mount and container in one process.
//!
//! Three processes take part. The program runs in a fresh cgroup and in a mount namespace of its own. This
//! process serves it the views, answers two of its system calls, passes signals on, and measures. A janitor, which only waits for this
//! process to end, in whatever way, then removes what is left.

mod cgroup;
mod command;
mod error;
mod janitor;
mod measure;
mod namespace;
mod report;
mod sample;
mod signals;
mod syscalls;
mod time_namespace;

pub use self::command::{Options, run};
pub use self::error::{NamespaceError, RunError};
pub use self::janitor::{COMMAND as JANITOR, clean_up_after_stdin, remove as remove_cgroup};
