//! Texts of files of the host, read by descriptors that stay open.

use super::ttl_cell::TtlCell;
use crate::error::Error;
use crate::kernel::kernel_dir::KernelDir;
use crate::kernel::read::READ;
use cgprocfs_core::snapshot::HostFile;
use rustix::buffer::spare_capacity;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

/// The files, each by its place in [`HostFile::ALL`].
#[derive(Default)]
pub(crate) struct HostTexts {
    opened: [OnceLock<OwnedFd>; HostFile::ALL.len()],
    latest: [TtlCell<Arc<[u8]>>; HostFile::ALL.len()],
}

impl HostTexts {
    /// The text of a file, which other answers may have been made from a moment ago.
    pub(crate) fn text(
        &self,
        file: HostFile,
        proc: &KernelDir,
        sys: Option<&KernelDir>,
    ) -> Result<Arc<[u8]>, Error> {
        let unreadable = |e: io::Error| Error::unreadable(format!("/{}", file.path()), e);
        let read = || Ok(read_text(self.opened(file, proc, sys)?, is_one_record(file))?.into());
        match file {
            // Times are measured by it.
            HostFile::Uptime => read().map_err(unreadable),
            _ => self.latest[file as usize].get(read).map_err(unreadable),
        }
    }

    /// Frees the texts that are too old to be used.
    pub(crate) fn sweep(&self) {
        self.latest.iter().for_each(TtlCell::sweep);
    }

    fn opened(&self, file: HostFile, proc: &KernelDir, sys: Option<&KernelDir>) -> io::Result<&OwnedFd> {
        let known = &self.opened[file as usize];
        if let Some(opened) = known.get() {
            return Ok(opened);
        }
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let (top, rest) = file.path().split_once('/').ok_or_else(missing)?;
        let directory = if top == "sys" { sys.ok_or_else(missing)? } else { proc };
        let opened = directory.open(rest, READ)?;
        Ok(known.get_or_init(|| opened))
    }
}

/// Whether the kernel makes all of a file's text at once, so that a read that leaves room has got all of it.
fn is_one_record(file: HostFile) -> bool {
    !matches!(
        file,
        HostFile::Cpuinfo | HostFile::Swaps | HostFile::Vmstat | HostFile::Diskstats | HostFile::Slabinfo
    )
}

/// Reads a file of any length from its start. The kernel hands out a table page by page.
fn read_text(file: &OwnedFd, is_one_record: bool) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        text.reserve(8 << 10);
        let (room, offset) = (text.capacity() - text.len(), text.len() as u64);
        let length = rustix::io::pread(file, spare_capacity(&mut text), offset)?;
        if length == 0 || (is_one_record && length < room) {
            return Ok(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::read::PATH_DIR;
    use rustix::fs::{CWD, Mode, openat};

    #[test]
    fn every_text_is_what_is_read_in_small_pieces() {
        let open =
            |path: &str| KernelDir::attached(openat(CWD, path, PATH_DIR, Mode::empty()).unwrap()).unwrap();
        let (proc, sys, texts) = (open("/proc"), open("/sys"), HostTexts::default());
        let names = |text: &[u8]| -> Vec<String> {
            let lines = String::from_utf8_lossy(text).into_owned();
            lines.lines().map(|line| line.split_whitespace().next().unwrap_or_default().to_string()).collect()
        };
        let mut read = 0;
        for file in HostFile::ALL {
            let Ok(native) = std::fs::read(format!("/{}", file.path())) else { continue };
            let Ok(text) = texts.text(file, &proc, Some(&sys)) else { continue };
            // Numbers change.
            if !matches!(file, HostFile::Uptime | HostFile::Loadavg) {
                assert_eq!(names(&text), names(&native), "{file:?}");
            }
            read += 1;
        }
        assert!(read >= 5, "{read}");
    }

    #[test]
    fn a_text_of_one_record_may_be_longer_than_the_first_buffer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        for length in [0, 1, (8 << 10) - 1, 8 << 10, 100_000] {
            std::fs::write(&path, vec![b'x'; length]).unwrap();
            let file = openat(CWD, &path, READ, Mode::empty()).unwrap();
            for is_one_record in [false, true] {
                assert_eq!(read_text(&file, is_one_record).unwrap().len(), length);
            }
        }
    }
}
