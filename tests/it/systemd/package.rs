//! The Debian package: installed, upgraded and downgraded under load, removed, purged.

use super::{System, container, total};
use crate::common::cgroup::Cgroup;
use crate::common::load::LIMIT;
use crate::common::{Need, finish, host_total, output, package, test, wait_until};
use libtest_mimic::Trial;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    const PACKAGE: &[Need] = &[
        Need::Root,
        Need::Fuse,
        Need::CgroupV1,
        Need::Program("systemctl"),
        Need::Program("dpkg-deb"),
        Need::Package,
    ];
    tests! {
        test(PACKAGE) => [
            package_from_install_to_purge,
            package_in_place_of_lxcfs,
        ],
        test(&[Need::Program("lintian"), Need::Package]) => [
            package_without_complaints,
        ],
    }
}

/// A host without anything of this.
fn bare_system() -> System {
    let system = System::boot();
    let script = "rm -rf /usr/bin/cgprocfs /etc/systemd/system/cgprocfs* /usr/lib/tmpfiles.d/cgprocfs.conf /usr/sbin/policy-rc.d
        mkdir -p /etc/systemd/system/cgprocfs.service.d
        printf '[Unit]\\nConditionVirtualization=\\n' > /etc/systemd/system/cgprocfs.service.d/here.conf
        systemctl daemon-reload";
    output(&mut system.command(&["sh", "-ec", script]));
    system
}

/// Where the machine under test finds a file of this one.
fn carry(system: &System, file: &Path) -> String {
    let name = file.file_name().unwrap().to_str().unwrap();
    fs::copy(file, format!("/proc/{}/root/root/{name}", system.pid)).unwrap();
    format!("/root/{name}")
}

/// The same package under another version.
fn of_version(package: &Path, version: &str, directory: &Path) -> PathBuf {
    let tree = directory.join(version);
    output(Command::new("dpkg-deb").arg("--raw-extract").arg(package).arg(&tree));
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).unwrap();
    let lines = text.lines().map(|line| match line.starts_with("Version: ") {
        true => format!("Version: {version}\n"),
        false => format!("{line}\n"),
    });
    fs::write(&control, lines.collect::<String>()).unwrap();
    let built = directory.join(format!("cgprocfs_{version}.deb"));
    output(Command::new("dpkg-deb").args(["--build", "-Zgzip"]).arg(&tree).arg(&built));
    built
}

fn dpkg(system: &System, words: &[&str]) -> String {
    let words = [&["dpkg", "--no-triggers", "--force-unsafe-io"], words].concat();
    output(&mut system.command(&words))
}

fn exists(system: &System, path: &str) -> bool {
    Path::new(&format!("/proc/{}/root{path}", system.pid)).exists()
}

fn mounts_left(system: &System) -> usize {
    let mounts = output(&mut system.command(&["cat", "/proc/mounts"]));
    mounts.lines().filter(|line| line.contains(" /run/cgprocfs")).count()
}

/// Installed, the package serves; upgraded, it serves on; removed, containers have the kernel's files;
/// purged, nothing is left.
fn package_from_install_to_purge() {
    let (system, cgroup, directory) =
        (bare_system(), Cgroup::new().limit(LIMIT), tempfile::tempdir().unwrap());
    let package = package("cgprocfs").unwrap();
    let version = output(Command::new("dpkg-deb").arg("--field").arg(&package).arg("Version"));
    let installed = carry(&system, &package);
    let newer = carry(&system, &of_version(&package, "999", directory.path()));

    dpkg(&system, &["--install", &installed]);
    assert_eq!(system.show("ActiveState"), "active");
    assert_eq!(system.systemctl(&["is-enabled", "cgprocfs"]).trim(), "enabled");
    let mut early = container(&system, &cgroup);
    assert_eq!(early.ask(), total(LIMIT));
    for file in [
        "/usr/share/man/man1/cgprocfs-mount.1.gz",
        "/usr/share/bash-completion/completions/cgprocfs",
        "/usr/share/zsh/vendor-completions/_cgprocfs",
        "/usr/share/fish/vendor_completions.d/cgprocfs.fish",
        "/usr/share/doc/cgprocfs/examples/podman",
        "/run/cdi/cgprocfs.json",
        "/etc/default/cgprocfs",
    ] {
        assert!(exists(&system, file), "{file}");
    }

    // What the administrator has set survives all of them.
    let options = format!("/proc/{}/root/etc/default/cgprocfs", system.pid);
    fs::write(&options, "CGPROCFS_CPU_VIEW=cpuset\n").unwrap();
    let load = system.load();
    for package in [&newer, &installed, &newer, &installed] {
        let before = system.server();
        dpkg(&system, &["--force-confold", "--install", package]);
        assert_eq!(system.show("ActiveState"), "active");
        assert_ne!(system.server(), before, "the daemon is the one that was installed");
        assert_eq!(early.ask(), total(LIMIT));
    }
    assert_eq!(system.show("NRestarts"), "0");
    let (reads, longest, busy) = load.end();
    assert!(longest < busy.stretches(Duration::from_secs(2)), "{longest:?}");
    println!("systemd: package exchanged 4 times: {reads} reads, none failed, the longest took {longest:?}");
    assert_eq!(fs::read_to_string(&options).unwrap(), "CGPROCFS_CPU_VIEW=cpuset\n");
    let listed = dpkg(&system, &["--status", "cgprocfs"]);
    assert!(listed.contains(&format!("Version: {}", version.trim())), "{listed}");

    dpkg(&system, &["--remove", "cgprocfs"]);
    let native = format!("MemTotal:       {:8} kB", host_total());
    assert_eq!(early.ask(), native);
    assert!(!exists(&system, "/usr/bin/cgprocfs") && !exists(&system, "/run/cdi/cgprocfs.json"));
    // Whoever starts a container with such files now can.
    assert_eq!(container(&system, &cgroup).ask(), native);
    assert!(exists(&system, "/etc/default/cgprocfs"));

    dpkg(&system, &["--purge", "cgprocfs"]);
    assert_eq!(mounts_left(&system), 0);
    assert!(!exists(&system, "/run/cgprocfs") && !exists(&system, "/etc/default/cgprocfs"));
    assert_eq!(early.ask(), native, "it keeps the kernel's own file");

    // As on a host that never had it.
    dpkg(&system, &["--install", &installed]);
    assert_eq!(container(&system, &cgroup).ask(), total(LIMIT));
    dpkg(&system, &["--purge", "cgprocfs"]);
    assert_eq!(mounts_left(&system), 0);
}

/// The second package: the tree of lxcfs, its unit's name, its program.
fn package_in_place_of_lxcfs() {
    let (system, cgroup) = (bare_system(), Cgroup::new().limit(LIMIT));
    let both = ["cgprocfs", "cgprocfs-lxcfs"].map(|name| carry(&system, &package(name).unwrap()));
    dpkg(&system, &["--install", &both[0], &both[1]]);
    let is_active = || system.systemctl(&["is-active", "lxcfs"]).trim() == "active";
    assert!(is_active(), "{}", system.log());
    let mounts = || output(&mut system.command(&["cat", "/proc/mounts"]));
    assert!(mounts().contains("cgprocfs /var/lib/lxcfs fuse.lxcfs "), "{}", mounts());
    output(&mut system.command(&["mountpoint", "--quiet", "/var/lib/lxcfs"]));
    let enter = system.enter();
    let read = |path: &str| {
        let words: Vec<&str> = enter.iter().map(String::as_str).chain(["head", "-n1", path]).collect();
        output(&mut cgroup.command(&words)).trim().to_string()
    };
    // Both the tree and the anchors, of the same daemon.
    let both_are_right = || {
        assert_eq!(read("/var/lib/lxcfs/proc/meminfo"), total(LIMIT));
        assert_eq!(read("/run/cgprocfs/proc/meminfo"), total(LIMIT));
    };
    both_are_right();
    assert!(output(&mut system.command(&["lxcfs", "-v"])).contains("in place of lxcfs"));
    for _ in 0..2 {
        system.systemctl(&["restart", "lxcfs"]);
        both_are_right();
        system.systemctl(&["reload", "lxcfs"]);
        both_are_right();
        wait_until("the unit is active", || system.show("ActiveState") == "active");
        let before = system.server();
        output(&mut system.command(&["sh", "-ec", "kill -USR1 \"$(cat /run/lxcfs.pid)\""]));
        wait_until("another serves", || ![0, before].contains(&system.server()));
        both_are_right();
    }
    dpkg(&system, &["--remove", "cgprocfs-lxcfs"]);
    assert!(
        !mounts().contains("fuse.lxcfs /var/lib/lxcfs") && !mounts().contains(" /var/lib/lxcfs "),
        "{}",
        mounts()
    );
    assert_eq!(read("/run/cgprocfs/proc/meminfo"), total(LIMIT));
    dpkg(&system, &["--purge", "cgprocfs-lxcfs", "cgprocfs"]);
    assert!(mounts_left(&system) == 0 && !exists(&system, "/var/lib/lxcfs"));
}

/// What Debian asks of a package.
fn package_without_complaints() {
    for name in ["cgprocfs", "cgprocfs-lxcfs"] {
        let mut lintian = Command::new("lintian");
        let said = finish(lintian.args(["--fail-on", "error,warning"]).arg(package(name).unwrap()));
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.status.success() && !text.contains("W: ") && !text.contains("E: "), "{text}");
    }
}
