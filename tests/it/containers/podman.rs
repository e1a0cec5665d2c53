//! Podman with the device that `cgprocfs cdi` describes, and with what `cgprocfs config podman` says for all
//! containers.

use super::{Bundle, MIB, Runtime, devices};
use crate::common::daemon::{Daemon, server, supervised};
use crate::common::{Need, cgprocfs, host_total, output, test, wait_until};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(super) const PODMAN: &[Need] = &[
    Need::Root,
    Need::Fuse,
    Need::CgroupV1,
    Need::Program("podman"),
    Need::Program("runc"),
    Need::Program("crun"),
    Need::Program("busybox"),
];

pub fn tests() -> Vec<Trial> {
    tests! {
        test(PODMAN) => [
            podman_device_with_runc = || device("runc"),
            podman_device_with_crun = || device("crun"),
            podman_device_follows,
            podman_volumes_for_all_containers,
        ],
    }
}

/// What podman needs: a root file system, and a place for what it keeps.
pub(super) struct Podman {
    bundle: Bundle,
    runtime: &'static str,
    configuration: PathBuf,
}

impl Podman {
    pub(super) fn new(daemon: &Daemon, runtime: &'static str) -> Self {
        let bundle = Bundle::of(Runtime::Runc, daemon, 64 * MIB, true, "");
        let configuration = bundle.dir.path().join("containers.conf");
        fs::write(&configuration, "").unwrap();
        for directory in ["tmp", "etc"] {
            fs::create_dir_all(bundle.dir.path().join("rootfs").join(directory)).unwrap();
        }
        output(
            cgprocfs()
                .args(["cdi", "--output"])
                .arg(bundle.dir.path().join("cdi.json"))
                .arg(daemon.directory()),
        );
        Self { bundle, runtime, configuration }
    }

    /// Runs a script in a container. Its first process, and podman's, are in namespaces that end with the
    /// launcher.
    pub(super) fn command(&self, options: &[&str], script: &str) -> Command {
        let directory = self.bundle.dir.path().to_str().unwrap();
        // crun takes a hybrid system for v2 where it finds the unified hierarchy.
        let start = "mount -t tmpfs none /run && mkdir /run/cdi && cp \"$0\"/cdi.json /run/cdi/cgprocfs.json
            umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-ec", start, directory, "podman", "--root"])
            .arg(self.bundle.dir.path().join("store"))
            .args(["--runroot", "/run/podman", "--cgroup-manager", "cgroupfs", "--runtime", self.runtime])
            .args(["run", "--rm", "--interactive", "--network", "none", "--memory", "64m"])
            .args(["--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:4096", "--cgroup-parent"])
            .arg(format!("/{}", self.bundle.id))
            .args(options)
            .arg("--rootfs")
            .arg(self.bundle.dir.path().join("rootfs"))
            .args(["/bin/busybox", "sh", "-c", script])
            .env("CONTAINERS_CONF", &self.configuration)
            // Its monitor writes there if the kernel kills for want of memory.
            .current_dir(self.bundle.dir.path());
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // The cgroup above the container's, and its monitor's, are podman's to make, and nobody's to remove.
        for entry in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let above = entry.path().join(&self.bundle.id);
            for _ in 0..100 {
                let _ = fs::remove_dir(above.join("conmon"));
                if fs::remove_dir(&above).is_ok() || !above.exists() {
                    break;
                }
                // The monitor may not have ended yet.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

pub(super) const DEVICE: &[&str] = &["--device", "cgprocfs.dev/view=all"];

/// A container that says, for each line that it hears, what it has of meminfo and vmstat.
struct Container(Child);

impl Container {
    fn start(podman: &Podman, options: &[&str]) -> Self {
        let script = "while read line; do busybox head -n1 /proc/meminfo; done";
        let mut command = podman.command(options, script);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    fn ask(&mut self) -> String {
        writeln!(self.0.stdin.as_mut().unwrap()).unwrap();
        let mut line = String::new();
        BufReader::with_capacity(1, self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn total(kib: u64) -> String {
    format!("MemTotal:       {kib:8} kB")
}

/// Fourteen files, also those that runc refuses to mount, all of them slaves.
fn device(runtime: &'static str) {
    let daemon = Daemon::start();
    let podman = Podman::new(&daemon, runtime);
    let script = devices::SHOW.replace("cat ", "busybox cat ").replace("head ", "busybox head ");
    let said = output(&mut podman.command(DEVICE, &script));
    devices::check(&daemon, &devices::device(&daemon, "all"), &said);
}

/// Over a killed server, a stop, and another start.
fn podman_device_follows() {
    let mut daemon = supervised();
    let podman = Podman::new(&daemon, "runc");
    let mut container = Container::start(&podman, DEVICE);
    assert_eq!(container.ask(), total(64 << 10));
    let before = daemon.children();
    kill_process(Pid::from_raw(before[0].try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(container.ask(), total(64 << 10));
    server(&daemon, &before);
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert_eq!(container.ask(), total(host_total()));
    let _again = daemon.again();
    wait_until("its own numbers are there again", || container.ask() == total(64 << 10));
}

/// The lines for a podman that knows no devices there.
fn podman_volumes_for_all_containers() {
    let daemon = Daemon::start();
    let podman = Podman::new(&daemon, "crun");
    let printed = output(cgprocfs().args(["config", "podman"]));
    let (_, volumes) = printed.split_once("# Before:\n").unwrap();
    let volumes: String =
        volumes.lines().map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
    let here = volumes.replace("\"/run/cgprocfs/", &format!("\"{}/", daemon.directory().display()));
    fs::write(&podman.configuration, format!("[containers]\n{here}")).unwrap();
    let mut container = Container::start(&podman, &[]);
    assert_eq!(container.ask(), total(64 << 10));
}
