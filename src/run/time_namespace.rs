//! A time namespace whose boot is now, so that the program's uptime and the start times of its processes
//! count from the same moment.

use super::error::RunError;
use crate::kernel::boot_clock;
use cgprocfs_core::parse::time_offsets::TimeOffsets;
use cgprocfs_core::time::ClockOffset;
use nix::sched::{CloneFlags, unshare};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

/// Makes the namespace that the program enters; all other clocks there are ours. `None` where there can be
/// none: that is logged, and the program stays in ours.
pub(super) fn booted_now() -> Result<Option<OwnedFd>, RunError> {
    let made = thread::scope(|scope| {
        // The kernel makes it for the children of one thread.
        let thread = thread::Builder::new().name("time".into()).spawn_scoped(scope, make)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread for it failed")))
    });
    match made {
        Ok(namespace) => Ok(Some(namespace)),
        // Limits on all files or threads: what comes after would run into them as well.
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
    // "PID/task/TID", and the file is in no task directory, but any task's can be had as if it were a
    // process's.
    let own = fs::read_link("/proc/thread-self")?;
    let id = own.file_name().map_or_else(OsString::new, OsString::from);
    let offsets: PathBuf = Path::new("/proc").join(id).join("timens_offsets");
    // Where we are not on the host's clocks ourselves, these are what the new ones begin with.
    let ours = TimeOffsets::parse(&fs::read(&offsets)?).map_err(io::Error::other)?.boottime;
    let (seconds, nanos) = ClockOffset::since(boot_clock::now()).on_top_of(ours).seconds_and_nanos();
    // By its number, for Linux 5.6 knows no names (include/uapi/linux/time.h).
    fs::write(offsets, format!("7 {seconds} {nanos}\n"))?;
    File::open("/proc/thread-self/ns/time_for_children").map(OwnedFd::from)
}
