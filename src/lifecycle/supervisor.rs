//! A parent that does nothing but keep the connection, and start its child again when that ends.
//!
//! Nothing but a signal, or an operator who unmounts, ends it. Where a daemon can't be kept running, or
//! somebody aborts the connection again and again, containers get the kernel's own files meanwhile, and
//! nobody waits.

mod backoff;
mod child;
mod event;
mod kept_mount;
mod listening;
mod restarts;
mod supervise;
mod waiting;

pub use self::event::{Event, SupervisorError};
pub use self::supervise::supervise;
