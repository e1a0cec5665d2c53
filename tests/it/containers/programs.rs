//! What programs show inside a container.

use super::{Bundle, MIB, RUNC};
use crate::common::daemon::Daemon;
use crate::common::{Need, test};
use cgprocfs_core::parse::CgroupVersion;
use libtest_mimic::Trial;
use serde_json::json;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(RUNC) => [
            counters_outlive_the_daemon,
        ],
        test(PROGRAMS) => [
            real_programs,
        ],
        test(AT_REST) => [
            real_programs_at_rest,
        ],
    }
}

const PROGRAMS: &[Need] = &[
    Need::Root,
    Need::Fuse,
    Need::Speed,
    Need::Program("runc"),
    Need::Program("busybox"),
    Need::Program("top"),
    Need::Program("mpstat"),
    Need::Program("htop"),
];

const AT_REST: &[Need] = &[
    Need::Root,
    Need::Fuse,
    Need::Speed,
    Need::Program("runc"),
    Need::Program("mpstat"),
    Need::Program("node"),
    Need::Program("java"),
    Need::PythonModule("psutil"),
];

/// Of a container that spins on half a processor, while its daemon is killed and its limit is changed.
fn counters_outlive_the_daemon() {
    let daemon = Daemon::start_with(&[], &["--supervise"], &[]);
    let script = "while :; do :; done & while read line; do \
        /bin/busybox cat /proc/stat /proc/uptime /proc/loadavg /sys/devices/system/cpu/online; \
        /bin/busybox grep -c ^processor /proc/cpuinfo; echo end; done";
    let bundle = Bundle::new(&daemon, 64 * MIB, false, script);
    let mut container = bundle.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut answers = BufReader::new(container.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut orders = container.stdin.take().unwrap();
    let mut ask = || {
        orders.write_all(b"\n").unwrap();
        answers.by_ref().take_while(|line| line != "end").collect::<Vec<_>>()
    };
    let set_quota = |quota: u32| {
        let layout = cgprocfs::kernel::CgroupMounts::detect(Path::new("/")).unwrap();
        let cpu = layout.cpu.unwrap();
        let directory = cpu.mount_point.join(&bundle.id);
        match cpu.version {
            CgroupVersion::V1 => fs::write(directory.join("cpu.cfs_quota_us"), quota.to_string()).unwrap(),
            CgroupVersion::V2 => fs::write(directory.join("cpu.max"), format!("{quota} 100000")).unwrap(),
        }
    };
    let numbers = |line: &str| -> Vec<u64> {
        line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect()
    };
    let mut before: HashMap<String, Vec<u64>> = HashMap::new();
    for round in 0..12 {
        match round % 4 {
            1 => set_quota(150_000),
            3 => set_quota(50_000),
            _ => {
                let child = daemon.children()[0];
                let pid = rustix::process::Pid::from_raw(child.try_into().unwrap()).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            }
        }
        thread::sleep(Duration::from_millis(120));
        let said = ask();
        let text = said.join("\n");
        for line in said.iter().filter(|line| line.starts_with("cpu")) {
            let (key, now) = (line.split(' ').next().unwrap().to_string(), numbers(line));
            let last = before.entry(key).or_insert_with(|| now.clone());
            assert!(now.iter().zip(last.iter()).all(|(now, last)| now >= last), "{last:?}, then:\n{text}");
            *last = now;
        }
        // Of three words on, what follows is uptime, load, list and number of processors.
        let [uptime, load, online, count] = &said[said.len() - 4..] else { panic!("{text}") };
        let count: usize = count.parse().unwrap();
        assert_eq!(said.iter().filter(|line| line.starts_with("cpu")).count(), 1 + count, "{text}");
        assert_eq!(*online, if count == 1 { "0".to_string() } else { format!("0-{}", count - 1) });
        let uptime: Vec<f64> = uptime.split(' ').map(|number| number.parse().unwrap()).collect();
        assert!(uptime[0] < 60.0 && uptime[1] <= uptime[0] * 2.0, "{text}");
        // The shell and busybox, in a pid namespace of their own.
        let (tasks, last_pid) = load.rsplit_once(' ').unwrap();
        assert!(tasks.contains('/') && (2..1000).contains(&last_pid.parse::<u32>().unwrap()), "{text}");
    }
    let user = before["cpu"][0];
    assert!((20..400).contains(&user), "{before:?}");
    load_outlives(&daemon, ask);
    drop(orders);
    drop(bundle);
    let _ = crate::common::wait_for(&mut container);
}

/// One task spins, so that the load of one minute is above that of fifteen; with another daemon it does not
/// begin anew.
fn load_outlives(daemon: &Daemon, mut ask: impl FnMut() -> Vec<String>) {
    let mut load = || -> Vec<f64> {
        let said = ask();
        let line = said.iter().rfind(|line| line.contains('/')).unwrap();
        line.split(' ').take(3).map(|number| number.parse().unwrap()).collect()
    };
    load();
    thread::sleep(Duration::from_millis(5600));
    let before = load();
    let pid = rustix::process::Pid::from_raw(daemon.children()[0].try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let after = load();
    let is_near = before.iter().zip(&after).all(|(before, after)| (after - before).abs() < 0.1);
    assert!(before[0] > before[2] && after[0] > after[2] && is_near, "{before:?}, then {after:?}");
}

/// While something spins: what programs of the host show in there is what the cgroup counts meanwhile.
fn real_programs() {
    for (spinners, quota, processors) in [(1, 50_000, 1), (3, 200_000, 2)] {
        show_what_is_counted(spinners, quota, processors);
    }
}

/// Processes that spin with a quota, in microseconds of each 100 ms, which is seen as a number of processors.
fn show_what_is_counted(spinners: usize, quota: u32, processors: u32) {
    let daemon = Daemon::start();
    let spin = "while :; do :; done & ".repeat(spinners);
    let script = "sleep 1; export LC_ALL=C; while read order; do sh -c \"$order\"; echo end; done";
    let bundle = Bundle::new(&daemon, 64 * MIB, true, &format!("{spin} {script}"));
    bundle.with_programs_of_the_host();
    bundle.change(|spec| spec["linux"]["resources"]["cpu"]["quota"] = json!(quota));
    let usage = || {
        let cpuacct = cgprocfs::kernel::CgroupMounts::detect(Path::new("/")).unwrap().cpuacct.unwrap();
        let directory = cpuacct.mount_point.join(&bundle.id);
        match cpuacct.version {
            CgroupVersion::V1 => {
                fs::read_to_string(directory.join("cpuacct.usage")).unwrap().trim().parse::<f64>().unwrap()
                    / 1e9
            }
            CgroupVersion::V2 => {
                let text = fs::read_to_string(directory.join("cpu.stat")).unwrap();
                let value = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
                value.parse::<f64>().unwrap() / 1e6
            }
        }
    };
    let mut container = bundle.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(container.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut orders = container.stdin.take().unwrap();
    let mut ask = |order: &str| {
        orders.write_all(format!("{order}\n").as_bytes()).unwrap();
        said.by_ref().take_while(|line| line != "end").collect::<Vec<_>>().join("\n")
    };
    ask("true");
    for (order, place) in [
        ("top -b -n 2 -d 2 | grep Cpu | tail -n 1 | tr , ' ' | sed 's/ id .*//'", None),
        ("mpstat 2 1 | tail -n 1", None),
        ("vmstat 2 2 | tail -n 1", Some(14)),
    ] {
        let (shown, counted) = while_sampling(&usage, || ask(order));
        // In hundredths of the quota, over each two seconds of which the program may have shown one.
        let counted = counted.into_iter().map(|cpus| cpus / f64::from(quota) * 1e7);
        let (least, most) =
            counted.fold((f64::MAX, 0_f64), |(least, most), now| (least.min(now), most.max(now)));
        let words: Vec<&str> = shown.split_whitespace().collect();
        let idle = place.map_or_else(|| words.last(), |place| words.get(place));
        let idle: f64 = idle.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{shown:?}"));
        println!("containers: {order}: {idle} % idle, {least:.1} to {most:.1} % of its limit were used");
        let used = 100.0 - idle;
        assert!((least - 3.0..most + 3.0).contains(&used), "{order}: {idle}, {least} to {most}");
    }
    let rest = ask("uptime; lscpu | grep '^CPU(s)'; htop --version | head -n 1; free -m | grep Mem");
    assert!(
        rest.contains("up 0 min")
            && rest.contains(&format!("CPU(s):                                  {processors}")),
        "{rest}"
    );
    assert!(rest.contains("htop ") && rest.contains("Mem:              64 "), "{rest}");
    drop(bundle);
    let _ = crate::common::wait_for(&mut container);
}

/// How many seconds a counter of seconds advanced by in one, over each span of two seconds while something
/// was done.
fn while_sampling<T>(count: &(impl Fn() -> f64 + Sync), action: impl FnOnce() -> T) -> (T, Vec<f64>) {
    let is_done = AtomicBool::new(false);
    let (done, samples) = thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut samples = vec![(Instant::now(), count())];
            while !is_done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(20));
                samples.push((Instant::now(), count()));
            }
            samples
        });
        let done = action();
        is_done.store(true, Ordering::Relaxed);
        (done, sampler.join().unwrap())
    });
    let rate = |&(from, before): &(Instant, f64)| {
        let (until, after) =
            samples.iter().find(|(at, _)| at.duration_since(from) >= Duration::from_secs(2))?;
        Some((after - before) / until.duration_since(from).as_secs_f64())
    };
    (done, samples.iter().filter_map(rate).collect())
}

/// On half a processor where nothing else runs: they are idle, agree on what there is, and complain of
/// nothing.
fn real_programs_at_rest() {
    let daemon = Daemon::start();
    let script = "export LC_ALL=C; top -b -n 2 -d 1 | grep Cpu | tail -n 1; mpstat 1 1 | tail -n 1; \
        vmstat 1 2 | tail -n 1; iostat -c 1 2 | grep -A 1 avg-cpu | tail -n 1; \
        python3 -c 'import psutil as p; print(100 - p.cpu_percent(3)); \
        print(p.cpu_count(), p.virtual_memory().total >> 20, p.swap_memory().total)'; \
        node -p 'const os = require(\"os\"); `${os.cpus().length} ${os.totalmem() >> 20} ${os.uptime() < 60}`'; \
        java -XX:-UsePerfData -XshowSettings:system -version 2>&1 | grep 'Effective CPU Count'; \
        getconf _NPROCESSORS_ONLN; getconf _NPROCESSORS_CONF; lscpu | grep '^CPU(s)'; free -m | grep Mem";
    let bundle = Bundle::new(&daemon, 256 * MIB, true, script);
    bundle.with_programs_of_the_host();
    let output = bundle.command().output().unwrap();
    let (said, complaints) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(complaints, "", "{said}");
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    let [top, mpstat, vmstat, iostat, psutil, rest @ ..] = &lines[..] else { panic!("{said}") };
    let number = |word: &str| word.parse::<f64>().unwrap_or_else(|_| panic!("{word:?} in {said}"));
    let word = |line: &str, place: usize| line.split_whitespace().nth(place).map(number).unwrap();
    let of_top = top.split(',').find_map(|field| field.trim().strip_suffix(" id")).unwrap();
    let idle = [number(of_top), word(mpstat, 11), word(vmstat, 14), word(iostat, 5), number(psutil)];
    println!("containers: at rest top, mpstat, vmstat, iostat and psutil show {idle:?} % idle");
    assert!(idle.iter().all(|idle| *idle > 90.0), "{said}");
    let words: Vec<Vec<&str>> = rest.iter().map(|line| line.split_whitespace().collect()).collect();
    let [psutil, node, java, online, configured, lscpu, free] = &words[..] else { panic!("{said}") };
    assert_eq!(psutil[..2], ["1", "256"], "{said}");
    assert_eq!(node[..], ["1", "256", "true"], "{said}");
    assert_eq!(java.last(), Some(&"1"), "{said}");
    assert_eq!([online[..].concat(), configured[..].concat()], ["1", "1"], "{said}");
    assert_eq!((lscpu.last(), free[1]), (Some(&"1"), "256"), "{said}");
}
