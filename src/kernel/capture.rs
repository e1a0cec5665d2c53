//! A copy of what the answers to one reader are made from, small enough to be sent to somebody else.
//!
//! Every [list](lists) names files that are read somewhere in [`kernel`](super). A golden test copies each
//! tree of `tests/fixtures` and has the copy give the same answers, so that a file that is missing here is
//! noticed there.

mod ages;
mod copy;
mod error;
mod files;
mod freezers;
mod hierarchies;
mod host;
mod lists;
mod namespaces;
mod processes;
mod processors;
mod tree;

pub use self::copy::Copied;
pub use self::error::CopyError;
use cgprocfs_core::parse::pid::Pid;

use self::copy::TreeCopy;
use super::identity::reader::Reader;
use super::source::Source;
use crate::error::{Error, escaped};
use cgprocfs_core::snapshot::Needs;
use std::path::Path;
use std::time::Duration;

impl Source {
    /// Copies what the answers to the reader `pid` are made from into the directory `root`.
    ///
    /// # Errors
    /// Where the reader is gone or can't be looked at, or the copy can't be written.
    pub fn copy(&self, pid: Pid, root: &Path) -> Result<Copied, CopyError> {
        let mut text = Vec::new();
        let (max_age, needs) = (Duration::ZERO, Needs::START);
        let reader = Reader { pid, max_age, needs, may_search: true, may_hang: true };
        let caller = self.caller(reader, &mut text)?;
        let container = caller.container;
        let mut copy = TreeCopy::new(self, pid, container, root)?;
        copy.copy_host()?;
        copy.copy_namespaces(&caller)?;
        copy.copy_hierarchies(&caller)?;
        copy.copy_processes(&caller)?;
        copy.copy_freezers(&caller)?;
        let mut now = Vec::new();
        self.procfs.read_of(pid, "cgroup", &mut now)?;
        if now != caller.proc_cgroup {
            return Err(Error::CgroupGone(escaped(caller.cgroup)).into());
        }
        Ok(copy.copied)
    }
}
