//! A copy in the making: what every file of this directory adds its part to.

use super::error::CopyError;
use super::processes::Processes;
use super::tree::Directory;
use crate::kernel::source::Source;
use cgprocfs_core::parse::pid::Pid;
use std::path::Path;

/// How many cgroups below and beside the reader's path are looked at: a tenant may make any number.
pub(crate) const MAX_CGROUPS: u32 = 4096;

/// What was copied.
#[derive(Debug, Default)]
pub struct Copied {
    /// The reader's container, in the memory controller's hierarchy; `None` for a process of the host.
    pub container: Option<Vec<u8>>,
    /// What is not in the copy, though an answer might read it: one line for each.
    pub left_out: Vec<String>,
}

/// A copy of what the answers to one reader are made from, while it is made.
pub(crate) struct TreeCopy<'s> {
    pub(crate) source: &'s Source,
    pub(crate) root: Directory,
    /// The sizes of huge pages that the host has, as the hugetlb controller names them.
    pub(crate) huge_page_sizes: Vec<String>,
    pub(crate) processes: Processes,
    /// How many more cgroups may be looked at.
    pub(crate) cgroups_left: u32,
    /// How many cgroups were given another name in the copy.
    pub(crate) renamed: u32,
    pub(crate) copied: Copied,
}

impl<'s> TreeCopy<'s> {
    /// Begins a copy for the reader `pid` in the directory `root`, which is made if need be.
    pub(crate) fn new(
        source: &'s Source,
        pid: Pid,
        container: &[u8],
        root: &Path,
    ) -> Result<Self, CopyError> {
        let container = (container != b"/").then(|| container.to_vec());
        Ok(Self {
            source,
            root: Directory::open(root)?,
            huge_page_sizes: Vec::new(),
            processes: Processes::new(pid),
            cgroups_left: MAX_CGROUPS,
            renamed: 0,
            copied: Copied { container, left_out: Vec::new() },
        })
    }
}
