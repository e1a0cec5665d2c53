//! What real programs show of processors, load and uptime, in a container that does a known amount of work. Each share of
//! processor time is held against the cgroup's own counter over the same time.
mod load;

pub use load::read_load;

use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::{MOUNT, Need, PYTHON, cgprocfs, output, test};
use cgprocfs::kernel::CgroupMounts;
use cgprocfs_core::parse::CgroupVersion;
use libtest_mimic::Trial;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            number_of_processors,
            counters_never_go_back,
            uptime,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("lscpu")]) => [
            number_for_lscpu,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("node")]) => [
            number_for_node,
        ],
        test(PSUTIL) => [
            number_for_psutil,
            psutil,
        ],
        test(TOP) => [
            top,
            uptime_and_free,
            load_average = load::average,
            load_of_a_young_container = load::of_a_young_container,
            load_of_seven_hundred_cgroups = load::of_seven_hundred_cgroups,
            load_of_five_hundred_containers = load::of_five_hundred_containers,
        ],
        test(&[Need::Root, Need::Fuse, Need::Speed, Need::Program("vmstat")]) => [
            vmstat,
        ],
        test(&[Need::Root, Need::Fuse, Need::Speed, Need::Program("mpstat")]) => [
            mpstat,
        ],
        test(HTOP) => [
            htop,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("java")]) => [
            java,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("dd")]) => [
            time_under_contention,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("unshare")]) => [
            uptime_of_a_second_life = second_life,
        ],
        test(ELAPSED) => [
            elapsed_times,
        ],
        test(TIME_NAMESPACES) => [
            time_namespaces,
        ],
        test(&[Need::Root, Need::Fuse, Need::Freezer]) => [
            load_without_frozen_tasks = load::without_frozen_tasks,
        ],
        test(&[Need::Root, Need::Fuse, Need::Solitude]) => [
            load_is_the_kernels = load::is_the_kernels,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("iostat")]) => [
            iostat,
        ],
    }
}

const TOP: &[Need] = &[Need::Root, Need::Fuse, Need::Speed, Need::Program("top")];
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
const HTOP: &[Need] = &[Need::Root, Need::Fuse, Need::Speed, Need::Program("htop"), Need::Program("tmux")];
const PSUTIL: &[Need] = &[Need::Root, Need::Fuse, Need::Speed, Need::PythonModule("psutil")];

/// What a shell script prints in a container with a limit on processor time.
fn in_container(cpus: Option<&str>, script: &str) -> String {
    let mut command = cgprocfs();
    command.arg("run");
    if let Some(cpus) = cpus {
        command.args(["--cpus", cpus]);
    }
    output(command.args(["--", "sh", "-c", script]))
}

fn host_count() -> usize {
    output(Command::new("getconf").arg("_NPROCESSORS_ONLN")).trim().parse().unwrap()
}

/// Everybody counts the same; one on half a processor, all of them with a limit above the host's.
fn number_of_processors() {
    let script = "getconf _NPROCESSORS_ONLN; getconf _NPROCESSORS_CONF; grep -c ^processor /proc/cpuinfo; \
        grep -c '^cpu[0-9]' /proc/stat; cat /sys/devices/system/cpu/online";
    let numbers = |cpus| in_container(cpus, script);
    assert_eq!(numbers(Some("0.5")), "1\n1\n1\n1\n0\n");
    let all = host_count();
    let list = if all == 1 { "0".to_string() } else { format!("0-{}", all - 1) };
    for cpus in [None, Some("1000")] {
        assert_eq!(numbers(cpus), format!("{all}\n{all}\n{all}\n{all}\n{list}\n"));
    }
    let words =
        ["run", "--cpus", "0.5", "--cpu-view", "cpuset", "--", "grep", "-c", "^processor", "/proc/cpuinfo"];
    assert_eq!(output(cgprocfs().args(words)), format!("{all}\n"));
    let words = ["run", "--cpus=0.5", "--views=stat,working_set", "--", "sh", "-c", script];
    assert_eq!(output(cgprocfs().args(words)), format!("{all}\n{all}\n{all}\n1\n{list}\n"));
}

fn number_for_lscpu() {
    let said = in_container(Some("0.5"), "lscpu 2>&1");
    let field = |key: &str| {
        let value = said.lines().find_map(|line| line.trim_start().strip_prefix(key));
        value.unwrap_or_else(|| panic!("no {key} in {said}")).trim().to_string()
    };
    assert_eq!((field("CPU(s):"), field("On-line CPU(s) list:")), ("1".into(), "0".into()));
    assert!(!said.contains("Off-line"), "{said}");
}

fn number_for_node() {
    let script = "node -p 'os.cpus().length' 2>&1";
    assert_eq!(in_container(Some("0.5"), script), "1\n");
}

fn number_for_psutil() {
    let script = format!(
        "{PYTHON} -c 'import os, psutil; print(os.cpu_count(), psutil.cpu_count(), len(psutil.cpu_times(True)))' 2>&1"
    );
    assert_eq!(in_container(Some("0.5"), &script), "1 1 1\n");
}

/// A file of the container's own cgroup, from within, whose first line ends with how long that has run, and how many of its
/// units are a second.
fn counter() -> (String, f64) {
    let layout = CgroupMounts::detect(Path::new("/")).unwrap();
    let hierarchy = layout.cpuacct.unwrap();
    let directory = format!("{}/cgprocfs-run-$PPID-*", hierarchy.mount_point.display());
    match hierarchy.version {
        CgroupVersion::V1 => (format!("{directory}/cpuacct.usage"), 1e9),
        CgroupVersion::V2 => (format!("{directory}/cpu.stat"), 1e6),
    }
}

/// Runs a program that watches for three seconds while so many spin, and holds the idle share that it shows, found in what
/// it prints by `idle`, against what the cgroup counts.
fn watch(spinners: usize, cpus: Option<&str>, program: &str, idle: impl Fn(&str) -> f64) {
    let (count, unit) = counter();
    let spin = "while :; do :; done & ".repeat(spinners);
    let script = format!(
        "n() {{ sed '1!d; s/.* //' {count}; }}; {spin} sleep 1; a=$(n); s=$(date +%s%N); {program} 2>&1; b=$(n); e=$(date +%s%N); \
         echo counted $a $b $s $e"
    );
    let said = in_container(cpus, &script);
    // Some programs count for themselves.
    let (shown, counted) = said.split_once("counted ").unwrap_or_else(|| panic!("{said}"));
    let counted = counted.lines().next().unwrap_or_default();
    let numbers: Vec<f64> = counted.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let capacity = cpus.map_or(host_count() as f64, |cpus| cpus.parse().unwrap());
    let busy = (numbers[1] - numbers[0]) / unit / ((numbers[3] - numbers[2]) / 1e9) / capacity * 100.0;
    let shown_busy = 100.0 - idle(shown);
    println!(
        "processors: {program}, {spinners} spin, limit {cpus:?}: shows {shown_busy:.1} % busy, counted {busy:.1} %"
    );
    assert!((shown_busy - busy).abs() < 5.0, "shown {shown_busy:.1} %, counted {busy:.1} %:\n{shown}");
}

/// At rest, one spinner on half a processor, three on all.
fn watch_all(program: &str, idle: impl Fn(&str) -> f64 + Copy) {
    for (spinners, cpus) in [(0, Some("0.5")), (1, Some("0.5")), (1, Some("1.5")), (3, None)] {
        watch(spinners, cpus, program, idle);
    }
}

fn top() {
    watch_all("top -b -n 2 -d 3", |said| {
        let last = said.lines().rfind(|line| line.starts_with("%Cpu")).unwrap();
        let field = last.split(',').find_map(|field| field.trim().strip_suffix(" id"));
        field.unwrap_or_else(|| panic!("{last}")).trim_start_matches("%Cpu(s):").trim().parse().unwrap()
    });
}

fn vmstat() {
    watch_all("vmstat 3 2", |said| {
        let head = said.lines().find(|line| line.contains(" id ")).unwrap();
        let column = head.split_whitespace().position(|word| word == "id").unwrap();
        said.lines().last().unwrap().split_whitespace().nth(column).unwrap().parse().unwrap()
    });
}

fn mpstat() {
    watch_all("LC_ALL=C mpstat 3 1", |said| {
        let average = said.lines().rfind(|line| line.starts_with("Average:")).unwrap();
        average.split_whitespace().last().unwrap().parse().unwrap()
    });
}

fn psutil() {
    // It takes a while until it looks, and on a busy machine what it runs meanwhile is another share: so it counts itself.
    let count = "lambda: open(sys.argv[1]).readline().split()[-1]";
    let look = "a, s = n(), time.time_ns(); p = psutil.cpu_percent(3); b, e = n(), time.time_ns()";
    let script =
        format!("import psutil, sys, time; n = {count}; {look}; print(p); print(\"counted\", a, b, s, e)");
    let program = format!("{PYTHON} -c '{script}' {}", counter().0);
    watch_all(&program, |said| 100.0 - said.trim().parse::<f64>().unwrap());
}

/// A terminal in which a program runs, ended when it goes out of scope.
struct Terminal(String);

impl Terminal {
    fn start(command: &str) -> Self {
        let terminal = Self(format!("cgprocfs-test-{}", std::process::id()));
        let size = ["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30"];
        output(terminal.tmux().args(size).arg(command));
        terminal
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.0]);
        command
    }

    fn screen(&self) -> String {
        output(self.tmux().args(["capture-pane", "-p"]))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").status();
    }
}

/// One spins on half a processor: its meter is full, and load and uptime are not the host's.
fn htop() {
    let program = crate::common::cgprocfs_path();
    let script = "while :; do :; done & exec htop --no-color -d 10";
    let terminal =
        Terminal::start(&format!("TERM=screen {} run --cpus 0.5 -- sh -c '{script}'", program.display()));
    let busy = |screen: &str| {
        // Of several it numbers the meters.
        let meter = screen.lines().find(|line| line.trim_start().starts_with("CPU["))?;
        let bar = meter.split(']').next()?.trim_start().strip_prefix("CPU[")?;
        let share = bar.trim_start_matches(|c: char| !c.is_ascii_digit()).strip_suffix('%')?;
        share.parse::<f64>().ok()
    };
    let mut screen = String::new();
    crate::common::wait_until("htop shows a busy processor", || {
        screen = terminal.screen();
        busy(&screen).is_some_and(|busy| busy > 95.0)
    });
    assert!(screen.contains("Load average: 0.") && screen.contains("Uptime: 00:00:"), "{screen}");
}

fn java() {
    let said = in_container(Some("0.5"), "java -XshowSettings:system -version 2>&1");
    assert!(!said.to_lowercase().contains("warning"), "{said}");
    assert!(said.contains("version"), "{said}");
}

/// Programs that print one line of it.
fn uptime_and_free() {
    let said = in_container(Some("0.5"), "uptime 2>&1; free -m 2>&1");
    assert!(
        said.contains("up 0 min") && said.contains("load average: 0.") && said.contains("Mem:"),
        "{said}"
    );
}

/// While the limit changes, as fast as they can be read.
fn counters_never_go_back() {
    let layout = CgroupMounts::detect(Path::new("/")).unwrap();
    let cpu = layout.cpu.expect("the cpu controller");
    let directory = format!("{}/cgprocfs-run-$PPID-*", cpu.mount_point.display());
    let set = match cpu.version {
        CgroupVersion::V1 => format!("echo $1 > $(echo {directory}/cpu.cfs_quota_us)"),
        CgroupVersion::V2 => format!("echo $1 100000 > $(echo {directory}/cpu.max)"),
    };
    let script = format!(
        "set_quota() {{ {set}; }}; while :; do :; done & \
         for round in 1 2 3 4; do for quota in 50000 250000 120000 100000; do set_quota $quota; \
         for i in 1 2 3 4 5; do cat /proc/stat; echo; sleep 0.02; done; done; done"
    );
    let said = in_container(Some("2"), &script);
    let mut most: std::collections::HashMap<&str, Vec<u64>> = std::collections::HashMap::new();
    let mut looks = 0;
    for line in said.lines().filter(|line| line.starts_with("cpu")) {
        let mut words = line.split_whitespace();
        let key = words.next().unwrap();
        let now: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
        let before = most.entry(key).or_insert_with(|| now.clone());
        assert!(now.iter().zip(before.iter()).all(|(now, before)| now >= before), "{before:?}, then {line}");
        *before = now;
        looks += 1;
    }
    assert!(looks >= 160 && most["cpu"][0] > 10, "{looks} looks: {most:?}");
}

/// Programs beside a container that want each processor, so many for each.
struct Contention(Vec<Child>);

impl Contention {
    fn start(each: usize) -> Self {
        let spin = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        Self((0..each * host_count()).map(|_| spin()).collect())
    }
}

impl Drop for Contention {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What is shown is what the cgroup's own counter counts, to a hundredth, and its parts are those of the program, while two
/// others want each processor. The last program sleeps between ticks, when nobody samples it.
fn time_under_contention() {
    let _contention = Contention::start(2);
    let layout = CgroupMounts::detect(Path::new("/")).unwrap().cpuacct.unwrap();
    let directory = format!("{}/cgprocfs-run-$PPID-*", layout.mount_point.display());
    let (file, unit) = match layout.version {
        CgroupVersion::V1 => ("cpuacct.usage", 1e9),
        CgroupVersion::V2 => ("cpu.stat", 1e6),
    };
    let tick = rustix::param::clock_ticks_per_second() as f64;
    let programs = [
        ("sums", "while :; do i=$((i+1)); done"),
        ("system calls", "exec dd if=/dev/zero of=/dev/null bs=64k 2>/dev/null"),
        ("short runs", "while :; do for i in 1 2 3 4 5 6 7 8 9; do :; done; sleep 0.001; done"),
    ];
    for (name, program) in programs {
        // It is read between two readings of the counter, which are not far from each other unless this shell has to wait
        // for a processor meanwhile.
        let script = format!(
            "file=$(echo {directory}/{file}); n() {{ read -r n <$file; n=${{n#usage_usec }}; }}; \
             ({program}) & p=$!; sleep 6; for try in 1 2 3 4 5 6 7 8 9; do sleep 0.2; \
             n; a=$n; read -r cpu </proc/stat; n; b=$n; [ $((100 * (b - a))) -lt $a ] && break; done; \
             read -r stat </proc/$p/stat; kill -9 $p; echo $a $b $cpu; echo $stat"
        );
        let said = in_container(None, &script);
        let (counted, stat) = said.split_once('\n').unwrap();
        let words: Vec<&str> = counted.split_whitespace().collect();
        let number = |word: &str| word.parse::<f64>().unwrap_or_else(|_| panic!("{said}"));
        let [before, after] = [words[0], words[1]].map(|word| number(word) / unit * tick);
        let [user, system] = [words[3], words[5]].map(number);
        let own: Vec<f64> =
            stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2).map(number).collect();
        let shares = [system / (user + system), own[1] / (own[0] + own[1])].map(|share| share * 100.0);
        println!(
            "processors: {name} under contention: {user} + {system} ticks, counted {before:.1} to {after:.1}; \
             {:.1} % in the kernel, {:.1} % by the program itself",
            shares[0], shares[1]
        );
        // Each part is cut off to whole ticks.
        assert!((before * 0.99 - 2.0..=after * 1.01).contains(&(user + system)), "{name}: {said}");
        // Of short runs most is what the shell does for a program that sleeps; on an emulated processor the shell beside has a
        // part in all of them. It is about 11 % there.
        let differ_by = if crate::common::is_native() { 5.0 } else { 20.0 };
        assert!(name == "short runs" || (shares[0] - shares[1]).abs() < differ_by, "{name}: {shares:?}");
    }
}

fn uptime() {
    let said = in_container(Some("0.5"), "sleep 1.2; cat /proc/uptime");
    let numbers: Vec<f64> = said.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [age, idle] = numbers[..] else { panic!("{said}") };
    // It may take long until the program runs.
    assert!((1.2..8.0).contains(&age) && idle <= age && idle > 0.3, "{said}");
}

/// Who lives in a cgroup whose init has ended began anew; and a container goes on when its oldest process ends, also over
/// another daemon.
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

/// What programs make of when a process was started agrees with the clock and with the uptime, and shares of processor time
/// since the start with what it has run.
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
    assert!((4.0..20.0).contains(&elapsed) && lines[6].contains(" up 0 min"), "{said}");
    // All is of the time since the start: by the process alone, by the sums, and by two programs that divide these.
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

/// A reader whose time namespace has a boot of its own is told what the kernel would tell it, whether it is in a container
/// or not, and others of its cgroup what they were told before.
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
        let [age, age_there, booted, booted_there, up, up_there, booted_of_host, _] =
            shown(&["unshare", "--time", "--boottime", offset])[..]
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

fn iostat() {
    let said = in_container(Some("0.5"), "LC_ALL=C iostat -c 1 2 2>&1; LC_ALL=C iostat -d 2>&1");
    // The first is of the time since the start, which was just now.
    let lines: Vec<&str> = said.lines().collect();
    let shares = lines.iter().rposition(|line| line.starts_with("avg-cpu")).map(|place| lines[place + 1]);
    let idle: f64 = shares.unwrap().split_whitespace().last().unwrap().parse().unwrap();
    assert!((50.0..=100.0).contains(&idle) && said.contains("Device"), "{said}");
    assert!(lines[0].ends_with("(1 CPU)"), "{said}");
}
