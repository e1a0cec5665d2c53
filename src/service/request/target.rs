//! What a request is about, once that is known.

use crate::service::cache::cached_cgroup::CachedCgroup;
use crate::service::scheduling::serving_account::ServingAccount;
use std::sync::Arc;

/// The open cgroup that a request is about, and the container that pays for the answer.
#[derive(Clone, Copy)]
pub(super) struct Target<'t> {
    pub(super) cached: &'t Arc<CachedCgroup>,
    /// The serving time of the container.
    pub(super) account: &'t ServingAccount,
    /// The container's path in the hierarchy of the memory controller.
    pub(super) container: &'t [u8],
}
