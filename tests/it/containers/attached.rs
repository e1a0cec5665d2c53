//! `cgprocfs attach` and `detach`, with containers of real runtimes that run already.

use super::{Bundle, MIB, RUNC};
use crate::common::daemon::Daemon;
use crate::common::{cgprocfs, finish, output, test, wait_until};
use libtest_mimic::Trial;
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(RUNC) => [
            attached_and_detached,
            attached_in_a_user_namespace_that_is_read_only,
            attached_by_name,
            attached_follows,
            what_is_dead_is_covered,
            all_containers_twice,
            nothing_to_attach_to,
        ],
    }
}

/// A container without any bind of ours, in which a shell runs lines.
struct Running {
    /// Dropped before the bundle.
    process: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    bundle: Bundle,
}

impl Running {
    fn start(daemon: &Daemon, change: impl FnOnce(&Bundle)) -> Self {
        // Each answer ends with an empty line.
        let script = "while read line; do eval \"$line\" 2>&1; echo; done";
        let bundle = Bundle::new(daemon, 64 * MIB, true, script);
        bundle.change(|spec| spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "bind"));
        change(&bundle);
        let mut process = bundle.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut running = Self { process, stdin, lines: BufReader::new(stdout).lines(), bundle };
        running.ask("true");
        running
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.stdin, "{line}").unwrap();
        let answer = self.lines.by_ref().map(Result::unwrap).take_while(|line| !line.is_empty());
        answer.collect::<Vec<_>>().join("\n")
    }

    fn total(&mut self) -> String {
        self.ask("head -n1 /proc/meminfo")
    }

    fn views(&mut self) -> String {
        self.ask("grep fuse.cgprocfs /proc/self/mountinfo")
    }

    /// Its init, as the host sees it.
    fn pid(&self) -> String {
        let state = output(self.bundle.runtime.command().args(["state", &self.bundle.id]));
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        state["pid"].to_string()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.bundle.runtime.command().args(["kill", &self.bundle.id, "KILL"]).output();
        let _ = self.process.wait();
    }
}

fn own() -> String {
    format!("MemTotal:       {:8} kB", 64 << 10)
}

fn native() -> String {
    fs::read_to_string("/proc/meminfo").unwrap().lines().next().unwrap().to_string()
}

fn attach(daemon: &Daemon, whom: &str) -> String {
    output(cgprocfs().args(["attach", "--directory"]).arg(daemon.directory()).arg(whom))
}

/// All files at once, each a slave; a second time nothing is done, and afterwards all is as before.
fn attached_and_detached() {
    let daemon = Daemon::start();
    let mut container = Running::start(&daemon, |_| ());
    assert_eq!(container.total(), native());
    let before = container.ask("cat /proc/self/mountinfo");
    let pid = container.pid();
    let said = attach(&daemon, &pid);
    let views = container.views();
    let count = views.lines().count();
    assert!(
        count >= 11
            && views
                .lines()
                .all(|line| line.contains(" master:") && line.contains(" ro,nosuid,nodev,noexec")),
        "{views}"
    );
    assert_eq!(said, format!("process {pid}: {count} files attached\n"));
    assert_eq!(container.total(), own());
    for file in ["/proc/vmstat", "/proc/pressure/cpu", "/sys/devices/system/cpu", "/dev/cgprocfs/working_set"]
    {
        assert!(views.contains(&format!(" {file} ")), "{file}: {views}");
    }
    // ps and top take a process's start from the uptime.
    assert!(!views.contains("/proc/uptime"));
    assert_ne!(container.ask("cat /dev/cgprocfs/working_set"), "");
    assert_eq!(attach(&daemon, &pid), format!("process {pid}: 0 files attached, {count} were there\n"));
    assert_eq!(container.views(), views);
    let said = output(cgprocfs().args(["detach", &pid]));
    assert_eq!(said, format!("process {pid}: {count} files detached\n"));
    assert_eq!((container.total(), container.ask("cat /proc/self/mountinfo")), (native(), before));
}

/// Whose root is nobody on the host, and who can write nothing.
fn attached_in_a_user_namespace_that_is_read_only() {
    let daemon = Daemon::start();
    let mut container = Running::start(&daemon, |bundle| {
        bundle.change(|spec| {
            spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
            let mappings = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
            (spec["linux"]["uidMappings"], spec["linux"]["gidMappings"]) = (mappings.clone(), mappings);
            spec["root"]["readonly"] = json!(true);
        });
        output(Command::new("chown").arg("-R").arg("100000:100000").arg(bundle.dir.path()));
    });
    let said = attach(&daemon, &container.pid());
    assert!(said.ends_with(" files attached\n"), "{said}");
    assert_eq!(container.total(), own());
    assert_ne!(container.ask("cat /dev/cgprocfs/working_set"), "");
}

/// A container is found by its cgroup, which says what its runtime calls it.
fn attached_by_name() {
    let daemon = Daemon::start();
    // A number that no other test has.
    let id = format!("{:064x}", u128::from(std::process::id()) << 64 | 0xd0c);
    let mut container = Running::start(&daemon, |bundle| {
        bundle.change(|spec| spec["linux"]["cgroupsPath"] = json!(format!("/docker/{id}")));
    });
    let short = &id[..12];
    // Others may begin with as many zeros.
    let said = attach(&daemon, &id);
    assert!(said.starts_with(&format!("docker {short}: ")) && said.contains(" files attached"), "{said}");
    assert_eq!(container.total(), own());
    drop(container);
    let _ = fs::remove_dir("/sys/fs/cgroup/memory/docker");
}

/// As binds that were made when the container started.
fn attached_follows() {
    let mut daemon = Daemon::start();
    let mut container = Running::start(&daemon, |_| ());
    let pid = container.pid();
    attach(&daemon, &pid);
    assert_eq!(container.total(), own());
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert_eq!(container.total(), native());
    let again = daemon.again();
    wait_until("it has its own numbers", || container.total() == own());
    assert!(attach(&again, &pid).contains(" 0 files attached"));
    output(cgprocfs().args(["detach", &pid]));
    assert_eq!((container.total(), container.views()), (native(), String::new()));
}

/// In a pid namespace in which no other containers are to be seen.
fn all_containers_twice() {
    let daemon = Daemon::start();
    let id = format!("{:064x}", u128::from(std::process::id()) << 64 | 0xa11);
    let script = "while :; do sleep 1; done";
    let bundle = Bundle::new(&daemon, 64 * MIB, true, script);
    bundle.change(|spec| {
        spec["linux"]["cgroupsPath"] = json!(format!("/docker/{id}"));
        spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "bind");
    });
    const SCRIPT: &str = "runc run --detach --bundle \"$1\" --pid-file \"$1/pid\" \"$2\" </dev/null >/dev/null 2>&1 || exit
        show() { cat /proc/$(cat \"$1/pid\")/mountinfo; }
        \"$3\" attach --all --directory \"$4\" && show \"$1\" >\"$1/first\" && \"$3\" attach --all --directory \"$4\" && show \"$1\" >\"$1/second\"
        ended=$?
        runc delete --force \"$2\"
        exit $ended";
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--propagation", "slave", "sh", "-c", SCRIPT, "sh"]);
    command
        .arg(bundle.dir.path())
        .arg(&bundle.id)
        .arg(env!("CARGO_BIN_EXE_cgprocfs"))
        .arg(daemon.directory());
    let said = output(&mut command);
    let lines: Vec<&str> = said.lines().collect();
    let [first, second] = lines[..] else { panic!("{said}") };
    let name = format!("docker {}: ", &id[..12]);
    assert!(first.starts_with(&name) && first.ends_with(" files attached"), "{said}");
    assert!(
        second.starts_with(&format!("{name}0 files attached, ")) && second.ends_with(" were there"),
        "{said}"
    );
    let read = |file: &str| fs::read_to_string(bundle.dir.path().join(file)).unwrap();
    assert!(read("first").contains("fuse.cgprocfs"));
    assert_eq!(read("first"), read("second"));
    let _ = fs::remove_dir("/sys/fs/cgroup/memory/docker");
}

/// A bind that is no slave stays as it was when the connection was lost.
fn what_is_dead_is_covered() {
    let mut daemon = Daemon::start();
    let source = daemon.path("proc/meminfo");
    let mut container = Running::start(&daemon, |bundle| {
        bundle.change(|spec| {
            let bind = json!({ "type": "bind", "source": source, "destination": "/proc/meminfo", "options": ["bind", "ro", "private"] });
            spec["mounts"].as_array_mut().unwrap().push(bind);
        });
    });
    assert_eq!(container.total(), own());
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    let again = daemon.again();
    assert!(container.total().contains("Transport endpoint is not connected"), "{}", container.total());
    let pid = container.pid();
    attach(&again, &pid);
    assert_eq!(container.total(), own());
    assert!(attach(&again, &pid).contains(" 0 files attached"));
}

/// What is no container is left alone, and an error says which name or number was wrong.
fn nothing_to_attach_to() {
    let daemon = Daemon::start();
    let (own, directory) = (std::process::id().to_string(), daemon.directory().to_str().unwrap());
    assert_eq!(
        attach(&daemon, &own),
        format!("process {own}: left alone: it has no mount namespace of its own\n")
    );
    for (words, code, message) in [
        (&["attach", "no-such-container"][..], 1, "no container \"no-such-container\" runs here"),
        (&["attach", "4194304", "--directory", directory], 1, "process 4194304 has ended"),
        (&["attach"], 2, "missing: <CONTAINERS|--all>"),
        (&["attach", "--all", "x"], 2, "cannot be used with"),
        (&["detach"], 2, "missing: <CONTAINERS|--all>"),
    ] {
        let ended = finish(cgprocfs().args(words));
        let said = [ended.stdout, ended.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(ended.status.code() == Some(code) && said.contains(message), "{words:?}: {said}");
    }
    let mut container = Running::start(&daemon, |_| ());
    let empty = tempfile::tempdir().unwrap();
    let ended = finish(cgprocfs().args(["attach", &container.pid(), "--directory"]).arg(empty.path()));
    assert!(
        ended.status.code() == Some(1) && String::from_utf8_lossy(&ended.stdout).contains("no view is at")
    );
    assert_eq!(container.total(), native());
}
