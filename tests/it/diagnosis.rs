//! What an administrator is told: `cgprocfs status` and `cgprocfs doctor`.

use crate::common::cgroup::Cgroup;
use crate::common::daemon::{Daemon, server, supervised};
use crate::common::helper::{self, Running};
use crate::common::{MOUNT, Stopped, cgprocfs, cgprocfs_path, finish, load, output, test, wait_until};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            status_of_a_daemon,
            status_of_what_does_not_serve,
            status_is_for_the_host,
            doctor_names_what_is_wrong,
            slow_container_is_named,
        ],
    }
}

fn ask(command: &str, directory: &Path) -> (Option<i32>, Value) {
    let said = finish(cgprocfs().arg(command).arg("--json").arg(directory));
    let text = String::from_utf8(said.stdout).unwrap();
    let value = serde_json::from_str(&text);
    (
        said.status.code(),
        value.unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&said.stderr))),
    )
}

/// What is found about a directory, by the words for it.
fn findings(directory: &Path) -> (Option<i32>, Vec<(String, String)>) {
    let (code, findings) = ask("doctor", directory);
    let of = |finding: &Value| {
        let word = |key: &str| finding[key].as_str().unwrap().to_string();
        (word("id"), word("what"))
    };
    (code, findings.as_array().unwrap().iter().map(of).collect())
}

/// A container that reads meminfo, with the anchor bound as a slave or not.
fn container(cgroup: &Cgroup, anchor: &str, propagation: &str) -> Running {
    let script = "mount --bind \"$0\" /proc/meminfo && exec \"$@\"";
    let unshare = ["unshare", "--mount", "--propagation", propagation, "sh", "-c", script, anchor];
    let helper = helper::command("reopen", &["/proc/meminfo"]);
    let words = unshare.into_iter().chain(helper.iter().map(String::as_str));
    helper::start(&mut cgroup.command(&words.collect::<Vec<_>>()))
}

/// What is said of the container of a process.
fn of_pid(status: &Value, pid: u32) -> Option<Value> {
    let bindings = status["bindings"]["namespaces"].as_array().unwrap();
    bindings.iter().find(|binding| binding["pid"] == pid).cloned()
}

/// `status` says how the daemon is, and which processes have which of its files.
fn status_of_a_daemon() {
    let (daemon, cgroup) = (supervised(), Cgroup::new().limit(64));
    let container =
        load::bound(&[], &cgroup, &daemon.meminfo(), &helper::command("reopen", &["/proc/meminfo"]));
    let (code, status) = ask("status", daemon.directory());
    assert_eq!((code, &status["state"]), (Some(0), &Value::from("serving")), "{status}");
    let service = &status["service"];
    assert_eq!(service["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(service["restarts"], 0);
    assert_eq!(service["kept_by"], "the supervisor");
    assert!(status["views"].as_array().unwrap().iter().any(|view| view == "proc/meminfo"));
    assert_eq!(status["takes_triggers"], false);
    let bound = of_pid(&status, container.process.id()).unwrap_or_else(|| panic!("{status}"));
    assert_eq!(bound["files"][0]["path"], "/proc/meminfo");
    assert_eq!((&bound["files"][0]["follows"], &bound["files"][0]["is_lost"]), (&true.into(), &false.into()));

    let before = daemon.children();
    kill_process(Pid::from_raw(before[0].try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    server(&daemon, &before);
    wait_until("it serves again", || ask("status", daemon.directory()).1["service"]["restarts"] == 1);
    let said = finish(cgprocfs().arg("status").arg(daemon.directory()));
    let text = String::from_utf8(said.stdout).unwrap();
    for part in ["serving, in ", "restarted 1 times", "--cpu-view=quota", "containers"] {
        assert!(text.contains(part), "{text}");
    }
}

/// It never waits for a server: whoever is asked may be stopped.
fn status_of_what_does_not_serve() {
    let daemon = Daemon::start();
    {
        let _stopped = Stopped::new(daemon.pid());
        let start = Instant::now();
        let (code, status) = ask("status", daemon.directory());
        assert_eq!((code, &status["state"]), (Some(1), &Value::from("waiting")), "{status}");
        let (code, found) = findings(daemon.directory());
        assert!(code == Some(2) && found.iter().any(|(id, _)| id == "waiting"), "{found:?}");
        assert!(start.elapsed() < crate::common::allowed(Duration::from_secs(6)), "{:?}", start.elapsed());
    }
    let directory = tempfile::tempdir().unwrap();
    let (code, status) = ask("status", directory.path());
    assert_eq!((code, &status["state"]), (Some(1), &Value::from("absent")));
    let (code, found) = findings(directory.path());
    assert!(code == Some(2) && found.iter().any(|(id, _)| id == "absent"), "{found:?}");
}

/// Root in a container reads nothing of others there, though it may bind the whole file system.
fn status_is_for_the_host() {
    let daemon = Daemon::start();
    let live = daemon.live();
    let own = std::process::id().to_string();
    // Those about threads are read at a thread's id.
    for (name, at) in [(".status", "0"), (".sysinfo", own.as_str()), (".cpu-share", own.as_str())] {
        let words = ["if=".to_string() + live.join(name).to_str().unwrap(), format!("skip={at}")];
        let read = |launcher: &[&str]| -> Output {
            let mut command = Command::new("env");
            command.args(launcher).args(["dd", "bs=64k", "count=1", "iflag=skip_bytes", "status=none"]);
            finish(command.args(&words))
        };
        let ours = read(&[]);
        assert!(ours.status.success() && !ours.stdout.is_empty(), "{name}: {ours:?}");
        for launcher in
            [&["unshare", "--pid", "--fork"][..], &["setpriv", "--reuid", "65534", "--clear-groups"]]
        {
            let theirs = read(launcher);
            assert!(!theirs.status.success() && theirs.stdout.is_empty(), "{name}, {launcher:?}: {theirs:?}");
        }
        let listed = finish(Command::new("ls").arg("-a").arg(&live));
        assert!(!String::from_utf8_lossy(&listed.stdout).contains(name));
    }
    let nobody = finish(
        Command::new("setpriv")
            .args(["--reuid", "65534", "--clear-groups"])
            .arg(cgprocfs_path())
            .arg("status"),
    );
    assert!(!nobody.status.success());
}

/// `doctor` finds files that users may not read, a bind that does not follow and one that is dead, and
/// nothing where all is well.
fn doctor_names_what_is_wrong() {
    let daemon = supervised();
    let cgroup = Cgroup::new().limit(64);
    let mut well = container(&cgroup, &daemon.meminfo(), "slave");
    let about = |pid: u32, found: &[(String, String)], id: &str| {
        found.iter().any(|(of, what)| of == id && what.contains(&format!("process {pid} ")))
    };
    // Whatever else there is on this machine.
    let (_, found) = findings(daemon.directory());
    assert!(["not-slave", "dead"].iter().all(|id| !about(well.process.id(), &found, id)), "{found:?}");
    // A command that is served for itself is no container of the daemon's.
    let mut command = cgprocfs().args(["run", "--", "sleep", "60"]).stderr(Stdio::null()).spawn().unwrap();
    let mut sleeping = None;
    wait_until("the command runs", || {
        sleeping = load::children(command.id()).into_iter().find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
        });
        sleeping.is_some()
    });
    let (_, found) = findings(daemon.directory());
    let _ = kill_process(Pid::from_raw(sleeping.unwrap().try_into().unwrap()).unwrap(), Signal::TERM);
    let _ = command.wait();
    assert!(!found.iter().any(|(_, what)| what.contains("(sleep)")), "{found:?}");

    // As an older version has left them under a umask of 077.
    let root_only = |mode: &str| {
        let script =
            format!("mount -o remount,rw \"$0\"; chmod {mode} \"$0\"/proc; mount -o remount,ro \"$0\"");
        output(Command::new("sh").args(["-ec", &script]).arg(daemon.directory()));
    };
    root_only("700");
    let (code, found) = findings(daemon.directory());
    assert!(code == Some(2) && found.iter().any(|(id, _)| id == "mode"), "{found:?}");
    root_only("755");

    let mut private = container(&cgroup, &daemon.meminfo(), "private");
    let (code, found) = findings(daemon.directory());
    assert!(code >= Some(1) && about(private.process.id(), &found, "not-slave"), "{found:?}");

    // The connection is lost, and the supervisor mounts anew.
    let flags = nix::mount::MntFlags::MNT_FORCE | nix::mount::MntFlags::MNT_DETACH;
    nix::mount::umount2(&daemon.live(), flags).unwrap();
    wait_until("another connection is served", || ask("status", daemon.directory()).1["state"] == "serving");
    // However it is written.
    let slash = format!("{}/", daemon.directory().display());
    assert_eq!(ask("status", Path::new(&slash)).1["state"], "serving");
    let (code, found) = findings(daemon.directory());
    assert!(code == Some(2) && about(private.process.id(), &found, "dead"), "{found:?}");
    assert!(!about(well.process.id(), &found, "dead"), "{found:?}");
    assert!(well.ask().starts_with("MemTotal"));

    // What it says to do.
    let mended = finish(
        cgprocfs()
            .args(["attach", "--directory"])
            .arg(daemon.directory())
            .arg(private.process.id().to_string()),
    );
    assert!(mended.status.success(), "{mended:?}");
    let (_, found) = findings(daemon.directory());
    assert!(!about(private.process.id(), &found, "dead"), "{found:?}");
    assert!(private.ask().starts_with("MemTotal"));
}

/// Which container has to wait for itself.
fn slow_container_is_named() {
    let faults = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_with(&[], &[], &[("CGPROCFS_FAULTS", faults.path().to_str().unwrap())]);
    let cgroup = Cgroup::new().limit(64);
    std::fs::write(faults.path().join("slow-cgroup"), "60").unwrap();
    let name = cgroup.dir.file_name().unwrap().to_str().unwrap().to_string();
    wait_until("it is named", || {
        finish(&mut cgroup.command(&["cat", &daemon.meminfo()]));
        let (_, status) = ask("status", daemon.directory());
        let slow = status["service"]["slow"].as_array().cloned().unwrap_or_default();
        slow.iter().any(|container| container.as_str().unwrap().ends_with(&name))
    });
}
