//! From the start of a server to its end, and from one server to the next, while the connection to the kernel lives on.

mod connection;
pub mod control;
pub mod daemon;
pub mod fd_store;
pub mod handover;
mod quiesce;
mod recovery;
mod server;
pub mod steward;
pub mod supervisor;

pub use self::connection::{Connection, ConnectionError};
pub use self::quiesce::drain;
pub use self::server::serve;
