//! Moments and lengths of time, in the units that the kernel counts them in. Arithmetic saturates, for the
//! kernel updates counters independently of each other, and some of them wrap.

mod moments;
mod nanos;
mod ticks;

pub use self::moments::{BootTime, ClockOffset, WallTime};
pub use self::nanos::Nanos;
pub use self::ticks::{TickRate, Ticks};
