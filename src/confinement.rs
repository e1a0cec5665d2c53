//! What a process gives up, and the processes that do what the one that serves then may not.

mod calls;
pub mod namespace_reader;
pub mod sandbox;
