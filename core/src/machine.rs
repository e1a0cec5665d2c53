//! What differs from machine to machine and is not in any file.

use crate::time::TickRate;
use crate::units::Kib;

/// Constants of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Size of a page of memory, in which limits are counted.
    pub page: Kib,
    /// The unit of most times in `/proc`.
    pub tick_rate: TickRate,
}

impl Machine {
    /// Pages of 4 KiB and a hundred ticks a second, as on nearly every machine.
    pub const USUAL: Self = Self { page: Kib::new(4), tick_rate: TickRate::USUAL };
}
