//! Requests that were fetched from the kernel and are not answered yet, in memory that outlives the process.
//!
//! Since Linux 6.9 the kernel gives such requests out again when asked to. Before that a successor answers
//! them from here, and those that were not even entered here from the buffers that they were read into. The
//! table also tells a successor how long a request was in flight and how many servers it has outlived, and
//! the daemon whether a thread is stuck.

mod clock;
mod orphaned;
mod request;
mod slots;
mod table;
mod threads;

pub use self::orphaned::OrphanedRequest;
pub use self::request::{InFlightRequest, Ino, Operation, Unique};
pub(crate) use self::table::{FORMAT, WORDS};
pub use self::table::{InFlightGuard, InFlightTable};
