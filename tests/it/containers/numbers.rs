//! What a container reads, how it is mounted, and how it follows the daemon.

use super::{Bundle, MIB, RUNC, Runtime};
use crate::common::daemon::Daemon;
use crate::common::{Need, field, helper, test};
use libtest_mimic::Trial;
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(RUNC) => [
            runc_container_sees_its_memory,
            runc_container_with_own_cgroup_namespace,
            runc_container_cannot_write,
            runc_containers_side_by_side,
            runc_container_follows,
            runc_masks_what_is_there = || masks_what_is_there(Runtime::Runc),
        ],
        test(CRUN) => [
            crun_masks_what_is_there = || masks_what_is_there(Runtime::Crun),
            crun_container_sees_its_memory,
        ],
    }
}

const CRUN: &[Need] = &[Need::Root, Need::Fuse, Need::Program("crun"), Need::Program("busybox")];

fn helper_in_container(name: &str, arguments: &[&str]) -> String {
    let mut words = helper::command(name, arguments);
    words[0] = format!("/bin/{}", Path::new(&words[0]).file_name().unwrap().to_str().unwrap());
    words.join(" ")
}

const SHOW: &str = "/bin/busybox cat /proc/meminfo /run/cgprocfs/working_set";

/// A container of runc has its own limit as the total.
fn runc_container_sees_its_memory() {
    let daemon = Daemon::start();
    let text = Bundle::new(&daemon, 64 * MIB, false, SHOW).run();
    assert_eq!(field(&text, "MemTotal"), 64 << 10);
    assert!(field(&text, "MemAvailable") > 50 << 10, "{text}");
    let working_set: u64 = text.lines().last().unwrap().parse().unwrap();
    assert!(working_set > 0 && working_set < 16 * MIB, "{working_set}");
}

/// So has one in a cgroup namespace of its own.
fn runc_container_with_own_cgroup_namespace() {
    let daemon = Daemon::start();
    let hog = helper_in_container("hog", &["20"]);
    let script = format!(
        "/bin/busybox sleep 5 | {hog} & while ! /bin/busybox grep -qE 'AnonPages: +[2-9][0-9]{{4}} kB' /proc/meminfo; do :; done; {SHOW}"
    );
    let text = Bundle::new(&daemon, 64 * MIB, true, &script).run();
    let text = text.trim_start_matches("ready\n");
    assert_eq!(field(text, "MemTotal"), 64 << 10);
    assert!((20 << 10..28 << 10).contains(&field(text, "AnonPages")), "{text}");
    assert!(text.lines().last().unwrap().parse::<u64>().unwrap() >= 20 * MIB, "{text}");
}

/// With views where runc binds none.
fn crun_container_sees_its_memory() {
    let daemon = Daemon::start();
    let script = format!(
        "{SHOW}; /bin/busybox grep -c ^processor /proc/cpuinfo; /bin/busybox cat /sys/devices/system/cpu/online; \
         /bin/busybox grep -E '^(nr_free_pages|oom_kill) ' /proc/vmstat; /bin/busybox cat /proc/pressure/cpu"
    );
    for cgroup_namespace in [false, true] {
        let text = Bundle::of(Runtime::Crun, &daemon, 64 * MIB, cgroup_namespace, &script).run();
        assert_eq!(field(&text, "MemTotal"), 64 << 10);
        assert!(field(&text, "MemAvailable") > 50 << 10, "{text}");
        let rest: Vec<&str> = text.lines().skip_while(|line| line.contains(':')).collect();
        let [working_set, processors, online, free, oom_kills, some, full] = rest[..] else {
            panic!("{text}")
        };
        let working_set: u64 = working_set.parse().unwrap();
        assert!(working_set > 0 && working_set < 16 * MIB, "{working_set}");
        assert_eq!((processors, online, oom_kills), ("1", "0", "oom_kill 0"));
        let free: u64 = free.strip_prefix("nr_free_pages ").unwrap().parse().unwrap();
        assert!((50 << 8..=64 << 8).contains(&free), "{text}");
        assert!(some.starts_with("some avg10=") && full.starts_with("full avg10="), "{text}");
    }
}

/// A container can neither write what it binds nor change its mode.
fn runc_container_cannot_write() {
    let daemon = Daemon::start();
    let script = "for f in /proc/meminfo /run/cgprocfs/working_set; do \
        (echo x > $f) 2>/dev/null && echo written; /bin/busybox chmod 666 $f 2>/dev/null && echo changed; done; echo end";
    assert_eq!(Bundle::new(&daemon, 64 * MIB, false, script).run(), "end\n");
}

/// Containers with different limits read each their own.
fn runc_containers_side_by_side() {
    let daemon = Daemon::start();
    let bundles: Vec<_> = [48, 64, 80]
        .map(|mib| {
            let line = format!("MemTotal:       {:8} kB", mib << 10);
            let expect = helper_in_container("expect", &["/proc/meminfo", &format!("'{line}'"), "300"]);
            Bundle::new(&daemon, mib * MIB, false, &format!("{expect} && echo all"))
        })
        .into_iter()
        .collect();
    let running: Vec<_> = bundles
        .iter()
        .map(|bundle| bundle.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for container in running {
        let output = container.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"all\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A container that runs all the time, while the daemon is stopped, started, and loses its connection.
fn runc_container_follows() {
    let mut daemon = Daemon::start();
    let script = "while read line; do /bin/busybox head -n 1 /proc/meminfo || echo error; done";
    let bundle = Bundle::new(&daemon, 64 * MIB, false, script);
    let mut container = bundle.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut answers = BufReader::new(container.stdout.take().unwrap()).lines();
    let mut orders = container.stdin.take().unwrap();
    let mut ask = || {
        orders.write_all(b"\n").unwrap();
        answers.next().unwrap().unwrap()
    };
    let line = |kib: u64| format!("MemTotal:       {kib:8} kB");
    let (own, native) = (line(64 << 10), line(crate::common::host_total()));
    assert_eq!(ask(), own);
    for lose in [|daemon: &Daemon| daemon.signal(rustix::process::Signal::TERM), abort] {
        let start = Instant::now();
        lose(&daemon);
        daemon.wait();
        assert_eq!(ask(), native);
        println!("containers: the kernel's own file {:?} after the connection was lost", start.elapsed());
        daemon = daemon.again();
        assert_eq!(ask(), own);
    }
    drop(orders);
    assert!(crate::common::wait_for(&mut container).success());
}

/// A runtime is told to mask what the host has of each processor, and containers have not.
fn masks_what_is_there(runtime: Runtime) {
    const MASKED: &str = "/sys/devices/system/cpu/cpu0/topology";
    let faults = tempfile::tempdir().unwrap();
    fs::write(faults.path().join("masked"), "topology").unwrap();
    let mut daemon = Daemon::start_with(&[], &[], &[("CGPROCFS_FAULTS", faults.path().to_str().unwrap())]);
    for is_served in [true, false] {
        let script =
            format!("/bin/busybox ls {MASKED} 2>&1; /bin/busybox cat /sys/devices/system/cpu/online");
        let bundle = Bundle::of(runtime, &daemon, 64 * MIB, false, &script);
        bundle.change(|spec| spec["linux"]["maskedPaths"] = json!([MASKED, "/proc/kcore"]));
        let said = bundle.run();
        let lines: Vec<&str> = said.lines().collect();
        match lines[..] {
            [masked, online] if is_served => {
                assert!(masked.contains("No such file") && online == "0", "{said}")
            }
            [online] if !is_served => assert!(online.starts_with('0'), "{said}"),
            _ => panic!("{said}"),
        }
        if is_served {
            abort(&daemon);
            daemon.wait();
        }
    }
}

fn abort(daemon: &Daemon) {
    crate::common::output(Command::new("umount").args(["--force", "--lazy"]).arg(daemon.live()));
}
