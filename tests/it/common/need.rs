//! What a test needs of the machine, and says it lacks where it is left out.

use super::{cgroup, field, is_native, is_root, kernel_is_at_least, other_build, package};
use std::process::{Command, Stdio};

/// What a test can't do without. Where it is missing the test is reported as ignored, with the reason.
#[derive(Clone, Copy)]
pub enum Need {
    Root,
    Fuse,
    CgroupV1,
    CgroupV2,
    Program(&'static str),
    /// A module of the Python that the distribution brings.
    PythonModule(&'static str),
    /// A processor that is not emulated.
    Speed,
    /// A kernel that keeps an account of pressure for cgroups.
    Pressure,
    /// Swap, to whatever device.
    Swap,
    /// Swap that is held compressed in memory first.
    Zswap,
    /// Huge pages of 2 MiB, and the controller that limits them.
    HugePages,
    /// More than one memory node, and cpusets.
    MemoryNodes,
    /// So many processors at least.
    Processors(usize),
    /// A guest, which may run out of memory.
    Emulation,
    /// A guest where nothing else runs.
    Solitude,
    /// A kernel that knows of memory nodes.
    Nodes,
    /// A build that is not the one under test.
    OtherBuild,
    /// The Debian package.
    Package,
    /// A kernel as new as this.
    Kernel(u32, u32),
    /// A kernel with time namespaces.
    TimeNamespaces,
    /// The freezer of cgroup v1, or cgroups of v2, which have it all.
    Freezer,
    /// Disks in `/proc/diskstats`.
    Disks,
    /// A kernel that runs programs for i386.
    Programs32,
}

impl Need {
    pub(super) fn missing(self) -> Option<String> {
        let lacks = |there: bool, what: &str| (!there).then(|| what.to_string());
        match self {
            Need::Root => lacks(is_root(), "needs root"),
            Need::Fuse => lacks(std::path::Path::new("/dev/fuse").exists(), "needs /dev/fuse"),
            Need::CgroupV1 => lacks(cgroup::version() == Some(1), "needs the memory controller on cgroup v1"),
            Need::CgroupV2 => lacks(cgroup::version() == Some(2), "needs the memory controller on cgroup v2"),
            Need::Pressure => {
                let is_there = std::path::Path::new("/proc/pressure/cpu").exists();
                lacks(is_there && cgroup::has_pressure(), "needs a cgroup of v2 with pressure")
            }
            Need::Programs32 => lacks(
                std::path::Path::new("/proc/sys/abi/vsyscall32").exists(),
                "needs a kernel that runs programs for i386",
            ),
            Need::Speed => lacks(is_native(), "needs a processor that is not emulated"),
            Need::Swap => {
                let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
                lacks(field(&meminfo, "SwapTotal") > 0, "needs swap")
            }
            Need::Zswap => {
                let enabled = std::fs::read_to_string("/sys/module/zswap/parameters/enabled");
                lacks(enabled.is_ok_and(|enabled| enabled.starts_with('Y')), "needs zswap")
            }
            Need::HugePages => {
                let has_pool = std::path::Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists();
                let has_controller = cgroup::layout().is_some_and(|layout| layout.hugetlb.is_some());
                lacks(has_pool && has_controller, "needs huge pages and the hugetlb controller")
            }
            Need::MemoryNodes => {
                let has_nodes = std::path::Path::new("/sys/devices/system/node/node1/meminfo").exists();
                let has_cpusets = cgroup::layout().is_some_and(|layout| layout.cpuset.is_some());
                lacks(has_nodes && has_cpusets, "needs two memory nodes and cpusets")
            }
            Need::Processors(count) => {
                // Not those that another test has let this process run on.
                let online = std::fs::read("/sys/devices/system/cpu/online").unwrap();
                let there = cgprocfs_core::parse::cpu_list::CpuList::parse(&online).unwrap().len();
                lacks(there >= count, &format!("needs {count} processors"))
            }
            Need::Emulation => lacks(!is_native(), "needs a guest that may run out of memory"),
            Need::Solitude => {
                let is_alone = std::env::var_os("CGPROCFS_TEST_ALONE").is_some();
                lacks(is_alone, "needs a guest where nothing else runs")
            }
            Need::Nodes => {
                let is_there = std::path::Path::new("/sys/devices/system/node").exists();
                lacks(is_there, "needs a kernel that knows of memory nodes")
            }
            Need::Kernel(major, minor) => {
                lacks(kernel_is_at_least(major, minor), &format!("needs Linux {major}.{minor}"))
            }
            Need::TimeNamespaces => {
                let is_there = std::path::Path::new("/proc/self/ns/time").exists();
                lacks(is_there, "needs a kernel with time namespaces")
            }
            Need::Freezer => {
                let is_v1 = cgroup::layout().is_some_and(|layout| layout.freezer.is_some());
                lacks(is_v1 || cgroup::version() == Some(2), "needs a freezer")
            }
            Need::Disks => {
                let disks = std::fs::read_to_string("/proc/diskstats").unwrap_or_default();
                lacks(!disks.is_empty(), "needs disks in /proc/diskstats")
            }
            Need::Package => {
                lacks(package("cgprocfs-lxcfs").is_some(), "needs the package that packaging/build makes")
            }
            Need::OtherBuild => {
                lacks(other_build().is_some(), "needs another build, as of `cargo build --release`")
            }
            Need::Program(name) => lacks(has_program(name), &format!("needs the program {name}")),
            Need::PythonModule(name) => {
                lacks(has_python_module(name), &format!("needs the Python module {name} for {PYTHON}"))
            }
        }
    }
}

/// Everything that mounts.
pub const MOUNT: &[Need] = &[Need::Root, Need::Fuse];

fn has_program(name: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", name]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// The distribution's: it finds the modules that are packages, and one that comes first in PATH need not.
pub const PYTHON: &str = "/usr/bin/python3";

fn has_python_module(name: &str) -> bool {
    let found = Command::new(PYTHON).args(["-c", &format!("import {name}")]).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}
