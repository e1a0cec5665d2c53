//! Answers readers: who asks, for which view, and what the text is. Knows nothing of FUSE.
//!
//! A request goes from [`requests`] to [`ask`], which makes an [`attempt`] to answer it: the cache is asked, or the cgroup is
//! read ([`reading`]), and the text is made ([`query`]). What may take long, or hang, is left to other threads ([`dispatch`]).

mod ask;
mod attempt;
mod beat;
mod cache_entry;
mod cached_cgroup;
mod container_shares;
mod dispatch;
mod engine;
mod in_time;
mod known_aside;
mod lane;
mod ledgers;
mod loads;
mod maintenance;
mod outcome;
mod owner;
mod pace;
mod pending_request;
mod permits;
mod places;
mod pressure;
mod priority;
mod query;
mod reading;
mod rendered;
mod requests;
mod share;
mod snapshot_cache;
mod start_search;
mod start_times;
mod tenant_bound;
mod triggers;
mod turns;
mod worker_pool;

#[cfg(test)]
pub(crate) use self::engine::MAX_SERVING_THREADS;
pub use self::engine::{PersistentState, Service, serving_threads};
pub(crate) use self::lane::Lane;
pub use self::ledgers::{LEDGERS, StartedLedger};
pub use self::loads::LOADS;
pub use self::query::Viewer;
pub use self::rendered::{MAX_AGE, Text};
pub use self::start_times::LOOK_TIMEOUT as PATIENCE_FOR_AGE;
pub use self::triggers::{KeptTrigger, Polled, TRIGGERS};
