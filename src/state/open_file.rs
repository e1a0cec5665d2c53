//! What a file that is open is known by.

/// A file that a program has open, by the handle that the kernel was given for it (`fuse_open_out.fh`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpenFile(u64);

impl OpenFile {
    /// The open file with this handle.
    #[must_use]
    pub const fn new(handle: u64) -> Self {
        Self(handle)
    }

    /// The handle.
    #[must_use]
    pub const fn handle(self) -> u64 {
        self.0
    }

    /// The key under which its trigger is stored: 0 is none, and a handle may be 0.
    #[must_use]
    pub const fn key(self) -> u64 {
        self.0 + 1
    }

    /// The open file whose trigger is stored under a key.
    #[must_use]
    pub const fn of_key(key: u64) -> Self {
        Self(key - 1)
    }
}
