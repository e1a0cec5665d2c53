//! Copies what the host says of each of its processors.

use super::copy::TreeCopy;
use super::error::CopyError;
use super::files::{copy_files, directories};
use super::lists::{CACHE_FILES, TOPOLOGY_FILES};
use super::tree::Directory;
use crate::kernel::read::{LIST_DIR, PATH_DIR};
use rustix::fs::{Mode, openat};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

impl TreeCopy<'_> {
    /// Copies the topology and the caches of the processors in `/sys/devices/system/cpu`.
    pub(crate) fn copy_processors(sys: impl AsFd, to: &Directory) -> Result<(), CopyError> {
        let Ok(all) = openat(sys, "devices/system/cpu", LIST_DIR, Mode::empty()) else { return Ok(()) };
        let to = to.below("devices/system/cpu")?;
        let is_processor = |name: &Vec<u8>| {
            name.strip_prefix(b"cpu").is_some_and(|rest| rest.iter().all(u8::is_ascii_digit))
        };
        for name in directories(&all).filter(is_processor) {
            let Ok(processor) = openat(&all, OsStr::from_bytes(&name), PATH_DIR, Mode::empty()) else {
                continue;
            };
            let to = to.child(&name)?;
            if let Ok(topology) = openat(&processor, "topology", PATH_DIR, Mode::empty()) {
                copy_files(&topology, &to.child(b"topology")?, TOPOLOGY_FILES)?;
            }
            let Ok(caches) = openat(&processor, "cache", LIST_DIR, Mode::empty()) else { continue };
            let to = to.child(b"cache")?;
            for name in directories(&caches) {
                if let Ok(cache) = openat(&caches, OsStr::from_bytes(&name), PATH_DIR, Mode::empty()) {
                    copy_files(&cache, &to.child(&name)?, CACHE_FILES)?;
                }
            }
        }
        Ok(())
    }
}
