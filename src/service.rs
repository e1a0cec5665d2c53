//! Answers readers: who asks, for which view, and what the text is. Knows nothing of FUSE.
//!
//! A request goes from `requests` to `ask`, which makes an `attempt` to answer it: the cache is asked, or the
//! cgroup is read (`reading`), and the text is made (`query`). What may take long, or hang, is left to other
//! threads (`dispatch`).

mod accounts;
mod by_thread;
mod cache;
mod clock;
mod connection_stats;
mod engine;
mod maintenance;
mod pressure_source;
mod psi_monitor;
mod request;
mod scheduling;
mod sleeper;
mod status;

pub use self::accounts::start_times::START_SEARCH_TIMEOUT;
pub use self::by_thread::{ByThread, MAX_ANSWER};
pub use self::cache::rendered::{MAX_AGE, Rendered};
#[cfg(test)]
pub(crate) use self::engine::MAX_SERVING_THREADS;
pub use self::engine::{Service, serving_threads};
pub use self::psi_monitor::PollState;
pub use self::request::pressure::PressureRequest;
pub use self::request::query::Viewer;
pub(crate) use self::scheduling::lane::Lane;
pub use self::status::{MAX_STATUS_SIZE, STATUS_FILE, ServiceStatus};
