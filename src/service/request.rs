//! A request on its way to the answer.

pub(in crate::service) mod ask;
pub(in crate::service) mod attempt;
pub(in crate::service) mod deadline_reply;
pub(in crate::service) mod dispatch;
pub(in crate::service) mod outcome;
pub(in crate::service) mod pressure;
pub(in crate::service) mod query;
pub(in crate::service) mod reading;
pub(in crate::service) mod requests;
mod small_requests;
mod start_search;
mod target;
