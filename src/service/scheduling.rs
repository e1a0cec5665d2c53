//! Who is served when, and by which thread.

pub(in crate::service) mod dispatcher;
pub(in crate::service) mod fairness;
pub(in crate::service) mod lane;
pub(in crate::service) mod owner;
pub(in crate::service) mod pace;
pub(in crate::service) mod pending_request;
pub(in crate::service) mod permits;
pub(in crate::service) mod priority;
pub(in crate::service) mod read_cost;
pub(in crate::service) mod serving_account;
pub(in crate::service) mod serving_accounts;
pub(in crate::service) mod slow_processes;
pub(in crate::service) mod tenant_bound;
pub(in crate::service) mod thread_usage;
pub(in crate::service) mod turns;
pub(in crate::service) mod worker_pool;
pub(in crate::service) mod workers;
