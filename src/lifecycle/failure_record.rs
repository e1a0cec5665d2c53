//! How often the server of a systemd unit has failed lately. systemd counts starts, too, but when it gives up
//! it drops the connection before anything can give containers the kernel's own files.

use crate::kernel::boot_clock;
use cgprocfs_core::parse::{decimal, lines};
use cgprocfs_core::time::BootTime;
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::process::geteuid;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Failures within [`FAILURE_WINDOW`] after which the connection is given up: a few less than
/// `StartLimitBurst=` of the unit.
const MAX_FAILURES: usize = 36;
/// `StartLimitIntervalSec=` of the unit.
const FAILURE_WINDOW: Duration = Duration::from_secs(120);

/// The failures of the server of one directory, in a file beside it.
pub struct FailureRecord {
    path: PathBuf,
}

impl FailureRecord {
    /// The record for a directory of anchors, given by its real path.
    #[must_use]
    pub fn of(directory: &Path) -> Self {
        let mut path = directory.as_os_str().to_owned();
        path.push(".failures");
        Self { path: path.into() }
    }

    /// Adds a failure. If that can't be written, systemd's own limit applies.
    pub fn add(&self) {
        let now = boot_clock::now();
        let lately = self.lately(now);
        let lately = lately.into_iter().rev().take(MAX_FAILURES - 1).rev();
        let text: String =
            lately.chain([now]).map(|moment| format!("{}\n", moment.as_hundredths() / 100)).collect();
        if let Err(error) = self.write(&text) {
            log::warn!("cannot write {}: {error}; a crash loop ends later", self.path.display());
        }
    }

    /// Whether there are so many that the connection is to be given up.
    #[must_use]
    pub fn has_too_many(&self) -> bool {
        self.lately(boot_clock::now()).len() >= MAX_FAILURES
    }

    /// Removes the record.
    pub fn clear(&self) {
        // Mostly there are none.
        let _ = fs::remove_file(&self.path);
    }

    /// When the failures in the window were, to the second: that is what is written.
    fn lately(&self, now: BootTime) -> Vec<BootTime> {
        let mut text = Vec::new();
        let read = self.open(OFlags::RDONLY).and_then(|file| file.take(4096).read_to_end(&mut text));
        if read.is_err() {
            return Vec::new();
        }
        let seconds = lines(&text).into_iter().flatten().filter_map(|line| decimal(line).ok());
        let moments = seconds.filter_map(|seconds| BootTime::from_hundredths(seconds.checked_mul(100)?));
        moments.filter(|moment| (now.before(FAILURE_WINDOW)..=now).contains(moment)).collect()
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut file = self.open(OFlags::WRONLY | OFlags::CREATE)?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())
    }

    fn open(&self, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = open(&self.path, flags, Mode::RUSR | Mode::WUSR)?;
        // In a directory where others may make files, one of theirs would keep the daemon from being started.
        match fstat(&file)?.st_uid == geteuid().as_raw() {
            true => Ok(file.into()),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cgprocfs_core::time::Nanos;

    #[test]
    fn failures_count_until_they_are_long_ago_or_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let record = FailureRecord::of(&directory.path().join("anchors"));
        for _ in 1..MAX_FAILURES {
            record.add();
        }
        assert!(!record.has_too_many());
        (0..2 * MAX_FAILURES).for_each(|_| record.add());
        assert!(record.has_too_many());
        assert_eq!(record.lately(boot_clock::now()).len(), MAX_FAILURES);
        let later = boot_clock::now().after(Nanos::SECOND.times(180));
        assert!(record.lately(later).is_empty());
        fs::write(&record.path, "odd\n-1\n99999999999999999999\n").unwrap();
        assert!(!record.has_too_many());
        (0..MAX_FAILURES).for_each(|_| record.add());
        if geteuid().is_root() {
            std::os::unix::fs::chown(&record.path, Some(65_534), None).unwrap();
            assert!(!record.has_too_many(), "somebody else's is not believed");
        }
        record.clear();
        assert!(!record.path.exists());
    }
}
