//! What real programs show of processors, load and uptime, in a container that does a known amount of work.
//! Each share of processor time is held against the cgroup's own counter over the same time.

mod age;
mod busy;
mod count;
mod load;

pub use self::load::read_load;

use crate::common::{MOUNT, Need, cgprocfs, output, test};
use cgprocfs::kernel::CgroupMounts;
use cgprocfs_core::parse::CgroupVersion;
use libtest_mimic::Trial;
use std::path::Path;
use std::process::Command;

pub fn tests() -> Vec<Trial> {
    let own = tests! {
        test(TOP) => [
            load_average = load::average,
        ],
        test(MOUNT) => [
            load_of_a_young_container = load::of_a_young_container,
            load_of_seven_hundred_cgroups = load::of_seven_hundred_cgroups,
        ],
        test(&[Need::Root, Need::Fuse, Need::Freezer]) => [
            load_without_frozen_tasks = load::without_frozen_tasks,
        ],
        test(&[Need::Root, Need::Fuse, Need::Solitude]) => [
            load_is_the_kernels = load::is_the_kernels,
        ],
    };
    [own, count::tests(), busy::tests(), age::tests()].into_iter().flatten().collect()
}

/// Those that want all processors, and those that measure what is left of them.
pub fn tests_that_run_alone() -> Vec<Trial> {
    tests! {
        test(TOP) => [
            load_of_five_hundred_containers = load::of_five_hundred_containers,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("dd")]) => [
            time_under_contention = busy::time_under_contention,
        ],
    }
}

const TOP: &[Need] = &[Need::Root, Need::Fuse, Need::Speed, Need::Program("top")];

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

/// A file of the container's own cgroup, from within, whose first line ends with how long that has run, and
/// how many of its units are a second.
fn counter() -> (String, f64) {
    let layout = CgroupMounts::detect(Path::new("/")).unwrap();
    let hierarchy = layout.cpuacct.unwrap();
    let directory = format!("{}/cgprocfs-run-$PPID-*", hierarchy.mount_point.display());
    match hierarchy.version {
        CgroupVersion::V1 => (format!("{directory}/cpuacct.usage"), 1e9),
        CgroupVersion::V2 => (format!("{directory}/cpu.stat"), 1e6),
    }
}

/// A program that prints lines of a pattern when it looks at the processors, counted from the first to the
/// last of them: what it needs to start is not in what it shows.
fn counted_by_lines(program: &str, pattern: &str) -> String {
    format!(
        "LC_ALL=C stdbuf -oL {program} | {{ while IFS= read -r line; do case $line in {pattern}) look=$(look); \
         from=${{from:-$look}} ;; esac; echo \"$line\"; done; echo counted $from $look; }}"
    )
}

/// Runs a program that watches for three seconds beside spinning processes, and holds the idle share that it
/// shows, found in what it prints by `idle`, against what the cgroup counts.
///
/// A number that is wrong is so each time; but a busy machine may keep whoever counts from running after the
/// program has looked.
fn watch(spinners: usize, cpus: Option<&str>, program: &str, idle: impl Fn(&str) -> f64) {
    let mut said = Vec::new();
    for _ in 0..3 {
        match watch_once(spinners, cpus, program, &idle) {
            Ok(()) => return,
            Err(tried) => said.push(tried),
        }
    }
    panic!("{}", said.join("\n"));
}

fn watch_once(
    spinners: usize,
    cpus: Option<&str>,
    program: &str,
    idle: impl Fn(&str) -> f64,
) -> Result<(), String> {
    let (count, unit) = counter();
    let spin = "while :; do :; done & ".repeat(spinners);
    let script = format!(
        "look() {{ date +%s%N; sed '1!d; s/.* //' {count}; date +%s%N; }}; {spin} sleep 1; from=$(look); {program} 2>&1; to=$(look); \
         echo counted $from $to"
    );
    let said = in_container(cpus, &script);
    // Some programs count for themselves.
    let (shown, counted) = said.split_once("counted ").unwrap_or_else(|| panic!("{said}"));
    let counted = counted.lines().next().unwrap_or_default();
    let numbers: Vec<f64> = counted.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let capacity = cpus.map_or(host_count() as f64, |cpus| cpus.parse().unwrap());
    // Each number was read between two looks at the clock, which may be far from each other on a busy
    // machine. Some programs are looked at from both sides when they look, the others before the first time
    // and after the last.
    let looks: Vec<[f64; 3]> = numbers.chunks_exact(3).map(|look| look.try_into().unwrap()).collect();
    let [first, begun, ended, last] = match looks[..] {
        [first, begun, ended, last] => [first, begun, ended, last],
        [first, last] => [first, first, last, last],
        _ => panic!("{said}"),
    };
    let busy_in = |ran: f64, elapsed: f64| ran / unit / (elapsed / 1e9) / capacity * 100.0;
    let least = busy_in(ended[1] - begun[1], last[2] - first[0]);
    let most = busy_in(last[1] - first[1], ended[0] - begun[2]);
    let shown_busy = 100.0 - idle(shown);
    println!(
        "processors: {program}, {spinners} spin, limit {cpus:?}: shows {shown_busy:.1} % busy, counted {least:.1} to {most:.1} %"
    );
    match (least - 5.0..most + 5.0).contains(&shown_busy) {
        true => Ok(()),
        false => Err(format!("shown {shown_busy:.1} %, counted {least:.1} to {most:.1} %:\n{shown}")),
    }
}

/// At rest, one spinner on half a processor, three on all.
fn watch_all(program: &str, idle: impl Fn(&str) -> f64 + Copy) {
    for (spinners, cpus) in [(0, Some("0.5")), (1, Some("0.5")), (1, Some("1.5")), (3, None)] {
        watch(spinners, cpus, program, idle);
    }
}

/// So does vmstat.
fn vmstat() {
    watch_all(&counted_by_lines("vmstat 3 2", "*[0-9]*"), |said| {
        let head = said.lines().find(|line| line.contains(" id ")).unwrap();
        let column = head.split_whitespace().position(|word| word == "id").unwrap();
        said.lines().last().unwrap().split_whitespace().nth(column).unwrap().parse().unwrap()
    });
}
