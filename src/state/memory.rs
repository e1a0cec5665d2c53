//! The shared memory: a sealed memfd that begins with a header.

use super::header::{self, ByteString};
use super::layout::Part;
use super::word::{Ordering, Word};
use crate::sys;
use rustix::fs::{MemfdFlags, SealFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The open memfd, and its header. What was mapped stays so until the process ends.
pub(super) struct SharedMemory {
    file: OwnedFd,
    header: &'static [Word],
    /// In bytes. It never changes.
    length: usize,
}

impl SharedMemory {
    /// Makes one of `length` bytes, all of them 0.
    pub(super) fn create(length: usize) -> io::Result<Self> {
        let file = rustix::fs::memfd_create("cgprocfs", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&file, length as u64)?;
        // Whoever has mapped a memory that shrinks is killed for reading it.
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let header = sys::map_shared(file.as_fd(), 0, header::WORDS)?;
        Ok(Self { file, header, length })
    }

    /// Opens one that another process has made; `None` if it has no room for a header, or could shrink.
    pub(super) fn open(file: OwnedFd) -> io::Result<Option<Self>> {
        let length = rustix::fs::fstat(&file)?.st_size;
        let seals = rustix::fs::fcntl_get_seals(&file)?;
        let length = usize::try_from(length).unwrap_or(0);
        if length < header::WORDS * 8 || !seals.contains(SealFlags::SHRINK) {
            return Ok(None);
        }
        let header = sys::map_shared(file.as_fd(), 0, header::WORDS)?;
        Ok(Some(Self { file, header, length }))
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// A word of the header.
    pub(super) fn word(&self, index: usize) -> &'static Word {
        &self.header[index]
    }

    /// The words of a table; none if it is absent or in another format.
    pub(super) fn map(&self, part: Part) -> io::Result<&'static [Word]> {
        match self.offset(part.index, part.words * 8) {
            Some(offset) if self.word(part.index + 1).load(Ordering::Relaxed) == part.format => {
                sys::map_shared(self.file(), offset, part.words)
            }
            _ => Ok(&[]),
        }
    }

    /// The offset of a part in bytes, as the header's word at `index` has it; `None` if a part of `length`
    /// bytes does not fit there.
    pub(super) fn offset(&self, index: usize, length: usize) -> Option<u64> {
        let offset = self.word(index).load(Ordering::Relaxed);
        let end = usize::try_from(offset).ok()?.checked_add(length)?;
        let is_valid = offset >= (header::WORDS * 8) as u64 && offset % 4096 == 0 && end <= self.length;
        is_valid.then_some(offset)
    }

    pub(super) fn bytes(&self, string: ByteString) -> Vec<u8> {
        let length = usize::try_from(self.word(string.index).load(Ordering::Relaxed)).unwrap_or(0);
        let length = length.min(string.max_words * 8);
        let words = self.header[string.index + 1..].iter().take(length.div_ceil(8));
        let mut bytes: Vec<u8> = words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        bytes.truncate(length);
        bytes
    }

    /// Stores bytes in the header; `None` if there is no room for them.
    pub(super) fn store_bytes(&self, string: ByteString, bytes: &[u8]) -> Option<()> {
        let chunks = bytes.chunks(8);
        if chunks.len() > string.max_words {
            return None;
        }
        self.word(string.index).store(bytes.len() as u64, Ordering::Relaxed);
        for (word, chunk) in self.header[string.index + 1..].iter().zip(chunks) {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
        }
        Some(())
    }
}
