//! The file system that is mounted among the anchors, be it served or not.

use super::directory::{Anchors, top};
use crate::mount::file_system::{Writes, is_view};
use crate::mount::mount_table;
use cgprocfs_core::parse::mountinfo::Mount;
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a server may take to answer. One that takes longer is taken for one whose connection somebody
/// keeps.
const PROBE_TIMEOUT: Duration = Duration::from_millis(300);

impl Anchors {
    /// Whether a file system is mounted, be it served or not.
    #[must_use]
    pub fn is_mounted(&self) -> bool {
        mount_table::own().is_ok_and(|table| top(&table, &self.live()).is_some())
    }

    /// The device number of the file system that is mounted, as in `0:25`.
    pub(crate) fn device(&self) -> Option<String> {
        let table = mount_table::own().ok()?;
        let live = top(&table, &self.live()).filter(|live| is_view(live))?;
        String::from_utf8(live.device.clone()).ok()
    }

    /// What may be written to the file system that is mounted.
    pub(crate) fn writes(&self) -> Option<Writes> {
        let table = mount_table::own().ok()?;
        let is_read_only = |live: &Mount| live.super_options.split(|&byte| byte == b',').any(|o| o == b"ro");
        top(&table, &self.live())
            .map(|live| if is_read_only(live) { Writes::Nothing } else { Writes::Triggers })
    }

    /// Whether what is mounted can't be served any more, because nobody has kept its connection.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let (sender, answer) = mpsc::channel();
        let live = self.live();
        // If somebody keeps the connection but nobody serves it, this waits as long as this process lives.
        let ask = move || {
            // If it took too long nobody waits for the answer any more.
            let _ = sender.send(rustix::fs::statfs(&live).map(drop));
        };
        let asked = thread::Builder::new().name("probe".into()).spawn(ask);
        let lost = |answer| matches!(answer, Ok(Err(Errno::NOTCONN | Errno::CONNABORTED)));
        asked.is_ok() && lost(answer.recv_timeout(PROBE_TIMEOUT))
    }

    /// Aborts the connection: who waits for an answer gets an error, and the file system is unmounted.
    ///
    /// # Errors
    /// The error that the kernel returns, EINVAL if nothing is mounted.
    pub fn abort(&self) -> io::Result<()> {
        let flags = UnmountFlags::FORCE | UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        Ok(rustix::mount::unmount(self.live(), flags)?)
    }

    /// Gives containers the kernel's own files, whatever is on top now, and aborts the connection, so that
    /// nobody waits for a server any more.
    ///
    /// # Errors
    /// The first of the kernel's.
    pub fn fall_back_and_abort(&self) -> io::Result<()> {
        let fallen_back = self.fall_back();
        let mut aborted = Ok(());
        while aborted.is_ok() && self.is_mounted() {
            aborted = self.abort();
        }
        fallen_back.and(aborted)
    }
}
