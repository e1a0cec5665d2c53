//! How the files get into containers of others: what is bound and where, what their runtimes are told, and
//! what is mounted when they do not do it.

pub mod attach;
pub mod bind;
pub mod cdi;
pub mod hook;
pub mod inventory;
pub mod name;
pub mod seccomp_profile;
pub mod snippets;
mod target;
