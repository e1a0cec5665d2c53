//! Which files the kernel has wherever it has others that a capture has: without them an answer looks right
//! and is wrong.

use super::stored::Capture;
use crate::error::Error;
use crate::kernel::cgroup::ancestors::ancestors;
use crate::kernel::cgroup::huge_pages::size_name;
use crate::kernel::{Caller, Hierarchy, Source};
use cgprocfs_core::parse::CgroupVersion;
use cgprocfs_core::parse::meminfo::{Field, Meminfo};
use cgprocfs_core::parse::mountinfo::Mount;
use cgprocfs_core::snapshot::{CgroupFile, HostFile, Needs};
use cgprocfs_core::units::Kib;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The files that an answer to a caller is made from, below the root of a capture.
pub(super) struct Expected<'a> {
    capture: &'a Capture,
    source: &'a Source,
    caller: &'a Caller<'a>,
    files: Vec<PathBuf>,
}

impl<'a> Expected<'a> {
    /// The files for what `needs` covers.
    pub(super) fn of(
        capture: &'a Capture,
        source: &'a Source,
        caller: &'a Caller<'a>,
        needs: Needs,
    ) -> Result<Vec<PathBuf>, Error> {
        let mut expected = Self { capture, source, caller, files: Vec::new() };
        expected.files.extend(hierarchies(&capture.root, needs));
        let nodes = nodes_of(&capture.root);
        let has_nodes = nodes.len() > 1;
        if needs.covers(Needs::COUNTERS) {
            expected.add_time()?;
        }
        if needs.covers(Needs::CPUS) {
            expected.add_limits_on_processors()?;
        }
        if needs.covers(Needs::LEVELS) {
            expected.add_swap();
            expected.add_huge_pages(&nodes)?;
        }
        if needs.covers(Needs::NUMA_STAT) && has_nodes {
            expected.add_of_memory(["memory.numa_stat"; 2]);
        }
        if has_nodes && (needs.covers(Needs::NODES) || needs.covers(Needs::LEVELS)) {
            expected.add_nodes(&nodes)?;
        }
        if needs.covers(Needs::LOAD) {
            expected.add_of_memory(["tasks", "cgroup.threads"]);
        }
        for file in CgroupFile::ALL.into_iter().filter(|file| needs.covers(Needs::cgroup_file(*file))) {
            expected.add_raw(file)?;
        }
        Ok(expected.files)
    }

    fn add_time(&mut self) -> Result<(), Error> {
        if let Some(cpuacct) = &self.source.cgroup_mounts().cpuacct {
            let names = match cpuacct.version {
                CgroupVersion::V1 => &["cpuacct.usage", "cpuacct.stat"][..],
                CgroupVersion::V2 => &["cpu.stat"],
            };
            // The root's time is the host's.
            if let Some(container) = self.caller.container_in(cpuacct)?.filter(|path| *path != b"/") {
                self.files.extend(names.iter().map(|name| path_of(cpuacct, container).join(name)));
            }
        }
        Ok(())
    }

    fn add_limits_on_processors(&mut self) -> Result<(), Error> {
        let mounts = self.source.cgroup_mounts();
        if let Some(cpu) = &mounts.cpu {
            for cgroup in ancestors(self.caller.limited_in(cpu)?) {
                self.add(cpu, cgroup, ["cpu.cfs_quota_us", "cpu.max"]);
                self.add(cpu, cgroup, ["cpu.cfs_period_us", "cpu.max"]);
            }
        }
        self.add_limit(mounts.cpuset.as_ref(), ["cpuset.effective_cpus", "cpuset.cpus.effective"])
    }

    /// Which memory nodes the reader's own cgroup may use, and what is on each.
    fn add_nodes(&mut self, nodes: &[PathBuf]) -> Result<(), Error> {
        if let Some(cpuset) = &self.source.cgroup_mounts().cpuset {
            let names = ["cpuset.effective_mems", "cpuset.mems.effective"];
            self.add(cpuset, self.caller.own_in(cpuset)?, names);
        }
        self.files.push(Path::new(NODES).join("online"));
        self.files.extend(nodes.iter().flat_map(|node| ["meminfo", "cpulist"].map(|file| node.join(file))));
        Ok(())
    }

    /// A file of the cgroup whose limits are the caller's, by the version of its hierarchy.
    fn add_limit(&mut self, hierarchy: Option<&Hierarchy>, names: [&str; 2]) -> Result<(), Error> {
        if let Some(hierarchy) = hierarchy {
            self.add(hierarchy, self.caller.limited_in(hierarchy)?, names);
        }
        Ok(())
    }

    /// A file of the container in the hierarchy of the memory controller.
    fn add_of_memory(&mut self, names: [&str; 2]) {
        self.add(&self.source.cgroup_mounts().memory, self.caller.container, names);
    }

    /// A file of a cgroup, by the version of its hierarchy, if that cgroup has the hierarchy's controller. A
    /// root has few files.
    fn add(&mut self, hierarchy: &Hierarchy, cgroup: &[u8], names: [&str; 2]) {
        let directory = path_of(hierarchy, cgroup);
        let (name, has_it) = match hierarchy.version {
            CgroupVersion::V1 => (names[0], true),
            CgroupVersion::V2 => (names[1], self.has_controller(&directory, hierarchy.controller)),
        };
        if cgroup != b"/" && has_it {
            self.files.push(directory.join(name));
        }
    }

    /// A file that not every kernel has: of all cgroups down to this one, if any of them has it.
    fn add_everywhere(&mut self, hierarchy: &Hierarchy, cgroup: &[u8], names: [&str; 2]) {
        let has_it = |cgroup: &[u8]| {
            let directory = self.capture.root.join(path_of(hierarchy, cgroup));
            names.iter().any(|name| directory.join(name).exists())
        };
        if ancestors(cgroup).any(has_it) {
            ancestors(cgroup).for_each(|cgroup| self.add(hierarchy, cgroup, names));
        }
    }

    fn add_swap(&mut self) {
        let meminfo = fs::read(self.capture.root.join("proc/meminfo")).ok();
        let meminfo = meminfo.and_then(|text| Meminfo::parse(text).ok());
        if meminfo.is_none_or(|meminfo| meminfo.kib(Field::SwapTotal) == Kib::ZERO) {
            return;
        }
        match self.source.cgroup_mounts().memory.version {
            CgroupVersion::V1 => {
                let memory = &self.source.cgroup_mounts().memory;
                self.add(memory, self.caller.cgroup, ["memory.swappiness"; 2]);
                self.add_everywhere(memory, self.caller.cgroup, ["memory.memsw.limit_in_bytes"; 2]);
            }
            CgroupVersion::V2 => {
                self.files.push("proc/sys/vm/swappiness".into());
                self.add_of_memory(["memory.swap.max"; 2]);
                self.add_of_memory(["memory.swap.current"; 2]);
            }
        }
    }

    fn add_huge_pages(&mut self, nodes: &[PathBuf]) -> Result<(), Error> {
        let pools = |directory: &Path| names_in(&self.capture.root.join(directory));
        let of_host = Path::new("sys/kernel/mm/hugepages");
        let mut found: Vec<PathBuf> =
            pools(of_host).iter().map(|pool| of_host.join(pool).join("nr_hugepages")).collect();
        for directory in nodes.iter().map(|node| node.join("hugepages")) {
            let files =
                |pool: &OsString| ["nr_hugepages", "free_hugepages"].map(|file| Path::new(pool).join(file));
            found.extend(pools(&directory).iter().flat_map(files).map(|file| directory.join(file)));
        }
        let sizes = pools(of_host).into_iter().filter_map(|pool| {
            let name = pool.into_string().ok()?;
            name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok().map(Kib::new)
        });
        let sizes: Vec<Kib> = sizes.collect();
        self.files.extend(found);
        let Some(hugetlb) = &self.source.cgroup_mounts().hugetlb else { return Ok(()) };
        for cgroup in ancestors(self.caller.limited_in(hugetlb)?) {
            for size in sizes.iter().map(|size| size_name(*size)) {
                for names in [["limit_in_bytes", "max"], ["usage_in_bytes", "current"]] {
                    let [of_v1, of_v2] = names.map(|name| format!("hugetlb.{size}.{name}"));
                    self.add(hugetlb, cgroup, [&of_v1, &of_v2]);
                    let names = names.map(|name| format!("hugetlb.{size}.rsvd.{name}"));
                    self.add_everywhere(hugetlb, cgroup, [&names[0], &names[1]]);
                }
            }
        }
        Ok(())
    }

    fn add_raw(&mut self, file: CgroupFile) -> Result<(), Error> {
        let mounts = self.source.cgroup_mounts();
        let (hierarchy, names) = match file {
            CgroupFile::MemoryStat => (Some(&mounts.memory), ["memory.stat"; 2]),
            CgroupFile::MemoryEvents => (Some(&mounts.memory), ["memory.oom_control", "memory.events"]),
            CgroupFile::Io => return self.add_io(),
            CgroupFile::PressureCpu => return self.add_pressure("cpu.pressure", HostFile::PressureCpu),
            CgroupFile::PressureMemory => {
                return self.add_pressure("memory.pressure", HostFile::PressureMemory);
            }
            CgroupFile::PressureIo => return self.add_pressure("io.pressure", HostFile::PressureIo),
        };
        if let Some(hierarchy) = hierarchy {
            if let Some(container) = self.caller.container_in(hierarchy)? {
                self.add(hierarchy, container, names);
            }
        }
        Ok(())
    }

    /// Kernels before 4.19 have neither file of v1.
    fn add_io(&mut self) -> Result<(), Error> {
        const OF_V1: [&str; 2] =
            ["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"];
        let Some(io) = &self.source.cgroup_mounts().io else { return Ok(()) };
        let Some(container) = self.caller.container_in(io)? else { return Ok(()) };
        let has = |name: &&str| self.capture.root.join(path_of(io, container)).join(name).exists();
        if io.version == CgroupVersion::V2 || OF_V1.iter().any(has) {
            OF_V1.into_iter().for_each(|name| self.add(io, container, [name, "io.stat"]));
        }
        Ok(())
    }

    /// A kernel that keeps an account of pressure keeps one for each cgroup, unless it was told not to.
    fn add_pressure(&mut self, name: &str, of_host: HostFile) -> Result<(), Error> {
        let Some(hierarchy) = &self.source.cgroup_mounts().pressure else { return Ok(()) };
        let Some(container) = self.caller.container_in(hierarchy)? else { return Ok(()) };
        let directory = path_of(hierarchy, container);
        let is_kept = fs::read(self.capture.root.join(&directory).join("cgroup.pressure"));
        if self.capture.root.join(of_host.path()).exists() && is_kept.is_ok_and(|text| text != b"0\n") {
            self.files.push(directory.join(name));
        }
        Ok(())
    }

    /// Whether a cgroup of v2 has the files of a controller: it lists it, or has one of them.
    fn has_controller(&self, cgroup: &Path, controller: &str) -> bool {
        let cgroup = self.capture.root.join(cgroup);
        let listed = fs::read_to_string(cgroup.join("cgroup.controllers"));
        let is_of_controller = |name: &OsString| {
            let own = name.to_str().and_then(|name| name.strip_prefix(controller)?.strip_prefix('.'));
            // These are there without it.
            own.is_some_and(|own| own != "pressure" && !own.starts_with("stat"))
        };
        listed.is_ok_and(|names| names.split_whitespace().any(|name| name == controller))
            || names_in(&cgroup).iter().any(is_of_controller)
    }
}

const NODES: &str = "sys/devices/system/node";

/// The directories of the memory nodes.
fn nodes_of(root: &Path) -> Vec<PathBuf> {
    let is_node = |name: &OsString| {
        let number = name.as_bytes().strip_prefix(b"node");
        number.is_some_and(|number| number.iter().all(u8::is_ascii_digit))
    };
    let names = names_in(&root.join(NODES)).into_iter().filter(is_node);
    names.map(|name| Path::new(NODES).join(name)).collect()
}

fn names_in(directory: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).collect()
}

/// The files by which hierarchies of the mount table are known to be there, of those that `needs` asks for.
fn hierarchies(root: &Path, needs: Needs) -> Vec<PathBuf> {
    let asked = [
        (Needs::CPUS, &["cpu", "cpuset"][..]),
        (Needs::COUNTERS, &["cpuacct"]),
        (Needs::LEVELS, &["hugetlb", "cpuset"]),
        (Needs::NODES, &["cpuset"]),
        (Needs::LOAD, &["freezer"]),
        (Needs::cgroup_file(CgroupFile::Io), &["blkio"]),
    ];
    let table = fs::read(root.join("proc/self/mountinfo")).unwrap_or_default();
    let of_v1 = Mount::parse_all(&table).unwrap_or_default().into_iter();
    let of_v1 = of_v1.filter(|mount| mount.fs_type == b"cgroup");
    let is_asked = |mount: &Mount| {
        let mut controllers =
            asked.iter().filter(|(need, _)| needs.covers(*need)).flat_map(|(_, names)| *names);
        controllers.any(|controller| mount.has_super_option(controller))
    };
    let marker =
        |mount: Mount| relative(Path::new(OsStr::from_bytes(&mount.mount_point))).join("cgroup.procs");
    of_v1.filter(is_asked).map(marker).collect()
}

/// Where a cgroup of a hierarchy lies below the root.
fn path_of(hierarchy: &Hierarchy, cgroup: &[u8]) -> PathBuf {
    let cgroup = Path::new(OsStr::from_bytes(cgroup));
    relative(&hierarchy.mount_point).join(relative(cgroup))
}

/// A path without the slash that it begins with.
pub(super) fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}
