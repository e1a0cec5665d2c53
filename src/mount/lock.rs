//! A lock on a directory of anchors: one process at a time mounts there, or supervises the one that does.

use super::error::MountError;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, lstat, open};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// How long a predecessor that has handed its connection over may take to end.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often to try again meanwhile.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// A locked file beside the directory, which is removed in the end. The kernel unlocks it when the last
/// process that has it open is gone, however that ended.
pub struct Lock {
    /// `None` where there can be no such file.
    file: Option<OwnedFd>,
    path: PathBuf,
}

impl Lock {
    /// Locks a directory, given by its real path.
    ///
    /// # Errors
    /// [`MountError::AlreadyServed`] if somebody else has it.
    pub fn take(directory: &Path) -> Result<Self, MountError> {
        let path = path(directory);
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = match open(&path, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => file,
                Err(error @ (Errno::ROFS | Errno::NOTDIR)) => {
                    log::warn!(
                        "cannot make {}: {error}; see to it that no other cgprocfs is started for {}",
                        path.display(),
                        directory.display()
                    );
                    return Ok(Self { file: None, path });
                }
                Err(error) => return Err(MountError::Refused { path, source: error.into() }),
            };
            let refused = |source: io::Error| MountError::Refused { path: path.clone(), source };
            let stat = fstat(&file).map_err(|e| refused(e.into()))?;
            // In a directory where others may make files, one of theirs would keep us out as long as they
            // like.
            if stat.st_uid != 0 || stat.st_mode & 0o077 != 0 {
                return Err(MountError::Forged(path));
            }
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(MountError::AlreadyServed(directory.to_path_buf())),
                Err(error) => return Err(refused(error.into())),
            }
            // The owner before may have removed the file after it was opened here.
            let is_there =
                lstat(&path).is_ok_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino));
            if is_there {
                return Ok(Self { file: Some(file), path });
            }
        }
    }

    /// Locks a directory after a predecessor that has handed its connection over and is about to end.
    ///
    /// # Errors
    /// What [`Lock::take`] returns, if the predecessor does not end in time.
    pub fn take_after_predecessor(directory: &Path) -> Result<Self, MountError> {
        let deadline = Instant::now() + EXIT_TIMEOUT;
        loop {
            match Self::take(directory) {
                Err(MountError::AlreadyServed(_)) if Instant::now() < deadline => {
                    thread::sleep(RETRY_INTERVAL);
                }
                taken => return taken,
            }
        }
    }

    /// Passes the lock on to the programs that this process starts, which keep it after the end of this
    /// process.
    ///
    /// # Errors
    /// The error that the kernel returns.
    pub fn pass_on(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| Ok(fcntl_setfd(file, FdFlags::empty())?))
    }

    /// Unlocks the directory in a process that may not remove the file itself. `remove` has that done by
    /// another.
    pub fn release_by(mut self, remove: impl FnOnce() -> io::Result<()>) {
        if let Some(file) = self.file.take() {
            // Whoever waits for the lock makes another file. One that stays if this fails locks nobody out.
            let _ = remove();
            drop(file);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.file.is_some() {
            // As in `release_by`.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The path of the file that is locked for a directory.
#[must_use]
pub fn path(directory: &Path) -> PathBuf {
    let mut path = directory.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn one_at_a_time() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("anchors");
        let lock = Lock::take(&directory).unwrap();
        assert!(matches!(Lock::take(&directory), Err(MountError::AlreadyServed(_))));
        assert!(Lock::take(&dir.path().join("others")).is_ok());
        drop(lock);
        assert!(!path(&directory).exists());
        assert!(Lock::take(&directory).is_ok());
    }

    #[test]
    fn somebody_elses_file_is_no_lock() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("anchors");
        fs::write(path(&directory), "").unwrap();
        fs::set_permissions(path(&directory), fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(path(&directory), Some(65534), None).unwrap();
        assert!(matches!(Lock::take(&directory), Err(MountError::Forged(_))));
        fs::remove_file(path(&directory)).unwrap();
        std::os::unix::fs::symlink("elsewhere", path(&directory)).unwrap();
        assert!(matches!(Lock::take(&directory), Err(MountError::Refused { .. })));
        assert!(!dir.path().join("elsewhere").exists());
    }
}
