//! The clock that container starts and processor times are measured by.

use cgprocfs_core::time::BootTime;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// The present moment (`CLOCK_BOOTTIME`), which is what the first number of `/proc/uptime` is made from
/// (`uptime_proc_show()`, fs/proc/uptime.c).
#[must_use]
pub fn now() -> BootTime {
    let now = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
    BootTime::from_nanos(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}
