//! `cgprocfs show` and `cgprocfs capture`.

use super::{as_nobody, fails};
use crate::common::cgroup::Cgroup;
use crate::common::{Need, cgprocfs, field, finish, output, test};
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;
use std::process::{Child, Command};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(&[]) => [
            show_own_view,
            show_errors,
            capture_errors,
            captures_that_lack_something,
        ],
        test(&[Need::Root]) => [
            capture_says_what_show_says,
            capture_is_bounded,
            capture_without_root,
            show_without_root,
        ],
    }
}

/// `show` prints a view of this process, or of another one.
fn show_own_view() {
    let text = output(cgprocfs().arg("show"));
    assert!(text.starts_with("MemTotal:") && field(&text, "MemAvailable") <= field(&text, "MemTotal"));
    assert!(output(cgprocfs().args(["show", "working_set"])).trim().parse::<u64>().is_ok());
    let parent = std::process::id().to_string();
    assert!(output(cgprocfs().args(["show", "proc/meminfo", "--pid", &parent])).starts_with("MemTotal:"));
}

/// What `show` cannot print is one line and exit code 1.
fn show_errors() {
    fails(
        cgprocfs().args(["show", "nothing"]),
        1,
        "there is no view \"nothing\"; the views are proc/meminfo",
    );
    fails(cgprocfs().args(["show", "--pid", "4194305"]), 1, "process 4194305 is gone");
    fails(cgprocfs().args(["show", "--pid", "0"]), 1, "there is no process 0");
}

fn capture_of(pid: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    output(cgprocfs().args(["capture", "--pid", &pid.to_string()]).arg(dir.path()));
    dir
}

/// Somebody in a cgroup who does nothing.
struct Idle(Option<Child>);

impl Idle {
    fn new(mut command: Command) -> Self {
        let idle = Self(Some(command.spawn().unwrap()));
        let status = format!("/proc/{}/comm", idle.pid());
        crate::common::wait_until("it sleeps", || {
            fs::read_to_string(&status).is_ok_and(|name| name == "sleep\n")
        });
        idle
    }

    fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let child = self.0.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// A capture gives the numbers that the process read, and no names of others.
fn capture_says_what_show_says() {
    let pod = Cgroup::new().limit(64);
    let container = pod.child("container").limit(32);
    let secret = container.child("a-secret-name");
    let idle = Idle::new(container.command(&["sleep", "1000"]));
    let below = Idle::new(secret.command(&["sleep", "1001"]));
    let show = |arguments: &[&str]| output(cgprocfs().arg("show").args(arguments));
    let pid = idle.pid().to_string();
    let mut captured = None;
    // What the kernel has yet to give back of the program's start may go meanwhile.
    crate::common::wait_until("its numbers stand still", || {
        let before = show(&["working_set", "--pid", &pid]);
        let dir = capture_of(idle.pid());
        let same = before == show(&["working_set", "--pid", &pid]);
        captured = same.then_some((dir, before));
        same
    });
    let (dir, working_set) = captured.unwrap();
    let root = dir.path().to_str().unwrap();
    assert_eq!(show(&["--root", root, "working_set"]), working_set);
    assert_eq!(fs::read_to_string(dir.path().join("expected/working_set")).unwrap(), working_set);
    let meminfo = show(&["--root", root, "--pid", &pid, "meminfo"]);
    assert_eq!(field(&meminfo, "MemTotal"), 32 << 10);
    assert_eq!(field(&meminfo, "MemTotal"), field(&show(&["meminfo", "--pid", &pid]), "MemTotal"));
    for view in ["cpuinfo", "cpu/online", "cpu/present", "swaps", "slabinfo"] {
        // The kernel tells the frequency of the moment.
        let still = |text: String| {
            text.lines().filter(|line| !line.contains("MHz")).map(str::to_string).collect::<Vec<_>>()
        };
        assert_eq!(still(show(&["--root", root, view])), still(show(&[view, "--pid", &pid])), "{view}");
    }
    let tasks = |text: &str| text.split(' ').nth(3).map(str::to_string);
    let load = show(&["--root", root, "loadavg"]);
    assert_eq!(tasks(&load), tasks(&show(&["loadavg", "--pid", &pid])), "{load}");
    let all = show(&["--root", root]);
    assert!(all.starts_with("==> proc/meminfo <==\nMemTotal:"), "{all}");
    assert!(all.contains(&format!("\n==> working_set <==\n{working_set}")), "{all}");
    // Neither names of others nor what they run, in a file or its name.
    let hits =
        finish(Command::new("grep").args(["-rlE", "a-secret-name|sleep .*100|\\(sleep\\)"]).arg(dir.path()));
    assert_eq!(String::from_utf8(hits.stdout).unwrap(), "");
    let named = output(Command::new("find").arg(dir.path()).args(["-name", "a-secret-name"]));
    assert_eq!(named, "");
    drop((idle, below));
    secret.remove();
    container.remove();
    pod.remove();
}

/// Whatever a tenant makes below its cgroup, or nests itself in.
fn capture_is_bounded() {
    let container = Cgroup::new().limit(64);
    let mut deep = vec![container.child("d")];
    // As long a path as one can be entered by; that of the copy is longer.
    loop {
        let last = deep.last().unwrap();
        let left = 4060 - last.dir.as_os_str().len();
        if left < 2 {
            break;
        }
        let next = last.child("d".repeat((left - 1).min(60)));
        deep.push(next);
    }
    let idle = Idle::new(deep.last().unwrap().command(&["sleep", "1000"]));
    let dir = capture_of(idle.pid());
    let pid = idle.pid().to_string();
    let show = |arguments: &[&str]| output(cgprocfs().arg("show").args(arguments));
    let root = dir.path().to_str().unwrap();
    assert_eq!(
        field(&show(&["--root", root]), "MemTotal"),
        field(&show(&["--pid", &pid]), "MemTotal"),
        "longer than the longest path that the kernel takes"
    );
    drop(idle);
    deep.into_iter().rev().for_each(Cgroup::remove);
    container.remove();
}

/// What cannot be captured is one line, and nothing is written over.
fn capture_errors() {
    let dir = tempfile::tempdir().unwrap();
    fail_to_capture(dir.path(), &["--pid", "4194305"], "process 4194305 is gone; name one that runs");
    fail_to_capture(dir.path(), &["--pid", "0"], "there is no process 0");
    let full = tempfile::tempdir().unwrap();
    fs::write(full.path().join("mine"), "").unwrap();
    fail_to_capture(full.path(), &[], "is not empty; name an empty or a new directory");
    assert_eq!(fs::read_dir(full.path()).unwrap().count(), 1);
    fail_to_capture(&full.path().join("mine"), &[], "name a directory where there is room and you may write");
    fails(cgprocfs().arg("capture"), 2, "missing: <DIRECTORY>; see `cgprocfs capture --help`");
}

fn fail_to_capture(directory: &Path, arguments: &[&str], message: &str) {
    fails(cgprocfs().arg("capture").arg(directory).args(arguments), 1, message);
}

/// Of a capture that lacks a file, `show` says which.
fn captures_that_lack_something() {
    let empty = tempfile::tempdir().unwrap();
    fails(
        cgprocfs().args(["show", "--root"]).arg(empty.path()),
        1,
        "has no directory `proc`, nor one `root`",
    );
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1-processors");
    let pid = fs::read_to_string(fixture.join("reader")).unwrap().trim().to_string();
    for (file, message) in [
        ("reader", "does not say which process reads; name one with --pid"),
        ("root/proc/meminfo", "lacks proc/meminfo; add it, or capture it again"),
        ("root/proc/self/mountinfo", "lacks proc/self/mountinfo"),
        ("root/proc/PID/cgroup", "lacks proc/PID/cgroup"),
        ("root/proc/PID/ns/pid", "lacks proc/PID/ns/pid"),
        ("root/proc/stat", "lacks proc/stat"),
        ("root/proc/PID/stat", "lacks proc/PID/stat"),
        ("root/sys/fs/cgroup/memory/cgroup.procs", "lacks sys/fs/cgroup/memory/cgroup.procs"),
        ("root/sys/devices/system/cpu/online", "lacks sys/devices/system/cpu/online"),
    ] {
        let copy = tempfile::tempdir().unwrap();
        output(Command::new("cp").arg("-a").arg(fixture.join(".")).arg(copy.path()));
        output(cgprocfs().args(["show", "stat", "--root"]).arg(copy.path()));
        fs::remove_file(copy.path().join(file.replace("PID", &pid))).unwrap();
        let message = message.replace("PID", &pid);
        fails(cgprocfs().args(["show", "stat", "--root"]).arg(copy.path()), 1, &message);
    }
    let swap = fixture.parent().unwrap().join("v2-swap-taken-by-sibling");
    for (tree, file) in [
        ("v1-processors", "sys/fs/cgroup/cpu,cpuacct/pod/ctr/cpuacct.usage"),
        ("v1-processors", "sys/fs/cgroup/cpu,cpuacct/pod/ctr/cpuacct.stat"),
        ("v2-swap-taken-by-sibling", "proc/sys/vm/swappiness"),
        ("v1-swappiness-0", "sys/fs/cgroup/memory/ctr/memory.swappiness"),
    ] {
        let copy = tempfile::tempdir().unwrap();
        output(Command::new("cp").arg("-a").arg(fixture.with_file_name(tree).join(".")).arg(copy.path()));
        let _ = fs::remove_file(copy.path().join("root").join(file));
        let view = if file.ends_with("swappiness") { "meminfo" } else { "stat" };
        let shown = cgprocfs().args(["show", view, "--root"]).arg(copy.path()).output().unwrap();
        let said = String::from_utf8_lossy(&shown.stderr);
        let message =
            format!("{view} is wrong perhaps, for the capture lacks {file}; add it, or capture it again\n");
        assert!(shown.status.success() && said.ends_with(&message), "{said}");
    }
    let cgroup = "root/sys/fs/cgroup/ctr";
    for (controller, file) in [("cpu", "cpu.max"), ("cpuset", "cpuset.cpus.effective")] {
        let copy = tempfile::tempdir().unwrap();
        let tree = fixture.with_file_name("v2-processors-given-to-partition");
        output(Command::new("cp").arg("-a").arg(tree.join(".")).arg(copy.path()));
        let shown = || {
            let shown = cgprocfs().args(["show", "cpuinfo", "--root"]).arg(copy.path()).output().unwrap();
            String::from_utf8(shown.stderr).unwrap()
        };
        let _ = fs::remove_file(copy.path().join(cgroup).join(file));
        assert_eq!(shown(), "", "the container may have no such controller");
        fs::write(copy.path().join(cgroup).join("cgroup.controllers"), format!("{controller} memory\n"))
            .unwrap();
        let lacks = format!("the capture lacks {}/{file};", cgroup.trim_start_matches("root/"));
        assert!(shown().contains(&lacks), "{}", shown());
    }
    for level in ["pod", "pod/ctr"] {
        let at = format!("sys/fs/cgroup/{level}");
        for (file, message) in [
            ("memory.current", format!("lacks {at}/memory.current; add it, or capture it again")),
            ("memory.max", format!("lacks {at}/memory.max")),
            ("memory.stat", format!("lacks {at}/memory.stat")),
            ("memory.swap.current", format!("lacks the cgroup's file {level}/memory.swap.current")),
            ("memory.swap.max", format!("lacks the cgroup's file {level}/memory.swap.max")),
        ] {
            let copy = tempfile::tempdir().unwrap();
            output(Command::new("cp").arg("-a").arg(swap.join(".")).arg(copy.path()));
            fs::remove_file(copy.path().join("root").join(&at).join(file)).unwrap();
            fails(cgprocfs().args(["show", "meminfo", "--root"]).arg(copy.path()), 1, &message);
        }
    }
    let copy = tempfile::tempdir().unwrap();
    output(Command::new("cp").arg("-a").arg(fixture.join(".")).arg(copy.path()));
    fs::write(copy.path().join("page-size"), "12345\n").unwrap();
    fails(
        cgprocfs().args(["show", "--root"]).arg(copy.path()),
        1,
        "is of a machine with pages of 12345 bytes",
    );
}

/// Without root one's own process can be captured, and of others' it says why not.
fn capture_without_root() {
    let (dir, mut command) = as_nobody();
    let into = dir.path().join("capture");
    fs::create_dir(&into).unwrap();
    output(Command::new("chown").arg("65534").arg(&into));
    output(Command::new("chmod").arg("755").arg(dir.path()));
    output(command.arg("capture").arg(&into));
    assert!(output(cgprocfs().args(["show", "proc/meminfo", "--root"]).arg(&into)).starts_with("MemTotal:"));
    let (dir, mut command) = as_nobody();
    let into = dir.path().join("capture");
    fs::create_dir(&into).unwrap();
    output(Command::new("chown").arg("65534").arg(&into));
    fails(command.args(["capture", "--pid", "1"]).arg(&into), 1, "run cgprocfs as root");
}

/// Without root one's own view can be shown, and of others' it says why not.
fn show_without_root() {
    let (_dir, mut command) = as_nobody();
    assert!(output(command.arg("show")).starts_with("MemTotal:"));
    let (_dir, mut command) = as_nobody();
    // Its namespaces are not nobody's to see.
    fails(command.args(["show", "--pid", "1"]), 1, "Permission denied (os error 13); run cgprocfs as root");
}
