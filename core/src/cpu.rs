//! Processors: which a container has, and the account of what they have done.

pub mod account;
mod processors;

pub use self::processors::Cpus;
