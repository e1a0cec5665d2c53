//! What can be told of a host from outside the daemon: whether that serves, who has its files, and what is in
//! the way.
//!
//! Nothing here asks the file system in the process that is to say so: where nobody serves, whoever asks
//! waits for ever.

pub mod binding;
pub mod finding;
pub mod findings;
mod machine;
pub mod status;
