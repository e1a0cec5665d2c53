//! Containers that are known by their namespaces.

use super::{MIB, hog, meminfo};
use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::helper::{self, start};
use crate::common::{
    MOUNT, Need, cgprocfs, field, finish, host_total, is_emulated, output, test, wait_until,
};
use libtest_mimic::Trial;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            host_pid_namespace,
            system_container_by_its_init_scope,
            system_container_by_its_cgroup_namespace,
            init_in_a_subcgroup_of_any_name,
            injected_into_a_namespace_from_outside,
            shared_pid_namespace_with_a_limited_pause,
            age_in_a_shared_pid_namespace,
            age_never_goes_back,
            namespaces_made_in_the_root_cgroup,
            reader_that_cannot_be_seen,
        ],
        test(&[Need::Root]) => [
            zombie,
        ],
    }
}

/// A process in the host's namespaces is in its own cgroup.
fn host_pid_namespace() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit(64));
    let text = meminfo(&daemon, &container, &[]);
    assert_eq!(field(&text, "MemTotal"), 64 * MIB);
}

/// A process that lives in a cgroup until it goes out of scope, and is init of a pid namespace.
struct Init {
    launcher: Child,
    pid: u32,
}

impl Init {
    /// Starts it by `unshare` with `options`; it then runs `script`.
    fn start(cgroup: &Cgroup, options: &[&str], script: &str) -> Self {
        let mut words = vec!["unshare", "--kill-child", "--pid", "--fork"];
        words.extend(options);
        words.extend(["sh", "-c", script]);
        let launcher = cgroup.command(&words).stdin(Stdio::null()).spawn().unwrap();
        let mut pid = None;
        wait_until("init runs", || {
            let children = format!("/proc/{0}/task/{0}/children", launcher.id());
            pid = std::fs::read_to_string(children).unwrap_or_default().trim().parse().ok();
            pid.is_some()
        });
        Self { launcher, pid: pid.unwrap() }
    }

    fn target(&self) -> String {
        self.pid.to_string()
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        let _ = self.launcher.kill();
        let _ = self.launcher.wait();
    }
}

/// What a process in `cgroup` reads that is in the pid namespace of `init`.
fn meminfo_with(daemon: &Daemon, init: &Init, cgroup: &Cgroup, program: &[&str]) -> String {
    let path = daemon.meminfo();
    let words: Vec<&str> = program.iter().copied().chain(["cat", &path]).collect();
    entered(init, cgroup, &words)
}

/// What a program in `cgroup` says that has entered the pid namespace of `init`.
///
/// Before Linux 6.11 its first read may end with EAGAIN while all processes are searched, which takes an
/// emulated processor seconds.
fn entered(init: &Init, cgroup: &Cgroup, words: &[&str]) -> String {
    for _ in 0..if is_emulated() { 4 } else { 0 } {
        let ended = finish(&mut cgroup.command_from(&["--pid", "--target", &init.target()], words));
        if !String::from_utf8_lossy(&ended.stderr).contains("temporarily unavailable") {
            break;
        }
    }
    output(&mut cgroup.command_from(&["--pid", "--target", &init.target()], words))
}

/// As LXC on cgroup v1: no cgroup namespace; the container is where init is, less `init.scope`.
fn system_container_by_its_init_scope() {
    let daemon = Daemon::start();
    let container = Cgroup::new().limit(64);
    let (scope, service) = (container.child("init.scope"), container.child("ssh.service"));
    let init = Init::start(&scope, &[], "sleep 60");
    let _hog = hog(&service, "20");
    // A reader elsewhere in the container sees what all of it uses.
    let reader = container.child("user.slice");
    let text = meminfo_with(&daemon, &init, &reader, &[]);
    assert_eq!(field(&text, "MemTotal"), 64 * MIB);
    assert!(field(&text, "AnonPages") >= 20 * MIB, "usage is the container's, not the leaf's: {text}");
}

/// The container is the root of the reader's cgroup namespace, wherever in it the reader is.
fn system_container_by_its_cgroup_namespace() {
    let daemon = Daemon::start();
    let container = Cgroup::new().limit(64);
    let (service, leaf) = (container.child("a.service"), container.child("b.service"));
    let _hog = hog(&service, "20");
    // The namespace is made at the container, and its reader then goes below.
    let script = "echo 0 > \"$1\" && exec cat \"$2\"";
    let procs = leaf.dir.join("cgroup.procs");
    let enter = ["unshare", "--cgroup", "sh", "-c", script, "sh", procs.to_str().unwrap(), &daemon.meminfo()];
    // On v2 a cgroup with children that have the controller can't hold processes of its own: begin in one
    // of them.
    let text = if crate::common::cgroup::version() == Some(1) {
        output(&mut container.command(&enter))
    } else {
        let entrance = Cgroup::new();
        let ns = NamespaceAt::new(&container, &entrance);
        output(&mut leaf.command_from(&["--cgroup", "--target", &ns.pid()], &["cat", &daemon.meminfo()]))
    };
    assert_eq!(field(&text, "MemTotal"), 64 * MIB);
    assert!(field(&text, "AnonPages") >= 20 * MIB, "usage is the container's, not the leaf's: {text}");
}

/// A process whose cgroup namespace has its root at a v2 cgroup that has children: it makes the namespace
/// before they get controllers.
struct NamespaceAt {
    holder: helper::Running,
}

impl NamespaceAt {
    fn new(root: &Cgroup, parking: &Cgroup) -> Self {
        let control = root.dir.join("cgroup.subtree_control");
        std::fs::write(&control, "-memory").unwrap();
        let script = "echo 0 > \"$1\"; echo ready; exec sleep 60";
        let procs = parking.dir.join("cgroup.procs");
        let words = ["unshare", "--cgroup", "sh", "-c", script, "sh", procs.to_str().unwrap()];
        let holder = start(&mut root.command(&words));
        std::fs::write(&control, "+memory").unwrap();
        Self { holder }
    }

    fn pid(&self) -> String {
        self.holder.process.id().to_string()
    }
}

/// As a nested Docker's entry point does it: init is in a sub-cgroup whose name means nothing.
fn init_in_a_subcgroup_of_any_name() {
    let daemon = Daemon::start();
    let container = Cgroup::new().limit(64);
    let script =
        format!("mkdir {0}/entry; echo 0 > {0}/entry/cgroup.procs; sleep 60", container.dir.display());
    let init = Init::start(&container, &["--cgroup"], &script);
    let entry = container.dir.join("entry");
    wait_until("init has moved", || {
        std::fs::read_to_string(entry.join("cgroup.procs")).is_ok_and(|p| !p.is_empty())
    });
    // On v2 without the controller, for there are processes beside it.
    let other = container.bare_child("other");
    let _hog = hog(&other, "20");
    let enter = ["--pid", "--cgroup", "--target", &init.target()];
    let script = format!("echo 0 > {}/cgroup.procs && exec cat {}", entry.display(), daemon.meminfo());
    let text = output(Command::new("nsenter").args(enter).args(["sh", "-c", &script]));
    assert_eq!(field(&text, "MemTotal"), 64 * MIB);
    assert!(field(&text, "AnonPages") >= 20 * MIB, "usage is the container's, not init's: {text}");
}

/// As `docker exec`: the parent of such a process is outside, so that no walk along parents finds init.
fn injected_into_a_namespace_from_outside() {
    let daemon = Daemon::start();
    let container = Cgroup::new().limit(64);
    let init_at = container.child("init.scope");
    let init = Init::start(&init_at, &[], "sleep 60");
    let leaf = container.child("exec");
    let other = container.child("other");
    let _hog = hog(&other, "20");
    let text = meminfo_with(&daemon, &init, &leaf, &[]);
    assert!(field(&text, "AnonPages") >= 20 * MIB, "{text}");
}

/// A Kubernetes pod with `shareProcessNamespace`: init is the pause container's, with a limit of its own.
fn shared_pid_namespace_with_a_limited_pause() {
    let daemon = Daemon::start();
    let pod = Cgroup::new().limit(256);
    let (pause, app) = (pod.child("pause").limit(16), pod.child("app").limit(64));
    let init = Init::start(&pause, &[], "sleep 60");
    for launcher in [&[][..], &["unshare", "--cgroup"]] {
        let text = meminfo_with(&daemon, &init, &app, launcher);
        assert_eq!(field(&text, "MemTotal"), 64 * MIB, "{launcher:?}");
    }
}

/// The age that `text` of `proc/uptime` says, in seconds.
fn age(text: &str) -> f64 {
    text.split(' ').next().unwrap().parse().unwrap()
}

/// A pod's pause is older than a container that was started again.
fn age_in_a_shared_pid_namespace() {
    let daemon = Daemon::start();
    let pod = Cgroup::new();
    let (pause, app) = (pod.child("pause"), pod.child("app"));
    let init = Init::start(&pause, &[], "sleep 60");
    std::thread::sleep(Duration::from_secs(2));
    let uptime = daemon.path("proc/uptime").display().to_string();
    let read = |cgroup: &Cgroup| age(&entered(&init, cgroup, &["cat", &uptime]));
    let (of_pause, of_app) = (read(&pause), read(&app));
    assert!(of_pause >= 2.0 && of_app < of_pause - 1.0, "{of_pause} and {of_app}");
}

/// Its oldest process ends, and a pid namespace is made within it.
fn age_never_goes_back() {
    let daemon = Daemon::start();
    let container = Cgroup::new();
    let uptime = daemon.path("proc/uptime").display().to_string();
    let mut eldest = container.command(&["sleep", "60"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let before = age(&output(&mut container.command(&["cat", &uptime])));
    eldest.kill().unwrap();
    eldest.wait().unwrap();
    let after = age(&output(&mut container.command(&["cat", &uptime])));
    let within = age(&output(&mut container.command(&["unshare", "--pid", "--fork", "cat", &uptime])));
    assert!(before >= 1.5 && before <= after && after <= within, "{before}, {after}, {within}");
}

/// Namespaces that begin at the root cgroup mark no container.
fn namespaces_made_in_the_root_cgroup() {
    let daemon = Daemon::start();
    let container = Cgroup::new().limit(64);
    let root = container.dir.parent().unwrap().join("cgroup.procs");
    let script = "echo 0 > \"$1\"; exec unshare --cgroup --pid --fork sh -c 'echo 0 > \"$1\"; exec cat \"$2\"' sh \"$2\" \"$3\"";
    let procs = container.dir.join("cgroup.procs");
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(root).arg(procs).arg(daemon.meminfo());
    let text = output(&mut command);
    assert_eq!(field(&text, "MemTotal"), 64 * MIB);
    assert!(field(&text, "AnonPages") < 16 * MIB, "usage is the cgroup's, not the host's: {text}");
}

/// The daemon is in a pid namespace of its own, and the reader outside.
fn reader_that_cannot_be_seen() {
    let daemon = Daemon::start_by(&["unshare", "--pid", "--fork", "--kill-child"]);
    let (container, began) = (Cgroup::new().limit(64), Instant::now());
    for _ in 0..50 {
        assert_eq!(field(&meminfo(&daemon, &container, &[]), "MemTotal"), host_total());
    }
    wait_until("it is logged", || daemon.log().contains("cannot be seen"));
    // It is said again after a minute.
    let most = 1 + began.elapsed().as_secs() / 60;
    let log = daemon.log();
    assert!((1..=most).contains(&(log.matches("cannot be seen").count() as u64)), "{log}");
}

/// An exiting process is in the root cgroup on v1, which must not make it a process of the host.
fn zombie() {
    let container = Cgroup::new().limit(64);
    let child = container.command(&["true"]).stdin(Stdio::null()).spawn().unwrap();
    let pid = child.id().to_string();
    let status = format!("/proc/{pid}/status");
    wait_until("it is a zombie", || std::fs::read_to_string(&status).is_ok_and(|s| s.contains("State:\tZ")));
    let shown = cgprocfs().args(["show", "--pid", &pid]).output().unwrap();
    drop(child);
    assert_eq!(
        String::from_utf8(shown.stderr).unwrap(),
        format!("cgprocfs: process {pid} is gone; name one that runs\n")
    );
    assert_eq!(shown.status.code(), Some(1));
    let _ = rustix::process::wait(rustix::process::WaitOptions::empty());
}
