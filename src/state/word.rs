//! Operation shared memory is made of. The tests in `loom/` have what tries every order in its place.

pub use std::sync::atomic::AtomicU64 as Word;
pub(crate) use std::sync::atomic::{Ordering, fence};
