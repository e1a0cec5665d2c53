//! The unit of shared memory: an atomic word. The tests in `loom/` put loom's own in its place.

pub use std::sync::atomic::AtomicU64 as Word;
pub(crate) use std::sync::atomic::{Ordering, fence};
