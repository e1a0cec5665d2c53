//! The unit itself, what it makes, and others beside it.

use super::{MEMINFO, SYSTEMD, System, container, total};
use crate::common::cgroup::Cgroup;
use crate::common::load::LIMIT;
use crate::common::{Need, cgprocfs_path, field, finish, host_total, output, test, wait_until};
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(&[Need::Program("systemd-analyze")]) => [
            exposure,
        ],
        test(SYSTEMD) => [
            anchors,
            installed_as_the_pages_say,
            started_beside_the_unit,
            connection_aborted,
            service_that_binds_them,
        ],
    }
}

/// What `systemd-analyze security` thinks of it, from 0 to 10.
fn exposure() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/cgprocfs.service");
    let said =
        output(Command::new("systemd-analyze").args(["security", "--no-pager", "--offline=true"]).arg(unit));
    let level = said.lines().find_map(|line| line.split("Overall exposure level for").nth(1));
    println!("systemd: exposure{}", level.unwrap());
    let number = level.unwrap().split_whitespace().nth(1).unwrap();
    assert!(number.parse::<f64>().unwrap() <= 1.6, "{said}");
}

/// What the unit makes is readable by other users than root, whatever its umask, and is no more each time.
fn anchors() {
    let system = System::boot();
    let read = |path: &str| {
        let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "cat", path];
        output(&mut system.command(&nobody))
    };
    let mut left = Vec::new();
    for _ in 0..3 {
        system.systemctl(&["start", "cgprocfs"]);
        assert!(read("/run/cgprocfs/working_set").trim().parse::<u64>().is_ok());
        assert!(!read("/run/cgprocfs/proc/pressure/cpu").is_empty());
        system.systemctl(&["stop", "cgprocfs"]);
        assert_eq!(read("/run/cgprocfs/working_set"), "");
        assert!(read(MEMINFO).contains("DirectMap"));
        let mounts = output(&mut system.command(&["cat", "/proc/mounts"]));
        left.push(mounts.lines().filter(|line| line.contains(" /run/cgprocfs")).count());
    }
    assert!(left.iter().all(|count| *count == left[0]), "{left:?}");
}

/// The lines under "Install", one after the other, on a host that has nothing yet.
fn installed_as_the_pages_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in ["README.md", "docs/install.md"] {
        let system = System::boot();
        let cgroup = Cgroup::new().limit(LIMIT);
        let run = |line: &str| {
            // The build under test stands for the one that a user has made.
            let line = line.replace("target/release/cgprocfs", &cgprocfs_path().display().to_string());
            output(&mut system.command(&["sh", "-ec", &format!("cd {}; {line}", root.display())]));
        };
        run("rm /usr/bin/cgprocfs /etc/systemd/system/cgprocfs*.service /usr/lib/tmpfiles.d/cgprocfs.conf");
        run("systemctl daemon-reload");
        let page = fs::read_to_string(root.join(page)).unwrap();
        let (_, console) = page.split_once("```console\n# cargo build --release\n").unwrap();
        let (lines, _) = console.split_once("```").unwrap();
        for line in lines.lines() {
            run(line.strip_prefix("# ").unwrap());
        }
        assert_eq!(container(&system, &cgroup).ask(), total(LIMIT));
        assert_eq!(system.systemctl(&["is-enabled", "cgprocfs"]).trim(), "enabled");
        let devices = output(&mut system.command(&["cat", "/var/run/cdi/cgprocfs.json"]));
        assert!(
            devices.contains("\"/run/cgprocfs/proc/meminfo\"") && devices.contains("createContainer"),
            "{devices}"
        );
        assert_eq!(output(&mut system.command(&["stat", "-c", "%a", "/run/cdi/cgprocfs.json"])), "644\n");
    }
}

/// Somebody starts another one beside the unit.
fn started_beside_the_unit() {
    let system = System::boot();
    let cgroup = Cgroup::new().limit(LIMIT);
    system.systemctl(&["start", "cgprocfs"]);
    let mut container = container(&system, &cgroup);
    for options in [&[][..], &["--supervise"]] {
        let words = [&["cgprocfs", "mount"], options, &["/run/cgprocfs"]].concat();
        let refused = finish(&mut system.command(&words));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("is served already"), "{said}");
        assert_eq!(container.ask(), total(LIMIT));
    }
    // Nor does that keep the unit from starting again.
    system.systemctl(&["restart", "cgprocfs"]);
    assert_eq!(container.ask(), total(LIMIT));
}

/// The connection is lost under a daemon that lives.
fn connection_aborted() {
    let system = System::boot();
    let cgroup = Cgroup::new().limit(LIMIT);
    system.systemctl(&["start", "cgprocfs"]);
    let mut container = container(&system, &cgroup);
    assert_eq!(container.ask(), total(LIMIT));
    output(&mut system.command(&["umount", "--force", "--lazy", "/run/cgprocfs/live"]));
    // It had served for less than a minute: whoever aborts again and again makes two mounts a minute, and no
    // more.
    wait_until("the container has the kernel's own values", || {
        container.ask() == format!("MemTotal:       {:8} kB", host_total())
    });
    let state = |unit: &str| system.systemctl(&["show", "--value", "-p", "ActiveState", unit]);
    wait_until("it waits for another attempt", || state("cgprocfs-fallback").trim() == "activating");
    assert_eq!((state("cgprocfs").trim(), system.show("NRestarts").as_str()), ("failed", "0"));
    let start = Instant::now();
    system.systemctl(&["start", "cgprocfs"]);
    wait_until("the container has its values again", || container.ask() == total(LIMIT));
    println!(
        "systemd: connection aborted: started again, a container has its own values after {:?}",
        start.elapsed()
    );
    assert_eq!(field(&output(&mut system.command(&["cat", MEMINFO])), "MemTotal"), host_total());
}

/// A service with the drop-in that `cgprocfs config systemd` prints: each file is a slave, and goes with the
/// daemon.
fn service_that_binds_them() {
    let system = System::boot();
    system.systemctl(&["start", "cgprocfs"]);
    let printed = output(&mut system.command(&["cgprocfs", "config", "systemd"]));
    let units = format!("/proc/{}/root/etc/systemd/system", system.pid);
    fs::write(format!("{units}/app.service"), "[Service]\nType=exec\nExecStart=/bin/sleep infinity\n")
        .unwrap();
    system.add_to("app.service", "cgprocfs", &printed);
    system.systemctl(&["start", "app"]);
    let pid = system.systemctl(&["show", "--value", "-p", "MainPID", "app"]).trim().to_string();
    let table = || output(&mut system.command(&["cat", &format!("/proc/{pid}/mountinfo")]));
    let top = |path: &str| {
        let table = table();
        let line = table.lines().rfind(|line| line.split(' ').nth(4) == Some(path));
        line.unwrap_or_else(|| panic!("{path}: {table}")).to_string()
    };
    let paths = ["/proc/meminfo", "/proc/stat", "/proc/pressure/memory", "/sys/devices/system/cpu"];
    for path in paths {
        let line = top(path);
        assert!(line.contains(" fuse.cgprocfs ") && line.contains(" master:"), "{line}");
    }
    system.systemctl(&["stop", "cgprocfs"]);
    paths.iter().for_each(|path| assert!(!top(path).contains(" fuse."), "{}", top(path)));
    system.systemctl(&["start", "cgprocfs"]);
    wait_until("the service has them again", || {
        paths.iter().all(|path| top(path).contains(" fuse.cgprocfs "))
    });
}
