//! Which views real programs read, and what they show then: the documentation's table of programs.

use crate::common::{Need, PYTHON, cgprocfs, finish, test};
use cgprocfs_core::view::{CPU_DIRECTORY, NODE_DIRECTORY, ViewId, bound};
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;

pub fn tests() -> Vec<Trial> {
    const NEEDS: &[Need] =
        &[Need::Root, Need::Fuse, Need::Speed, Need::Program("strace"), Need::PythonModule("psutil")];
    let trials = PROGRAMS.iter().map(|program| test(program.name, NEEDS, || reads_and_shows(program)));
    trials.chain([test("the_documentation_has_them", &[], the_documentation_has_them)]).collect()
}

/// A program in a container of half a processor and 256 MiB.
struct Program {
    name: &'static str,
    command: &'static [&'static str],
    /// What it opens.
    reads: &'static [&'static str],
    /// What it prints, and what that means.
    prints: &'static [&'static str],
    shows: &'static str,
}

static PROGRAMS: &[Program] = &[
    Program {
        name: "top",
        command: &["top", "-b", "-n", "1"],
        reads: &[
            "proc/meminfo",
            "proc/cpuinfo",
            "proc/uptime",
            "proc/stat",
            "proc/loadavg",
            CPU_DIRECTORY,
            // By way of libnuma, where that is installed, as with vmstat.
            NODE_DIRECTORY,
        ],
        prints: &["up 0 min", "MiB Mem :    256.0 total"],
        shows: "its memory, processor time, age and load",
    },
    Program {
        name: "free",
        command: &["free", "--mega"],
        reads: &["proc/meminfo"],
        prints: &["Mem:             268 "],
        shows: "its memory and swap",
    },
    Program {
        name: "uptime",
        command: &["uptime"],
        reads: &["proc/uptime", "proc/loadavg"],
        prints: &["up 0 min"],
        shows: "its age and load",
    },
    Program {
        name: "vmstat",
        command: &["vmstat", "1", "2"],
        reads: &["proc/meminfo", "proc/cpuinfo", "proc/stat", "proc/vmstat", CPU_DIRECTORY, NODE_DIRECTORY],
        prints: &["procs"],
        shows: "its memory, I/O and processor time",
    },
    Program {
        name: "mpstat",
        command: &["mpstat", "1", "1"],
        reads: &["proc/uptime", "proc/stat", CPU_DIRECTORY],
        prints: &["(1 CPU)"],
        shows: "one processor, and its time",
    },
    Program {
        name: "iostat",
        command: &["iostat"],
        reads: &["proc/uptime", "proc/stat", CPU_DIRECTORY],
        prints: &["(1 CPU)"],
        shows: "one processor, and its time; of devices what the host did, from `/sys/block`",
    },
    Program {
        name: "lscpu",
        command: &["lscpu"],
        reads: &["proc/cpuinfo", CPU_DIRECTORY, NODE_DIRECTORY],
        prints: &["CPU(s):                                  1", "Core(s) per socket:                      1"],
        shows: "one package of one core, in one node",
    },
    Program {
        name: "numactl",
        command: &["numactl", "-H"],
        reads: &[CPU_DIRECTORY, NODE_DIRECTORY],
        prints: &["available: 1 nodes (0)", "node 0 cpus: 0\n", "node 0 size: 256 MB"],
        shows: "its nodes, with its processors and its memory",
    },
    Program {
        name: "hwloc-ls",
        command: &["hwloc-ls", "--no-io"],
        reads: &["proc/meminfo", "proc/cpuinfo", CPU_DIRECTORY, NODE_DIRECTORY],
        prints: &["Machine (256MB total)", "PU L#0 (P#0)"],
        shows: "the same, with caches",
    },
    Program {
        name: "getconf",
        command: &["getconf", "_NPROCESSORS_ONLN"],
        reads: &[CPU_DIRECTORY],
        prints: &["1"],
        shows: "one processor",
    },
    Program {
        name: "nproc",
        command: &["nproc"],
        reads: &[],
        prints: &[],
        shows: "its cpuset: it asks sched_getaffinity(2)",
    },
    Program {
        name: "psutil",
        command: &[
            PYTHON,
            "-c",
            "import psutil; print(psutil.cpu_count(), psutil.virtual_memory().total, psutil.cpu_percent(0.1) >= 0)",
        ],
        reads: &["proc/meminfo", "proc/stat", CPU_DIRECTORY],
        prints: &["1 268435456 True"],
        shows: "its memory, one processor and its time",
    },
    Program {
        name: "node",
        command: &[
            "node",
            "-p",
            "os.totalmem() + ' ' + os.cpus().length + ' ' + (os.uptime() < 60) + ' ' + os.loadavg().length",
        ],
        reads: &["proc/meminfo", "proc/cpuinfo", "proc/uptime", "proc/stat", "proc/loadavg"],
        prints: &["268435456 1 true 3"],
        shows: "its memory, one processor, its age and load",
    },
    Program {
        name: "java",
        command: &["java", "-XshowSettings:system", "-version"],
        reads: &["proc/meminfo", "proc/cpuinfo", "proc/stat", CPU_DIRECTORY],
        prints: &["Effective CPU Count: 1", "Memory Limit: 256.00M"],
        shows: "its limits, which it reads from its cgroup",
    },
];

fn reads_and_shows(program: &Program) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let strace = ["strace", "-f", "-y", "-qq", "-e", "trace=open,openat", "-o", log.path().to_str().unwrap()];
    // What a container has from files alone.
    let words = ["run", "--memory", "256M", "--cpus", "0.5", "--no-syscalls", "--"];
    let mut command = cgprocfs();
    command.args(words).args(strace).args(program.command).env("LC_ALL", "C");
    let output = finish(&mut command);
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
    assert!(output.status.success(), "{said}");
    for printed in program.prints {
        assert!(said.contains(printed), "{printed:?} is not in:\n{said}");
    }
    let trace = fs::read_to_string(log.path()).unwrap();
    let opened: Vec<String> = trace.lines().filter_map(opened).collect();
    let read: Vec<&str> = bound(&ViewId::ALL)
        .filter(|view| opened.iter().any(|path| Path::new(path).starts_with(format!("/{view}"))))
        .collect();
    assert_eq!(read, program.reads, "{}", program.name);
}

/// The path of a call that opened something, such as `12 openat(AT_FDCWD</tmp>, "/proc/stat", O_RDONLY) =
/// 3</proc/stat>`.
fn opened(line: &str) -> Option<String> {
    let (_, result) = line.rsplit_once(") = ")?;
    let (_, path) = result.split_once('<')?;
    Some(path.trim_end_matches('>').to_string())
}

fn table() -> String {
    let row = |program: &Program| {
        let reads: Vec<_> = program.reads.iter().map(|view| format!("`{view}`")).collect();
        let reads = if reads.is_empty() { "none".to_string() } else { reads.join(", ") };
        format!("| `{}` | {reads} | {} |\n", program.name, program.shows)
    };
    ["| program | reads | shows |\n|---|---|---|\n".to_string()]
        .into_iter()
        .chain(PROGRAMS.iter().map(row))
        .collect()
}

/// `UPDATE_DOCS=1` writes it anew.
fn the_documentation_has_them() {
    crate::common::documentation::check("programs", &table());
}
