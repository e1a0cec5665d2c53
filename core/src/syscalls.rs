//! What a container has to be answered to system calls that ask the kernel for the machine.

pub mod affinity;
pub mod sysinfo;
mod word_size;

pub use self::word_size::WordSize;
