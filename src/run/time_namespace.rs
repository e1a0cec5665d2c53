//! A time namespace whose boot is now: what the program is told of its uptime, and what the kernel tells of when its processes
//! started, then count from the same moment.

use super::error::RunError;
use cgprocfs_core::parse::time_offsets;
use nix::sched::{CloneFlags, unshare};
use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

/// Makes one, to be entered by the program, in which all other clocks are ours. `None` where that can't be had, which is said:
/// the program then has ours.
pub(super) fn booted_now() -> Result<Option<OwnedFd>, RunError> {
    let made = thread::scope(|scope| {
        // It is made for the children of this thread alone.
        let thread = thread::Builder::new().name("time".into()).spawn_scoped(scope, make)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread for it failed")))
    });
    match made {
        Ok(namespace) => Ok(Some(namespace)),
        // No limit of its own, but one on all files or threads, which others will run into as well.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::EAGAIN)) => {
            Err(RunError::System("cannot make a time namespace", error))
        }
        Err(error) => {
            log::warn!(
                "cannot make a time namespace: {error}; what ps and top show as elapsed counts from the host's boot; that takes \
                 Linux 5.6 with CONFIG_TIME_NS, and CAP_SYS_TIME"
            );
            Ok(None)
        }
    }
}

fn make() -> io::Result<OwnedFd> {
    unshare(CloneFlags::from_bits_retain(libc::CLONE_NEWTIME))?;
    // "PID/task/TID", and the file is in no task directory, but any task's can be had as if it were a process's.
    let own = fs::read_link("/proc/thread-self")?;
    let id = own.file_name().map_or_else(OsString::new, OsString::from);
    let offsets: PathBuf = Path::new("/proc").join(id).join("timens_offsets");
    // Where we are not on the host's clocks ourselves, these are what the new ones begin with.
    let ours = time_offsets::boottime(&fs::read(&offsets)?).map_err(io::Error::other)?;
    let now = clock_gettime(ClockId::Boottime);
    let now = now.tv_sec.saturating_mul(SECOND).saturating_add(now.tv_nsec);
    let offset = ours.saturating_sub(now);
    // By its number, for Linux 5.6 knows no names (include/uapi/linux/time.h).
    let text = format!("7 {} {}\n", offset.div_euclid(SECOND), offset.rem_euclid(SECOND));
    fs::write(offsets, text)?;
    File::open("/proc/thread-self/ns/time_for_children").map(OwnedFd::from)
}

const SECOND: i64 = 1_000_000_000;
