//! A value for each line that is known.

use crate::parse::meminfo::Field;
use crate::units::{Bytes, Kib, MAX};

/// A value for every field: kibibytes, or a plain count for the `HugePages_…` lines.
pub(crate) struct Values([u64; Field::ALL.len()]);

impl Values {
    /// A value of 0 for every field.
    pub(super) const fn new() -> Self {
        Self([0; Field::ALL.len()])
    }

    pub(super) fn set(&mut self, field: Field, value: Kib) {
        self.0[field as usize] = value.get();
    }

    /// Sets a line without a unit.
    pub(super) fn set_count(&mut self, field: Field, value: u64) {
        self.0[field as usize] = value.min(MAX);
    }

    pub(crate) fn get(&self, field: Field) -> Kib {
        Kib::new(self.0[field as usize])
    }
}

/// A counter of `memory.stat` in kibibytes, 0 where this kernel does not have it. Counters are rounded down
/// one by one, before they are added: not all of them are whole pages.
pub(super) fn kib(counter: Option<Bytes>) -> Kib {
    counter.map_or(Kib::ZERO, Bytes::to_kib)
}
