//! The numbers by which the kernel names what is open.

use fuser::FileHandle;
use std::sync::atomic::{AtomicU64, Ordering};

/// The lower bits are a number that a server gives out once. Above them is the generation of the server, so
/// that a predecessor's handle is never mistaken for one of ours.
const NUMBER_BITS: u32 = 44;

/// Gives each file, or each directory, that is opened a number.
pub(super) struct HandleNumbers {
    generation: u64,
    next: AtomicU64,
}

impl HandleNumbers {
    pub(super) fn new(generation: u32) -> Self {
        Self { generation: u64::from(generation) << NUMBER_BITS, next: AtomicU64::new(0) }
    }

    pub(super) fn next(&self) -> FileHandle {
        FileHandle(self.generation | (self.next.fetch_add(1, Ordering::Relaxed) % (1 << NUMBER_BITS)))
    }

    /// Whether a predecessor has given out this number.
    pub(super) fn is_inherited(&self, handle: FileHandle) -> bool {
        handle.0 >> NUMBER_BITS != self.generation >> NUMBER_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers before this one put their generation into the upper half.
    #[test]
    fn a_predecessors_numbers_are_not_ours() {
        let (before, ours) = (HandleNumbers::new(6), HandleNumbers::new(7));
        let own = [ours.next(), ours.next()];
        assert!(own[0] != own[1] && !own.iter().any(|&handle| ours.is_inherited(handle)));
        assert!(
            ours.is_inherited(before.next())
                && [6 << 32, 0].into_iter().all(|number| ours.is_inherited(FileHandle(number)))
        );
    }
}
