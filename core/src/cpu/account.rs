//! What the processors of a container have counted: counters that never go back, whatever happens to the
//! container's share of the host's processors.
//!
//! The kernel tells how long all processors together have run a cgroup. Each processor that the container
//! sees gets an equal part of that, from the moment on at which it sees that many; what it had counted before
//! stays. Idle time is what the container could have run, by its bandwidth limit, and did not.
//!
//! The time that was run in all is measured; how much of it was spent in programs and how much in the kernel
//! is sampled. So the whole is split by the ratio of the samples, as the kernel does for a process.

mod cpu_account;
mod saved;
mod times;

pub use self::cpu_account::CpuAccount;
pub use self::saved::MAX_WORDS;
pub use self::times::{CpuCounters, CpuTimes};

#[cfg(test)]
mod tests;
