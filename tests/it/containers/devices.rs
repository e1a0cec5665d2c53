//! The devices that `cgprocfs cdi` describes, and the hook that they have, in containers of real runtimes.
//! What an engine does with a description is to add its mounts and hooks to the container's configuration.

use super::{Bundle, MIB, RUNC, Runtime};
use crate::common::daemon::Daemon;
use crate::common::{Need, cgprocfs, output, test, wait_until};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

pub fn tests() -> Vec<Trial> {
    const CRUN: &[Need] = &[Need::Root, Need::Fuse, Need::Program("crun"), Need::Program("busybox")];
    tests! {
        test(RUNC) => [
            device_in_runc,
            device_in_a_user_namespace,
            device_follows,
            hook_that_can_do_nothing,
        ],
        test(CRUN) => [
            device_in_crun,
        ],
        test(&[Need::Root, Need::Fuse]) => [
            description_is_replaced_at_once,
        ],
    }
}

/// The device of that name, for the views of a daemon.
pub(super) fn device(daemon: &Daemon, name: &str) -> Value {
    let text = output(cgprocfs().args(["cdi", "--output", "-"]).arg(daemon.directory()));
    let specification: Value = serde_json::from_str(&text).unwrap();
    let devices = specification["devices"].as_array().unwrap();
    devices.iter().find(|device| device["name"] == name).unwrap()["containerEdits"].clone()
}

/// A container with a device, and nothing else of ours.
fn bundle(runtime: Runtime, daemon: &Daemon, edits: &Value, script: &str) -> Bundle {
    let bundle = Bundle::of(runtime, daemon, 64 * MIB, true, script);
    bundle.change(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["type"] != "bind");
        let added = edits["mounts"].as_array().into_iter().flatten();
        mounts.extend(added.map(|mount| {
            json!({
                "type": "bind",
                "source": mount["hostPath"],
                "destination": mount["containerPath"],
                "options": mount["options"],
            })
        }));
        // Podman says so where a mount is a slave. Without it crun makes all mounts private.
        spec["linux"]["rootfsPropagation"] = json!("rslave");
        for hook in edits["hooks"].as_array().into_iter().flatten() {
            let stage = hook["hookName"].as_str().unwrap();
            spec["hooks"][stage] = json!([{ "path": hook["path"], "args": hook["args"] }]);
        }
    });
    bundle
}

pub(super) const SHOW: &str = "cat /proc/self/mountinfo; echo; head -n1 /proc/meminfo; head -n1 /proc/vmstat; cat /proc/pressure/memory";

/// Every view is a slave of its anchor, also those that runc refuses to mount, and nothing can be written
/// there.
pub(super) fn check(daemon: &Daemon, edits: &Value, said: &str) {
    let (mounts, rest) = said.split_once("\n\n").unwrap();
    assert!(rest.starts_with(&format!("MemTotal:       {:8} kB\n", 64 << 10)), "{said}");
    let wanted =
        edits["mounts"].as_array().unwrap().iter().map(|mount| mount["containerPath"].as_str().unwrap());
    let hooked = ["/proc/vmstat", "/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io"];
    let hooked = hooked.into_iter().filter(|path| daemon.path(path.trim_start_matches('/')).exists());
    let ours: Vec<&str> = mounts.lines().filter(|line| line.contains(" fuse.cgprocfs ")).collect();
    let targets: Vec<&str> = wanted.chain(hooked).collect();
    for target in &targets {
        let of_target: Vec<_> = ours.iter().filter(|line| line.contains(&format!(" {target} "))).collect();
        let [line] = &of_target[..] else { panic!("{target}: {of_target:?} of\n{mounts}") };
        assert!(line.contains(" master:") && line.contains(" ro,nosuid,nodev,noexec"), "{line}");
    }
    assert_eq!(ours.len(), targets.len(), "{mounts}");
}

fn in_container(runtime: Runtime) {
    let daemon = Daemon::start();
    let all = device(&daemon, "all");
    check(&daemon, &all, &bundle(runtime, &daemon, &all, SHOW).run());
    let single = device(&daemon, "vmstat");
    let said = bundle(runtime, &daemon, &single, "grep -c fuse.cgprocfs /proc/self/mountinfo").run();
    assert_eq!(said, "1\n");
}

/// runc has a list of what it mounts in /proc, and the hook mounts the rest.
fn device_in_runc() {
    in_container(Runtime::Runc);
}

/// crun mounts everything, and the hook mounts nothing twice.
fn device_in_crun() {
    in_container(Runtime::Crun);
}

/// There the hook runs as an unprivileged user of the host.
fn device_in_a_user_namespace() {
    let daemon = Daemon::start();
    let all = device(&daemon, "all");
    let bundle = bundle(Runtime::Runc, &daemon, &all, SHOW);
    bundle.change(|spec| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        let mappings = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
        (spec["linux"]["uidMappings"], spec["linux"]["gidMappings"]) = (mappings.clone(), mappings);
    });
    output(std::process::Command::new("chown").arg("-R").arg("100000:100000").arg(bundle.dir.path()));
    check(&daemon, &all, &bundle.run());
}

/// What the hook has mounted goes with the daemon, too: the kernel's own file after it was stopped, and the
/// container's numbers again once it was started.
fn device_follows() {
    let mut daemon = Daemon::start();
    let script = "while read line; do head -n1 /proc/meminfo; grep -c . /proc/vmstat; done";
    let bundle = bundle(Runtime::Runc, &daemon, &device(&daemon, "all"), script);
    let mut container = bundle.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut lines) =
        (container.stdin.take().unwrap(), BufReader::new(container.stdout.take().unwrap()).lines());
    let mut ask = || {
        writeln!(stdin).unwrap();
        [lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()]
    };
    let own = ask();
    assert_eq!(own[0], format!("MemTotal:       {:8} kB", 64 << 10));
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.log());
    let native = fs::read_to_string("/proc/meminfo").unwrap();
    assert_eq!(ask()[0], native.lines().next().unwrap());
    let _again = daemon.again();
    assert_eq!(ask(), own);
    drop(stdin);
    assert!(container.wait().unwrap().success());
}

/// A hook that fails keeps the container from starting.
fn hook_that_can_do_nothing() {
    let daemon = Daemon::start();
    let program = env!("CARGO_BIN_EXE_cgprocfs");
    let directory = daemon.directory().to_str().unwrap();
    for args in [
        &["hook", "/nowhere", "vmstat"][..],
        &["hook", directory, "no-such-view"],
        &["hook", directory, "--of-a-later-version"],
        &["hook"],
    ] {
        let args: Vec<&str> = ["cgprocfs"].iter().chain(args).copied().collect();
        let edits = json!({ "hooks": [{ "hookName": "createContainer", "path": program, "args": args }] });
        let said = bundle(
            Runtime::Runc,
            &daemon,
            &edits,
            "echo started; grep -c fuse. /proc/self/mountinfo || true",
        )
        .run();
        assert_eq!(said, "started\n0\n", "{args:?}");
    }
    // What a runtime says of the container may be anything, too.
    for state in ["", "{}", "{\"bundle\": \"/nowhere\"}"] {
        let mut hook = cgprocfs().args(["hook", directory, "vmstat"]).stdin(Stdio::piped()).spawn().unwrap();
        // It may have ended before it has read all.
        let _ = hook.stdin.take().unwrap().write_all(state.as_bytes());
        assert!(hook.wait().unwrap().success(), "{state}");
    }
    // Or nothing, for ever.
    let mut hook = cgprocfs().args(["hook", directory, "vmstat"]).stdin(Stdio::piped()).spawn().unwrap();
    let _kept_open = hook.stdin.take();
    let mut status = None;
    wait_until("the hook ends", || {
        status = hook.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success());
}

/// An engine may read the file at any time, and everybody may.
fn description_is_replaced_at_once() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cdi/cgprocfs.json");
    let write = || {
        let mut command = std::process::Command::new("sh");
        command.args([
            "-c",
            "umask 077; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_cgprocfs"),
            "cdi",
            "--output",
        ]);
        output(command.arg(&file).arg(daemon.directory()))
    };
    assert_eq!(write(), "");
    let first = fs::metadata(&file).unwrap();
    assert_eq!(first.permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o755);
    write();
    use std::os::unix::fs::MetadataExt;
    assert_ne!(fs::metadata(&file).unwrap().ino(), first.ino());
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    let _: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
}
