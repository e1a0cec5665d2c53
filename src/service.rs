//! Answers readers: who asks, for which view, and what the text is. Knows nothing of FUSE.
//!
//! A request goes from `requests` to `ask`, which makes an `attempt` to answer it: the cache is asked, or the cgroup is
//! read (`reading`), and the text is made (`query`). What may take long, or hang, is left to other threads (`dispatch`).

mod ask;
mod attempt;
mod beat;
mod boot_clock;
mod cache_entry;
mod cached_cgroup;
mod container_shares;
mod cpu_accounts;
mod dispatch;
mod engine;
mod in_time;
mod known_aside;
mod lane;
mod load_estimate;
mod load_sampler;
mod maintenance;
mod outcome;
mod owner;
mod pace;
mod pending_request;
mod permits;
mod places;
mod pressure;
mod priority;
mod psi_monitor;
mod query;
mod reading;
mod rendered;
mod requests;
mod share;
mod snapshot_cache;
mod start_search;
mod start_times;
mod tenant_bound;
mod tracked_cgroups;
mod turns;
mod worker_pool;

#[cfg(test)]
pub(crate) use self::engine::MAX_SERVING_THREADS;
pub use self::engine::{Service, serving_threads};
pub(crate) use self::lane::Lane;
pub use self::psi_monitor::PollState;
pub use self::query::Viewer;
pub use self::rendered::{MAX_AGE, Rendered};
pub use self::start_times::LOOK_TIMEOUT as START_TIMEOUT;
