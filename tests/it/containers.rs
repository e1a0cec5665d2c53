//! The views in containers of a real runtime, bound as the documentation says.

mod attached;
mod devices;
mod kept_calls;
mod numbers;
mod podman;
mod programs;
mod syscalls;

use crate::common::Need;
use crate::common::daemon::Daemon;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

pub fn tests() -> Vec<Trial> {
    let own = [attached::tests(), devices::tests(), numbers::tests()];
    let with_podman = [podman::tests(), programs::tests(), syscalls::tests(), kept_calls::tests()];
    own.into_iter().chain(with_podman).flatten().collect()
}

const RUNC: &[Need] = &[Need::Root, Need::Fuse, Need::Program("runc"), Need::Program("busybox")];

#[derive(Clone, Copy, PartialEq)]
enum Runtime {
    Runc,
    Crun,
}

impl Runtime {
    fn command(self) -> Command {
        match self {
            Self::Runc => Command::new("runc"),
            Self::Crun => {
                // It takes a hybrid system for v2 where it finds the unified hierarchy.
                let alone =
                    "umount /sys/fs/cgroup/unified 2>/dev/null; exec crun --cgroup-manager=cgroupfs \"$@\"";
                let mut command = Command::new("unshare");
                command.args(["--mount", "--propagation", "slave", "sh", "-c", alone, "crun"]);
                command
            }
        }
    }

    /// What is bound in its containers.
    fn views(self) -> Vec<(&'static str, &'static str)> {
        let mut views = vec![
            ("proc/meminfo", "/proc/meminfo"),
            ("proc/stat", "/proc/stat"),
            ("proc/cpuinfo", "/proc/cpuinfo"),
            ("proc/uptime", "/proc/uptime"),
            ("proc/loadavg", "/proc/loadavg"),
            ("sys/devices/system/cpu", "/sys/devices/system/cpu"),
            ("working_set", "/run/cgprocfs/working_set"),
        ];
        if Path::new("/sys/devices/system/node").exists() {
            views.push(("sys/devices/system/node", "/sys/devices/system/node"));
        }
        // runc has a list of what may lie below /proc.
        if self == Self::Crun {
            views.extend([("proc/vmstat", "/proc/vmstat"), ("proc/pressure/cpu", "/proc/pressure/cpu")]);
        }
        views
    }
}

/// A bundle for a runtime, removed with its container when it goes out of scope.
struct Bundle {
    runtime: Runtime,
    dir: tempfile::TempDir,
    id: String,
}

const MIB: u64 = 1 << 20;

impl Bundle {
    fn new(daemon: &Daemon, memory: u64, cgroup_namespace: bool, script: &str) -> Self {
        Self::of(Runtime::Runc, daemon, memory, cgroup_namespace, script)
    }

    fn of(runtime: Runtime, daemon: &Daemon, memory: u64, cgroup_namespace: bool, script: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id =
            format!("cgprocfs-test-oci-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = tempfile::tempdir().unwrap();
        // The container's root file system is for its users to enter.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = dir.path().join("rootfs");
        for directory in ["bin", "proc", "sys", "dev", "run/cgprocfs"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        copy_program(Path::new("/bin/busybox"), &root);
        copy_program(&std::env::current_exe().unwrap(), &root);
        let bundle = Self { runtime, dir, id };
        bundle.configure(daemon, memory, cgroup_namespace, script);
        bundle
    }

    fn configure(&self, daemon: &Daemon, memory: u64, cgroup_namespace: bool, script: &str) {
        let made = self.runtime.command().arg("spec").current_dir(self.dir.path()).status().unwrap();
        assert!(made.success());
        let path = self.dir.path().join("config.json");
        let mut spec: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["/bin/busybox", "sh", "-c", script]);
        spec["linux"]["cgroupsPath"] = json!(format!("/{}", self.id));
        spec["linux"]["resources"]["memory"] = json!({ "limit": memory });
        spec["linux"]["resources"]["cpu"] = json!({ "quota": 50_000, "period": 100_000 });
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
        if cgroup_namespace {
            namespaces.push(json!({ "type": "cgroup" }));
        }
        let mounts = spec["mounts"].as_array_mut().unwrap();
        for (view, destination) in self.runtime.views() {
            let source = daemon.path(view);
            mounts.push(json!({
                "type": "bind", "source": source, "destination": destination, "options": ["rbind", "ro", "rslave"]
            }));
        }
        fs::write(path, spec.to_string()).unwrap();
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let path = self.dir.path().join("config.json");
        let mut spec: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut spec);
        fs::write(path, spec.to_string()).unwrap();
    }

    /// The shell and what it calls are the host's.
    fn with_programs_of_the_host(&self) {
        self.change(|spec| {
            spec["process"]["args"][0] = json!("/usr/bin/env");
            let mounts = spec["mounts"].as_array_mut().unwrap();
            for directory in
                ["/usr", "/lib", "/lib64", "/bin", "/etc"].into_iter().filter(|path| Path::new(path).exists())
            {
                let options = ["rbind", "ro"];
                mounts.push(
                json!({ "type": "bind", "source": directory, "destination": directory, "options": options }),
            );
            }
        });
    }

    fn command(&self) -> Command {
        let mut command = self.runtime.command();
        command.args(["run", "--bundle"]).arg(self.dir.path()).arg(&self.id).stdin(Stdio::null());
        command
    }

    fn run(&self) -> String {
        let Output { status, stdout, stderr } = self.command().output().unwrap();
        assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = self.runtime.command().args(["delete", "--force", &self.id]).stderr(Stdio::null()).status();
    }
}

/// Copies a program, and the libraries that it asks for, to where it looks for them.
fn copy_program(program: &Path, root: &Path) {
    let name = PathBuf::from("bin").join(program.file_name().unwrap());
    fs::copy(program, root.join(name)).unwrap();
    let listed = Command::new("ldd").arg(program).output().unwrap();
    for library in
        String::from_utf8(listed.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/'))
    {
        let to = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(library, to).unwrap();
    }
}
