//! From the start of a server to its end, and from one server to the next while the connection to the kernel
//! lives on.
//!
//! `connection` is what a successor needs; `server` serves it, `recovery` takes care of what a predecessor
//! left unanswered, and `quiesce` stops. [`handover`] and [`fd_store`] bring the connection to the next
//! process, by way of [`control`] messages. [`daemon`] is the whole life of a process that serves,
//! [`supervisor`] that of a parent which starts such a process again, and [`steward`] that of a process which
//! mounts for it. [`FailureRecord`] says when a unit gives up.

mod connection;
pub mod control;
pub mod daemon;
mod failure_record;
pub mod fd_store;
pub mod handover;
mod quiesce;
mod recovery;
mod server;
pub mod steward;
pub mod supervisor;

pub use self::connection::{Connection, ConnectionError};
pub use self::failure_record::FailureRecord;
pub use self::quiesce::quiesce;
pub use self::server::serve;
