//! Copies the cgroups on the reader's path, and what answers read of others.

use super::copy::{MAX_CGROUPS, TreeCopy};
use super::error::CopyError;
use super::files::{copy_files, directories, read, read_file};
use super::lists::{CGROUP_FILES, HUGETLB_FILES, NESTED_FILES, PROTECTED_FILES};
use super::tree::Directory;
use crate::error::Error;
use crate::kernel::cgroup::ancestors::{AncestorWalk, ancestors};
use crate::kernel::cgroup::caller::Caller;
use crate::kernel::cgroup::location::CgroupLocation;
use crate::kernel::cgroup::mounts::Hierarchy;
use crate::kernel::cgroup::paths::last_name;
use crate::kernel::read::{LIST_DIR, PATH_DIR, READ};
use cgprocfs_core::parse::CgroupVersion;
use rustix::fs::{Mode, openat};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How deep below the container cgroups are copied: no answer looks deeper.
const MAX_DEPTH: usize = 64;

/// A cgroup whose children are copied.
struct Parent<'p> {
    hierarchy: &'p Hierarchy,
    from: &'p OwnedFd,
    to: &'p Directory,
    /// Whether it is the reader's container, or below that.
    in_container: bool,
    /// How far below the reader's path it is.
    depth: usize,
}

impl TreeCopy<'_> {
    /// Copies the cgroups from each hierarchy's root down to the reader's own, and what answers read of
    /// cgroups beside and below them.
    pub(crate) fn copy_hierarchies(&mut self, caller: &Caller<'_>) -> Result<(), CopyError> {
        let cgroup_mounts = &self.source.cgroup_mounts;
        let mut seen: Vec<&Path> = Vec::new();
        for hierarchy in cgroup_mounts.all() {
            if seen.contains(&hierarchy.mount_point.as_path()) {
                continue;
            }
            seen.push(&hierarchy.mount_point);
            let is_of_memory = hierarchy.mount_point == cgroup_mounts.memory.mount_point;
            self.copy_hierarchy(hierarchy, caller, is_of_memory)?;
        }
        Ok(())
    }

    fn copy_hierarchy(
        &mut self,
        hierarchy: &Hierarchy,
        caller: &Caller<'_>,
        is_of_memory: bool,
    ) -> Result<(), CopyError> {
        let mut to = self.root.below(&hierarchy.mount_point)?;
        // A reader that is outside of the hierarchy is outside of it in the copy, too.
        let own = caller.own_in(hierarchy).unwrap_or(b"/");
        let mut walk = AncestorWalk::new(hierarchy);
        let names = self.file_names();
        let levels: Vec<_> = ancestors(own).collect();
        for (index, level) in levels.iter().enumerate() {
            let from = match walk.to(level).and_then(CgroupLocation::open_dir) {
                // An answer that needs it finds in the copy, too, that it is missing.
                Err(Error::CgroupGone(_)) if !is_of_memory => break,
                opened => opened?,
            };
            if *level != b"/" {
                to = to.child(last_name(level))?;
            }
            copy_files(&from, &to, &names)?;
            let in_container =
                is_of_memory && caller.container.len() > 1 && level.len() >= caller.container.len();
            if let Ok(file) = openat(&from, "cgroup.procs", READ, Mode::empty()) {
                let is_start = level.len() == caller.container.len();
                let text = if in_container { read(file).unwrap_or_default() } else { Vec::new() };
                let listed = self.processes.add_listed(&text, in_container && is_start);
                if !(in_container && is_start) {
                    to.write("cgroup.procs", &listed)?;
                }
            }
            if in_container {
                self.copy_tasks(hierarchy, &from, &to)?;
            }
            if is_of_memory && !(*level == b"/" && hierarchy.is_hierarchy_root) {
                let next = levels.get(index + 1).map_or(&b""[..], |next| last_name(next));
                let parent = Parent { hierarchy, from: &from, to: &to, in_container, depth: 0 };
                self.copy_children(&parent, next)?;
            }
        }
        Ok(())
    }

    /// Copies the children of a cgroup under other names, except `next`, which is on the reader's path.
    fn copy_children(&mut self, parent: &Parent<'_>, next: &[u8]) -> Result<(), CopyError> {
        let &Parent { hierarchy, from, to, in_container, depth } = parent;
        let is_v2 = hierarchy.version == CgroupVersion::V2;
        if depth == MAX_DEPTH || !(in_container || is_v2) {
            return Ok(());
        }
        let Ok(listed) = openat(from, ".", LIST_DIR, Mode::empty()) else { return Ok(()) };
        for name in directories(&listed).filter(|name| name != next) {
            if self.cgroups_left == 0 {
                let line = format!("cgroups: those beside and below the reader's beyond {MAX_CGROUPS}");
                if !self.copied.left_out.contains(&line) {
                    self.copied.left_out.push(line);
                }
                break;
            }
            self.cgroups_left -= 1;
            // A cgroup may be removed meanwhile.
            let Ok(child) = openat(from, OsStr::from_bytes(&name), PATH_DIR, Mode::empty()) else { continue };
            let minimum = read_file(&child, "memory.min").ok().filter(|_| is_v2 && depth == 0);
            let is_protected = minimum.is_some_and(|text| text.trim_ascii() != b"0");
            if !is_protected && !in_container {
                continue;
            }
            self.renamed += 1;
            let to = to.child(format!("other-{}", self.renamed).as_bytes())?;
            if is_protected {
                copy_files(&child, &to, PROTECTED_FILES)?;
            }
            if in_container {
                copy_files(&child, &to, NESTED_FILES)?;
                if let Ok(file) = openat(&child, "cgroup.procs", READ, Mode::empty()) {
                    let listed = self.processes.add_listed(&read(file).unwrap_or_default(), false);
                    to.write("cgroup.procs", &listed)?;
                }
                self.copy_tasks(hierarchy, &child, &to)?;
                let child = Parent { hierarchy, from: &child, to: &to, in_container, depth: depth + 1 };
                self.copy_children(&child, b"")?;
            }
        }
        Ok(())
    }

    /// Copies the list of threads of a cgroup, and notes whose states are to be copied.
    fn copy_tasks(&mut self, hierarchy: &Hierarchy, from: &OwnedFd, to: &Directory) -> Result<(), CopyError> {
        let name = match hierarchy.version {
            CgroupVersion::V1 => "tasks",
            CgroupVersion::V2 => "cgroup.threads",
        };
        // The kernel hands out a list page by page.
        let text = openat(from, name, READ, Mode::empty()).map_err(Into::into).and_then(read);
        let Ok(text) = text else { return Ok(()) };
        self.processes.add_tasks(&text);
        to.write(name, &text)
    }

    /// The files to copy of a cgroup on the reader's path.
    fn file_names(&self) -> Vec<String> {
        let sizes = self.huge_page_sizes.iter();
        let huge =
            sizes.flat_map(|size| HUGETLB_FILES.iter().map(move |name| format!("hugetlb.{size}.{name}")));
        CGROUP_FILES.iter().map(ToString::to_string).chain(huge).collect()
    }

    /// Copies the processes, and the list of those that are in the container's cgroup itself.
    pub(crate) fn copy_processes(&mut self, caller: &Caller<'_>) -> Result<(), CopyError> {
        let proc = self.root.below("proc")?;
        let left_out = self.processes.copy(&self.source.procfs, &proc)?;
        self.copied.left_out.extend(left_out);
        if caller.container.len() > 1 {
            let mut container = self.root.below(&self.source.cgroup_mounts.memory.mount_point)?;
            for level in ancestors(caller.container).skip(1) {
                container = container.child(last_name(level))?;
            }
            container.write("cgroup.procs", &self.processes.container_list())?;
        }
        Ok(())
    }
}
