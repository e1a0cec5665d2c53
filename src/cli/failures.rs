//! How often the server of a unit has failed lately. systemd counts starts, too, but drops the connection when it gives up, before
//! anything can give containers the kernel's own files.

use cgprocfs_core::parse::{decimal, lines};
use rustix::fs::{Mode, OFlags, open};
use rustix::time::{ClockId, clock_gettime};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// As many within [`PERIOD`] are too many: a few less than `StartLimitBurst=` of the unit.
const TOO_MANY: usize = 36;
/// `StartLimitIntervalSec=` of the unit, in seconds.
const PERIOD: u64 = 120;

/// The failures of the server of one directory, in a file beside it.
pub(super) struct Failures {
    path: PathBuf,
}

impl Failures {
    /// Those of a directory of anchors, given by its real path.
    pub(super) fn of(directory: &Path) -> Self {
        let mut path = directory.as_os_str().to_owned();
        path.push(".failures");
        Self { path: path.into() }
    }

    /// Counts one. Where that can't be written systemd's own limit has to do.
    pub(super) fn count(&self) {
        let now = now();
        let lately = self.lately(now);
        let lately = lately.into_iter().rev().take(TOO_MANY - 1).rev();
        let text: String = lately.chain([now]).map(|moment| format!("{moment}\n")).collect();
        if let Err(error) = self.write(&text) {
            log::warn!("cannot write {}: {error}; a crash loop ends later", self.path.display());
        }
    }

    /// Whether they are too many.
    pub(super) fn are_too_many(&self) -> bool {
        self.lately(now()).len() >= TOO_MANY
    }

    /// Forgets them.
    pub(super) fn forget(&self) {
        // Mostly there are none.
        let _ = fs::remove_file(&self.path);
    }

    /// When they were, in seconds since the boot.
    fn lately(&self, now: u64) -> Vec<u64> {
        let mut text = Vec::new();
        // What is not root's, or too long, was not written here.
        let read = self.open(OFlags::RDONLY).and_then(|file| file.take(4096).read_to_end(&mut text));
        if read.is_err() {
            return Vec::new();
        }
        let moments = lines(&text).into_iter().flatten().filter_map(|line| decimal(line).ok());
        moments.filter(|moment| (now.saturating_sub(PERIOD)..=now).contains(moment)).collect()
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut file = self.open(OFlags::WRONLY | OFlags::CREATE)?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())
    }

    fn open(&self, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = open(&self.path, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(file.into())
    }
}

fn now() -> u64 {
    u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_too_many_until_they_are_long_ago_or_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let failures = Failures::of(&directory.path().join("anchors"));
        for _ in 1..TOO_MANY {
            failures.count();
        }
        assert!(!failures.are_too_many());
        (0..2 * TOO_MANY).for_each(|_| failures.count());
        assert!(failures.are_too_many());
        assert_eq!(failures.lately(now()).len(), TOO_MANY);
        assert!(failures.lately(now() + PERIOD + 60).is_empty());
        fs::write(&failures.path, "odd\n-1\n99999999999999999999\n").unwrap();
        assert!(!failures.are_too_many());
        failures.count();
        failures.forget();
        assert!(!failures.path.exists());
    }
}
