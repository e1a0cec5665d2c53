//! How old a container is, and what is computed from that.

use super::{TOP, in_container};
use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::{MOUNT, Need, output, test, wait_until};
use libtest_mimic::Trial;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            uptime,
        ],
        test(TOP) => [
            uptime_and_free,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("unshare")]) => [
            uptime_of_a_second_life = second_life,
        ],
        test(PIDFDS) => [
            init_is_held_by_a_pidfd,
        ],
        test(ELAPSED) => [
            elapsed_times,
        ],
        test(TIME_NAMESPACES) => [
            time_namespaces,
        ],
    }
}

const PIDFDS: &[Need] = &[Need::Root, Need::Fuse, Need::Kernel(5, 3), Need::Program("unshare")];

const TIME_NAMESPACES: &[Need] = &[Need::Root, Need::Fuse, Need::TimeNamespaces, Need::Program("unshare")];

const ELAPSED: &[Need] = &[
    Need::Root,
    Need::Fuse,
    Need::Speed,
    Need::TimeNamespaces,
    Need::Program("ps"),
    Need::Program("top"),
    Need::Program("vmstat"),
    Need::Program("iostat"),
];

/// Programs that print one line of it.
fn uptime_and_free() {
    let said = in_container(Some("0.5"), "uptime 2>&1; free -m 2>&1");
    assert!(
        said.contains("up 0 min") && said.contains("load average: 0.") && said.contains("Mem:"),
        "{said}"
    );
}

/// The age of a container is that of its first process.
fn uptime() {
    let said = in_container(Some("0.5"), "sleep 1.2; cat /proc/uptime");
    let numbers: Vec<f64> = said.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [age, idle] = numbers[..] else { panic!("{said}") };
    // It may take long until the program runs.
    assert!((1.2..8.0).contains(&age) && idle <= age && idle > 0.3, "{said}");
}

/// Who lives in a cgroup whose init has ended began anew; and a container goes on when its oldest process
/// ends, also over another daemon.
fn second_life() {
    let mut daemon = Daemon::start();
    let has_age_since = |began: Instant, daemon: &Daemon, pod: &Cgroup| {
        let path = daemon.path("proc/uptime");
        // Where much is to be done it may take a while until it is found out.
        crate::common::wait_until("it is as old as it is", || {
            let said = output(&mut pod.command(&["cat", path.to_str().unwrap()]));
            let age: f64 = said.split(' ').next().unwrap().parse().unwrap();
            (age - began.elapsed().as_secs_f64()).abs() < 0.8
        });
    };
    let sleep = |milliseconds| std::thread::sleep(Duration::from_millis(milliseconds));
    let pod = Cgroup::new();
    let live = || {
        let words = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "sleep 600 & wait"];
        let child = pod.command(&words).spawn().unwrap();
        crate::common::wait_until("it lives", || pod.pids().len() > 2);
        (child, Instant::now())
    };
    let end = |mut child: Child| {
        child.kill().unwrap();
        child.wait().unwrap();
        crate::common::wait_until("all have ended", || pod.pids().is_empty());
    };
    let (first, began) = live();
    sleep(2000);
    has_age_since(began, &daemon, &pod);
    end(first);
    let (second, began) = live();
    has_age_since(began, &daemon, &pod);
    end(second);
    sleep(1000);
    // It ends and the next begins while another daemon takes over.
    daemon = daemon.taken_over();
    let (third, began) = live();
    has_age_since(began, &daemon, &pod);
    sleep(1000);
    daemon = daemon.taken_over();
    has_age_since(began, &daemon, &pod);
    end(third);
    let pod = Cgroup::new();
    let mut oldest = pod.command(&["sh", "-c", "sleep 600 & sleep 0.2; exec sleep 2"]).spawn().unwrap();
    let began = Instant::now();
    sleep(1000);
    has_age_since(began, &daemon, &pod);
    oldest.wait().unwrap();
    has_age_since(began, &daemon, &pod);
    daemon = daemon.taken_over();
    has_age_since(began, &daemon, &pod);
}

/// What programs make of when a process was started agrees with the clock and with the uptime, and shares of
/// processor time since the start with what it has run.
fn elapsed_times() {
    let script = "date +%s; while :; do :; done & sleep 4; ps -o etimes=,pcpu= $!; date -d \"$(ps -o lstart= $!)\" +%s; \
        cut -d. -f1 /proc/uptime; sed -n 's/^btime //p' /proc/stat; date -d \"$(uptime -s)\" +%s; top -b -n 1 | head -1; \
        head -1 /proc/stat; vmstat | tail -1; LC_ALL=C iostat -c | grep -A 1 avg; \
        mkdir -p /run/cgprocfs-test; mount -t proc proc /run/cgprocfs-test && \
        sed -n 's/^btime //p' /run/cgprocfs-test/stat && cat /run/cgprocfs-test/uptime /proc/uptime; \
        umount /run/cgprocfs-test; rmdir /run/cgprocfs-test";
    let said = in_container(Some("1"), script);
    let lines: Vec<&str> = said.lines().collect();
    let numbers =
        |line: &str| -> Vec<f64> { line.split_whitespace().filter_map(|word| word.parse().ok()).collect() };
    let number = |line: usize| numbers(lines[line])[0];
    let is_near = |a: f64, b: f64, by: f64| assert!((a - b).abs() <= by, "{a} and {b} in:\n{said}");
    let [started, elapsed, share] = [number(0), numbers(lines[1])[0], numbers(lines[1])[1]];
    is_near(number(2), started, 1.0);
    is_near(number(3), elapsed, 1.0);
    is_near(number(4), started, 2.0);
    // The two are not read in the same moment.
    is_near(number(5), number(4), 3.0);
    // ps subtracts the start, which has a fraction, from the whole seconds of the uptime, and shows the whole
    // seconds of that.
    assert!((3.0..20.0).contains(&elapsed) && lines[6].contains(" up 0 min"), "{said}");
    // All is of the time since the start: by the process alone, by the sums, and by two programs that divide
    // these.
    let ticks = numbers(lines[7]);
    let busy = (ticks[0] + ticks[2]) / (ticks[0] + ticks[2] + ticks[3]) * 100.0;
    is_near(busy, share, 25.0);
    let vmstat = numbers(lines[8]);
    is_near(100.0 - vmstat[14], busy, 5.0);
    assert!(vmstat[8] < 1e6 && vmstat[9] < 1e6, "blocks of the host:\n{said}");
    is_near(100.0 - numbers(lines[10]).last().unwrap(), busy, 5.0);
    // The kernel's own.
    assert_eq!(lines[11], lines[4], "{said}");
    is_near(number(12), number(13), 0.5);
}

/// A reader whose time namespace has a boot of its own is told what the kernel would tell it, whether it is
/// in a container or not, and others of its cgroup what they were told before.
fn time_namespaces() {
    let daemon = Daemon::start();
    let pod = Cgroup::new();
    let (uptime, stat) = (daemon.path("proc/uptime"), daemon.path("proc/stat"));
    let script = "read -r up rest <\"$0\"; echo $up; read -r up rest </proc/uptime; echo $up; \
        sed -n 's/^btime //p' \"$1\" /proc/stat";
    let shown = |start: &[&str]| -> Vec<f64> {
        let words = [start, &["sh", "-c", script, uptime.to_str().unwrap(), stat.to_str().unwrap()]].concat();
        let in_container = output(&mut pod.command(&words));
        let of_host = output(Command::new(words[0]).args(&words[1..]));
        let lines = in_container.lines().chain(of_host.lines());
        lines.map(|line| line.parse().unwrap_or_else(|_| panic!("{line}"))).collect()
    };
    let plain = shown(&[]);
    for offset in ["1000000", "-2"] {
        // Before Linux 6.3 only a child is in the new namespace, and its parent has none by vfork(2).
        let [age, age_there, booted, booted_there, up, up_there, booted_of_host, _] =
            shown(&["unshare", "--time", "--boottime", offset, "--fork"])[..]
        else {
            panic!("not eight numbers")
        };
        assert!(
            (age - age_there).abs() < 0.5 && (up - up_there).abs() < 0.5,
            "{age} {age_there} {up} {up_there}"
        );
        assert_eq!([booted, booted_of_host], [booted_there; 2]);
        assert_eq!(booted, plain[2] - offset.parse::<f64>().unwrap());
    }
    let again = shown(&[]);
    assert!(plain[0] < 60.0 && again[0] < 600.0, "{plain:?}, then {again:?}");
    assert_eq!((again[2], again[6]), (plain[3], plain[7]));
}

/// The daemon, confined as it is, asks no file about it.
fn init_is_held_by_a_pidfd() {
    let (daemon, cgroup) = (Daemon::start(), Cgroup::new().limit(64));
    let path = daemon.path("proc/uptime");
    let script = "cat \"$0\"; read line";
    let words = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", script, path.to_str().unwrap()];
    let mut init = cgroup.command(&words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(init.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let is_held = || {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
        let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.into_iter().any(|link| link.to_string_lossy().contains("pidfd"))
    };
    wait_until("its init is held", is_held);
    let opened = daemon.opened("status");
    drop(init.stdin.take());
    init.wait().unwrap();
    assert_eq!(opened, 0);
}
