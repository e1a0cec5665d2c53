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
    // On v2 a cgroup with others below it has no processes of its own.
    let (app, secret) = (container.child("app"), container.child("a-secret-name"));
    let idle = Idle::new(app.command(&["sleep", "1000"]));
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
    for file in ["cpu/cpu0/topology/core_id", "cpu/cpu0/topology/thread_siblings", "node/online"] {
        let path = format!("sys/devices/system/{file}");
        if Path::new("/").join(&path).exists() {
            assert_eq!(show(&["--root", root, &path]), show(&[&path, "--pid", &pid]), "{file}");
        }
    }
    let said = finish(cgprocfs().args(["show", "--root", root])).stderr;
    let said = String::from_utf8(said).unwrap();
    assert!(!said.contains("may be wrong"), "it has all that an answer is made from: {said}");
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
    [app, secret].into_iter().for_each(Cgroup::remove);
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
