//! Cgroups that are removed, with everybody in them, when they go out of scope.

use cgprocfs::kernel::CgroupMounts;
use cgprocfs_core::parse::CgroupVersion;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The hierarchies, if there is one with the memory controller.
pub fn layout() -> Option<CgroupMounts> {
    CgroupMounts::detect(Path::new("/")).ok()
}

/// The memory controller's cgroup version, if there is one.
pub fn version() -> Option<u8> {
    layout().map(|layout| match layout.memory.version {
        CgroupVersion::V1 => 1,
        CgroupVersion::V2 => 2,
    })
}

/// A cgroup of the memory controller's hierarchy.
pub struct Cgroup {
    pub dir: PathBuf,
    v2: bool,
}

/// Whether there is a hierarchy whose cgroups have their own account of pressure.
pub fn has_pressure() -> bool {
    CgroupMounts::detect(Path::new("/")).is_ok_and(|layout| layout.pressure.is_some())
}

impl Cgroup {
    /// A fresh one at the top, named after the test process so that tests can run twice at once.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let layout = CgroupMounts::detect(Path::new("/")).unwrap();
        let name = format!("cgprocfs-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let v2 = layout.memory.version == CgroupVersion::V2;
        let top = &layout.memory.mount_point;
        if v2 {
            fs::write(top.join("cgroup.subtree_control"), "+memory").unwrap();
        }
        let dir = top.join(name);
        fs::create_dir(&dir).unwrap();
        Self { dir, v2 }
    }

    /// One below, with the memory controller.
    pub fn child(&self, name: impl AsRef<OsStr>) -> Self {
        if self.v2 {
            fs::write(self.dir.join("cgroup.subtree_control"), "+memory").unwrap();
        }
        self.bare_child(name)
    }

    /// One below, with the memory controller only if this one's children have it.
    pub fn bare_child(&self, name: impl AsRef<OsStr>) -> Self {
        let dir = self.dir.join(name.as_ref());
        fs::create_dir(&dir).unwrap();
        Self { dir, v2: self.v2 }
    }

    pub fn limit(self, mib: u64) -> Self {
        self.set_limit(mib << 20);
        self
    }

    pub fn set_limit(&self, bytes: u64) {
        let file = if self.v2 { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(self.dir.join(file), bytes.to_string()).unwrap();
    }

    /// Writes a file of the memory controller that both versions have, or one of them.
    pub fn write(&self, file: &str, value: &str) {
        fs::write(self.dir.join(file), value).unwrap_or_else(|e| panic!("{file}: {e}"));
    }

    /// Keeps its memory from being swapped, where there is swap.
    pub fn no_swap(self) -> Self {
        let (file, value) = if self.v2 { ("memory.swap.max", "0") } else { ("memory.swappiness", "0") };
        if self.dir.join(file).exists() {
            self.write(file, value);
        }
        self
    }

    /// Limits its memory, and the swap it may have besides.
    pub fn limit_with_swap(self, mib: u64, swap_mib: u64) -> Self {
        let this = self.limit(mib);
        let (file, mib) = if this.v2 {
            ("memory.swap.max", swap_mib)
        } else {
            ("memory.memsw.limit_in_bytes", mib + swap_mib)
        };
        this.write(file, &(mib << 20).to_string());
        this
    }

    pub fn usage(&self) -> u64 {
        let file = if self.v2 { "memory.current" } else { "memory.usage_in_bytes" };
        fs::read_to_string(self.dir.join(file)).unwrap().trim().parse().unwrap()
    }

    /// How much of it is in swap.
    pub fn swapped(&self) -> u64 {
        if self.v2 {
            fs::read_to_string(self.dir.join("memory.swap.current")).unwrap().trim().parse().unwrap()
        } else {
            self.stat("total_swap", "")
        }
    }

    /// A value of `memory.stat`, by its v1 or its v2 key.
    pub fn stat(&self, v1: &str, v2: &str) -> u64 {
        let key = if self.v2 { v2 } else { v1 };
        let text = fs::read_to_string(self.dir.join("memory.stat")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.unwrap().parse().unwrap()
    }

    pub fn pids(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap();
        text.lines().map(|pid| pid.parse().unwrap()).collect()
    }

    /// A command that enters this cgroup and then becomes `program`.
    pub fn command(&self, program: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo 0 > \"$0\" && exec \"$@\""])
            .arg(self.dir.join("cgroup.procs"))
            .args(program);
        command
    }

    /// A command that enters this cgroup from within the namespaces of another process, named by
    /// nsenter's options, and then becomes `program`.
    pub fn command_from(&self, nsenter: &[&str], program: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(nsenter).args(["sh", "-c", "echo 0 > \"$0\" && exec \"$@\""]);
        command.arg(self.dir.join("cgroup.procs")).args(program);
        command
    }

    /// Removes it now.
    pub fn remove(self) {
        super::wait_until("a cgroup can be removed", || cgprocfs::run::remove_cgroup(&self.dir).is_ok());
    }
}

/// A cgroup of the cpuset controller.
pub struct Cpuset {
    dir: PathBuf,
    /// Whether it is that of the memory controller, too.
    is_shared: bool,
}

impl Cgroup {
    /// The one of the same name, which may use those memory nodes.
    pub fn in_cpuset(&self, nodes: &str) -> Cpuset {
        let hierarchy = layout().unwrap().cpuset.unwrap();
        let top = &hierarchy.mount_point;
        let dir = top.join(self.dir.file_name().unwrap());
        let is_shared = dir == self.dir;
        if hierarchy.version == CgroupVersion::V2 {
            fs::write(top.join("cgroup.subtree_control"), "+cpuset").unwrap();
        } else {
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("cpuset.cpus"), fs::read(top.join("cpuset.cpus")).unwrap()).unwrap();
        }
        fs::write(dir.join("cpuset.mems"), nodes).unwrap();
        Cpuset { dir, is_shared }
    }
}

impl Cpuset {
    /// A command that enters it and then becomes `program`.
    pub fn entering<'p>(&self, program: &'p [String]) -> Vec<std::borrow::Cow<'p, str>> {
        let procs = self.dir.join("cgroup.procs").to_str().unwrap().to_string();
        let enter = ["sh", "-c", "echo 0 > \"$0\" && exec \"$@\""].map(Into::into);
        enter
            .into_iter()
            .chain([procs.into()])
            .chain(program.iter().map(|word| word.as_str().into()))
            .collect()
    }
}

impl Drop for Cpuset {
    fn drop(&mut self) {
        for _ in 0..500 {
            if self.is_shared || cgprocfs::run::remove_cgroup(&self.dir).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Children may be in any order of destruction, and the killed need a moment: hundreds of them several
        // seconds.
        let (began, patience) = (Instant::now(), super::patience(60));
        while let Err(error) = cgprocfs::run::remove_cgroup(&self.dir) {
            if began.elapsed() > patience {
                let left = format!("{} is left behind: {error}", self.dir.display());
                // Two panics at once would end all tests.
                assert!(std::thread::panicking(), "{left}");
                return eprintln!("{left}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A name that is not UTF-8.
pub fn name(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// For messages.
pub fn shown(name: &OsStr) -> String {
    name.as_bytes().escape_ascii().to_string()
}
