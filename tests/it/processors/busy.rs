//! How busy its processors are.

use super::{PSUTIL, TOP, counted_by_lines, counter, host_count, in_container, vmstat, watch_all};
use crate::common::{MOUNT, Need, PYTHON, output, test};
use cgprocfs::kernel::CgroupMounts;
use cgprocfs_core::parse::CgroupVersion;
use libtest_mimic::Trial;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            counters_never_go_back,
        ],
        test(PSUTIL) => [
            psutil,
        ],
        test(TOP) => [
            top,
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
        test(&[Need::Root, Need::Fuse, Need::Program("iostat")]) => [
            iostat,
        ],
    }
}

const HTOP: &[Need] = &[Need::Root, Need::Fuse, Need::Speed, Need::Program("htop"), Need::Program("tmux")];

/// top shows the idle time that the cgroup's own counter leaves.
fn top() {
    watch_all(&counted_by_lines("top -b -n 2 -d 3", "\"top - \"*"), |said| {
        let last = said.lines().rfind(|line| line.starts_with("%Cpu")).unwrap();
        let field = last.split(',').find_map(|field| field.trim().strip_suffix(" id"));
        field.unwrap_or_else(|| panic!("{last}")).trim_start_matches("%Cpu(s):").trim().parse().unwrap()
    });
}

/// So does mpstat.
fn mpstat() {
    watch_all(&counted_by_lines("mpstat 3 1", "Linux*|Average*"), |said| {
        let average = said.lines().rfind(|line| line.starts_with("Average:")).unwrap();
        average.split_whitespace().last().unwrap().parse().unwrap()
    });
}

/// So does psutil.
fn psutil() {
    // It takes a while until it looks, and on a busy machine what runs meanwhile is another share: so it
    // counts itself.
    let count = "n = lambda: open(sys.argv[1]).readline().split()[-1]";
    let look = "look = lambda: (time.time_ns(), n(), time.time_ns())";
    let watch = "a = look(); psutil.cpu_percent(); b = look(); time.sleep(3); c = look(); p = psutil.cpu_percent(); d = look()";
    let script = format!(
        "import psutil, sys, time; {count}; {look}; {watch}; print(p); print(\"counted\", *a, *b, *c, *d)"
    );
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

/// One spins on half a processor: its meter is as full as the cgroup's counter says, and load and uptime are
/// not the host's.
fn htop() {
    const LIMIT: f64 = 0.5;
    let program = crate::common::cgprocfs_path();
    let named = tempfile::NamedTempFile::new().unwrap();
    let (counter, unit) = counter();
    let script = format!(
        "echo {counter} >{}; while :; do :; done & exec htop --no-color -d 10",
        named.path().display()
    );
    let terminal = Terminal::start(&format!(
        "TERM=screen {} run --cpus {LIMIT} -- sh -c \"{}\"",
        program.display(),
        script.replace('$', "\\$")
    ));
    let busy = |screen: &str| {
        // Of several it numbers the meters.
        let meter = screen.lines().find(|line| line.trim_start().starts_with("CPU["))?;
        let bar = meter.split(']').next()?.trim_start().strip_prefix("CPU[")?;
        let share = bar.trim_start_matches(|c: char| !c.is_ascii_digit()).strip_suffix('%')?;
        share.parse::<f64>().ok()
    };
    let counted = || {
        let path = std::fs::read_to_string(named.path()).unwrap();
        let text = std::fs::read_to_string(path.trim()).unwrap();
        let count: f64 = text.lines().next().unwrap().split(' ').next_back().unwrap().parse().unwrap();
        (count / unit, Instant::now())
    };
    let mut screen = String::new();
    let mut look = || {
        screen = terminal.screen();
        busy(&screen)
    };
    // Its first picture is of the time since the container's start.
    crate::common::wait_until("htop shows a busy processor", || look().is_some_and(|busy| busy > 25.0));
    std::thread::sleep(Duration::from_secs(1));
    let (from, begin) = counted();
    let shown: Vec<f64> = (0..8)
        .map(|_| {
            std::thread::sleep(Duration::from_secs(1));
            look().expect("a meter")
        })
        .collect();
    let (to, end) = counted();
    let counted = (to - from) / (end - begin).as_secs_f64() / LIMIT * 100.0;
    let mean = shown.iter().sum::<f64>() / shown.len() as f64;
    println!("processors: htop shows {mean:.1} % busy, counted {counted:.1} %");
    assert!((mean - counted).abs() < 5.0 && counted > 25.0, "shown {shown:?}, counted {counted:.1} %");
    assert!(screen.contains("Load average: 0.") && screen.contains("Uptime: 00:00:"), "{screen}");
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

/// Programs beside a container that want each processor, a number of them for each.
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

/// What is shown is what the cgroup's own counter counts, to a hundredth, and its parts are those of the
/// program, while two others want each processor. The last program sleeps between ticks, when nobody samples
/// it.
pub fn time_under_contention() {
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
        // It is read between two readings of the counter, which are not far from each other unless this shell
        // has to wait for a processor meanwhile.
        let script = format!(
            "file=$(echo {directory}/{file}); n() {{ read -r n <$file; n=${{n#usage_usec }}; }}; \
             ({program}) & p=$!; sleep 6; for try in 1 2 3 4 5 6 7 8 9; do sleep 0.2; \
             n; a=$n; read -r cpu </proc/stat; n; b=$n; [ $((200 * (b - a))) -lt $a ] && break; done; \
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
        // The two readings of the counter are up to half a hundredth apart. Each part is cut off to whole
        // ticks.
        assert!((before * 0.995 - 2.0..=after * 1.005).contains(&(user + system)), "{name}: {said}");
        // Of short runs most is what the shell does for a program that sleeps; on an emulated processor the
        // shell beside has a part in all of them. It is about 11 % there.
        let differ_by = if crate::common::is_native() { 5.0 } else { 20.0 };
        assert!(name == "short runs" || (shares[0] - shares[1]).abs() < differ_by, "{name}: {shares:?}");
    }
}

/// iostat runs, and shows one processor and its time.
fn iostat() {
    let said = in_container(Some("0.5"), "LC_ALL=C iostat -c 1 2 2>&1; LC_ALL=C iostat -d 2>&1");
    // The first is of the time since the start, which was just now.
    let lines: Vec<&str> = said.lines().collect();
    let shares = lines.iter().rposition(|line| line.starts_with("avg-cpu")).map(|place| lines[place + 1]);
    let idle: f64 = shares.unwrap().split_whitespace().last().unwrap().parse().unwrap();
    assert!((50.0..=100.0).contains(&idle) && said.contains("Device"), "{said}");
    assert!(lines[0].ends_with("(1 CPU)"), "{said}");
}
