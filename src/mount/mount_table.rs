//! The mount table of this process's mount namespace.

use cgprocfs_core::parse::mountinfo::Mount;
use std::fs;
use std::io;

/// Reads the table.
///
/// # Errors
/// Where it can't be read or parsed.
pub(super) fn own() -> io::Result<Vec<Mount>> {
    parse(&fs::read("/proc/self/mountinfo")?)
}

/// Parses the text of a `/proc/PID/mountinfo`.
///
/// # Errors
/// `InvalidData` where a line is not understood.
pub(super) fn parse(text: &[u8]) -> io::Result<Vec<Mount>> {
    Mount::parse_all(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
