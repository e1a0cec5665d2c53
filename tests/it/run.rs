//! `cgprocfs run`: one command that sees its own memory.

use crate::common::{
    MOUNT, Need, cgprocfs, field, helper, host_total, output, test, wait_at_most, wait_for, wait_until,
};
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const FREE: &[Need] = &[Need::Root, Need::Fuse, Need::Program("free")];

const LIMITED: &[Need] = &[Need::Root, Need::Fuse, Need::Program("prlimit")];

pub fn tests() -> Vec<Trial> {
    tests! {
        test(FREE) => [
            free_tells_the_limit,
        ],
        test(MOUNT) => [
            no_limit_is_the_host,
            working_set_is_there,
            exit_status_is_the_programs,
            program_that_cannot_start,
            failed_start_cleans_up,
            stdio_and_directory_are_the_programs,
            report_for_people,
            report_for_machines,
            numbers_while_it_runs,
            oom_kill_is_counted,
            signals_reach_the_program,
            killed_run_leaves_nothing,
            background_processes_and_subcgroups_go,
            subcgroups_are_part_of_the_container,
            files_of_removed_cgroups_are_closed,
            nobody_reads_the_report,
            two_at_once,
            mounts_stay_private,
        ],
        test(LIMITED) => [
            limit_on_open_files_is_the_callers,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("busybox")]) => [
            inside_a_chroot,
        ],
    }
}

fn run_command(arguments: &[&str]) -> Command {
    let mut command = cgprocfs();
    command.arg("run").args(arguments);
    command
}

fn finish(arguments: &[&str]) -> Output {
    run_command(arguments).stdin(Stdio::null()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The last line of stderr as JSON, and there the report.
fn report(output: &Output) -> Value {
    let text = stderr(output);
    let line: Value =
        serde_json::from_str(text.lines().last().unwrap()).unwrap_or_else(|e| panic!("{e}: {text}"));
    line["report"].clone()
}

fn hog(mib: &str) -> Vec<String> {
    helper::command("hog", &[mib])
}

fn with<'a>(options: &[&'a str], program: &'a [String]) -> Vec<&'a str> {
    options.iter().copied().chain(["--"]).chain(program.iter().map(String::as_str)).collect()
}

fn free_tells_the_limit() {
    let text = output(&mut run_command(&["--memory", "256M", "--", "free", "-m"]));
    let total = text.lines().find(|line| line.starts_with("Mem:")).unwrap().split_whitespace().nth(1);
    assert_eq!(total, Some("256"), "{text}");
}

fn no_limit_is_the_host() {
    let text = output(&mut run_command(&["--", "cat", "/proc/meminfo"]));
    assert_eq!(field(&text, "MemTotal"), host_total());
    assert!(field(&text, "Cached") < 64 << 10, "but usage is the program's own: {text}");
}

fn working_set_is_there() {
    let text = output(&mut run_command(&["cat", "/run/cgprocfs/working_set", "/run/cgprocfs/proc/meminfo"]));
    assert!(text.lines().next().unwrap().parse::<u64>().unwrap() < 64 << 20, "{text}");
}

fn exit_status_is_the_programs() {
    for code in [0, 1, 7, 255] {
        assert_eq!(finish(&["--", "sh", "-c", &format!("exit {code}")]).status.code(), Some(code));
    }
    assert_eq!(finish(&["--", "sh", "-c", "kill -TERM $$"]).status.code(), Some(128 + 15));
    assert_eq!(finish(&["--", "sh", "-c", "kill -KILL $$"]).status.code(), Some(128 + 9));
}

fn program_that_cannot_start() {
    let cases = [
        ("/no/such/program", 127, "program not found"),
        ("no-such-program-anywhere", 127, "program not found"),
        ("/etc/passwd", 126, "cannot be executed"),
        ("/etc", 126, "cannot be executed"),
    ];
    for (program, code, message) in cases {
        let output = finish(&["--", program]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(
            text.starts_with(&format!("cgprocfs: {program}: {message}")) && text.lines().count() == 1,
            "{text}"
        );
    }
    let interpreter = tempfile::NamedTempFile::new().unwrap();
    fs::write(interpreter.path(), "#!/no/such/interpreter\n").unwrap();
    let path = interpreter.into_temp_path();
    output(Command::new("chmod").arg("+x").arg(&path));
    assert_eq!(finish(&["--", path.to_str().unwrap()]).status.code(), Some(127));
}

/// Nor does it leave anything behind.
fn failed_start_cleans_up() {
    let mut process = run_command(&["--", "/no/such/program"]).stderr(Stdio::null()).spawn().unwrap();
    let id = process.id();
    assert_eq!(wait_for(&mut process).code(), Some(127));
    assert_eq!(cgroup_dir(id), None);
}

fn stdio_and_directory_are_the_programs() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "from the directory\n").unwrap();
    let mut command = run_command(&["--", "sh", "-c", "cat; cat file; pwd; echo $WORD; echo oops >&2"]);
    command.current_dir(dir.path()).env("WORD", "from the environment");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    std::io::Write::write_all(&mut process.stdin.take().unwrap(), b"from stdin\n").unwrap();
    let output = process.wait_with_output().unwrap();
    let directory = dir.path().canonicalize().unwrap();
    let expected = format!("from stdin\nfrom the directory\n{}\nfrom the environment\n", directory.display());
    assert_eq!(String::from_utf8(output.stdout.clone()).unwrap(), expected);
    assert!(stderr(&output).starts_with("oops\n"));
}

fn report_for_people() {
    let text = stderr(&finish(&["--memory", "64M", "--", "sh", "-c", "exit 3"]));
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("cgprocfs: sh ended with status 3 after "), "{text}");
    assert!(lines[1].starts_with("  peak ") && lines[1].ends_with(" of 64.0 MiB"), "{text}");
    assert!(lines[2].contains("anon") && lines[2].contains("file") && lines[2].contains("kernel"), "{text}");
    assert_eq!(lines[3], "  OOM kills    0", "{text}");
}

fn report_for_machines() {
    let program = hog("30");
    let output = finish(&with(&["--json", "--memory", "64M"], &program));
    let report = report(&output);
    let mib = |key: &str| report[key].as_u64().unwrap() >> 20;
    assert_eq!(report["exit_code"], 0, "{report}");
    assert_eq!(mib("limit"), 64);
    assert_eq!(report["oom_kills"], 0);
    assert!((30..40).contains(&mib("peak")), "{report}");
    let last = &report["last"];
    let part = |key: &str| last[key].as_u64().unwrap();
    assert!(part("working_set") <= part("usage"));
    assert!(report["seconds"].as_f64().unwrap() >= last["seconds"].as_f64().unwrap());
}

fn numbers_while_it_runs() {
    let program = hog("30");
    let start = std::time::Instant::now();
    let mut command = run_command(&with(&["--json", "--refresh", "50ms"], &program));
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    process.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    drop(process.stdin.take());
    let output = process.wait_with_output().unwrap();
    let most = usize::try_from(start.elapsed().as_millis() / 50).unwrap() + 2;
    let text = stderr(&output);
    let samples: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let samples: Vec<&Value> = samples.iter().map(|line| &line["sample"]).filter(|s| s.is_object()).collect();
    assert!((5..=most).contains(&samples.len()), "{} samples, one each 50 ms, at most {most}", samples.len());
    let last = samples.last().unwrap();
    assert!(last["anon"].as_u64().unwrap() >= 30 << 20, "{last}");
    assert!(last["working_set"].as_u64().unwrap() >= 30 << 20, "{last}");
    let people = finish(&["--refresh", "20ms", "--", "sleep", "0.2"]);
    assert!(
        stderr(&people).lines().filter(|line| line.contains("working set") && line.contains(" s ")).count()
            >= 3
    );
}

fn oom_kill_is_counted() {
    let swap = field(&fs::read_to_string("/proc/meminfo").unwrap(), "SwapTotal") >> 10;
    let program = hog(&(64 + swap).to_string());
    let output = finish(&with(&["--json", "--memory", "32M"], &program));
    assert_eq!(output.status.code(), Some(137));
    let report = report(&output);
    assert_eq!((&report["oom_kills"], &report["signal"]), (&Value::from(1), &Value::from(9)), "{report}");
    assert_eq!(report["peak"], 32 << 20);
}

/// Starts a run whose program says when it is ready.
fn start(script: &str) -> Child {
    // What starts the tests may ignore signals, as a shell does for what it runs in the background, and that is
    // inherited.
    let mut command = Command::new("env");
    command
        .arg("--default-signal")
        .arg(crate::common::cgprocfs_path())
        .args(["run", "--", "sh", "-c", script]);
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    process.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    process
}

fn send(process: &Child, signal: Signal) {
    kill_process(Pid::from_raw(process.id().try_into().unwrap()).unwrap(), signal).unwrap();
}

fn signals_reach_the_program() {
    for (signal, name, number) in [
        (Signal::TERM, "TERM", 15),
        (Signal::INT, "INT", 2),
        (Signal::HUP, "HUP", 1),
        (Signal::USR1, "USR1", 10),
    ] {
        let handled = format!("trap 'exit 42' {name}; echo ready; while :; do sleep 0.01; done");
        let mut process = start(&handled);
        send(&process, signal);
        assert_eq!(wait_for(&mut process).code(), Some(42), "{name} handled by the program");
        // sh ignores SIGINT in what it runs in the background only.
        let mut process = start("echo ready; exec sleep 60");
        send(&process, signal);
        assert_eq!(wait_for(&mut process).code(), Some(128 + number), "{name} not handled by the program");
    }
}

/// The cgroup of a run's program, by its process id.
fn cgroup_dir(run: u32) -> Option<PathBuf> {
    let layout = cgprocfs::kernel::CgroupMounts::detect(std::path::Path::new("/")).unwrap();
    let prefix = format!("cgprocfs-run-{run}-");
    let entries = fs::read_dir(layout.memory.mount_point).unwrap().map(Result::unwrap);
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&prefix))
}

fn exists(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn killed_run_leaves_nothing() {
    let mut process = start("setsid sleep 60 & echo ready; cat /proc/meminfo > /dev/null; sleep 60");
    let cgroup = cgroup_dir(process.id()).unwrap();
    let pids: Vec<u32> = fs::read_to_string(cgroup.join("cgroup.procs"))
        .unwrap()
        .lines()
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert!(pids.len() >= 2);
    send(&process, Signal::KILL);
    wait_for(&mut process);
    wait_until("the cgroup is gone", || !cgroup.exists());
    wait_until("its processes are gone", || !pids.iter().any(|&pid| exists(pid)));
    assert!(!fs::read_to_string("/proc/self/mounts").unwrap().contains("/run/cgprocfs fuse"));
    wait_until("the janitor is gone", || {
        let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
        let mine = cgroup.to_str().unwrap();
        !processes
            .filter_map(|path| fs::read(path).ok())
            .any(|line| String::from_utf8_lossy(&line).contains(mine))
    });
}

fn background_processes_and_subcgroups_go() {
    let script = "top=$(ls -d $0/cgprocfs-run-$PPID-*); mkdir -p $top/a/b; sleep 60 & echo $! > $top/a/b/cgroup.procs; echo $!";
    let layout = cgprocfs::kernel::CgroupMounts::detect(std::path::Path::new("/")).unwrap();
    let mut process = run_command(&["--", "sh", "-c", script, layout.memory.mount_point.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    let id = process.id();
    assert!(wait_for(&mut process).success());
    assert_eq!(cgroup_dir(id), None);
    wait_until("the background process is gone", || !exists(pid));
}

/// A program that makes cgroups below its own sees the whole container from there.
fn subcgroups_are_part_of_the_container() {
    let layout = cgprocfs::kernel::CgroupMounts::detect(std::path::Path::new("/")).unwrap();
    let script = "top=$(ls -d $0/cgprocfs-run-$PPID-*); mkdir $top/sub; sleep 60 | \"$@\" & \
        until grep -qE 'AnonPages: +[2-9][0-9]{4} kB' /proc/meminfo; do sleep 0.05; done; \
        echo 0 > $top/sub/cgroup.procs && grep -E 'MemTotal|AnonPages' /proc/meminfo";
    let hog = hog("20");
    let mut arguments = vec!["--memory", "64M", "--", "sh", "-c", script];
    arguments.push(layout.memory.mount_point.to_str().unwrap());
    arguments.extend(hog.iter().map(String::as_str));
    let output = output(&mut run_command(&arguments));
    assert_eq!(field(&output, "MemTotal"), 64 << 10);
    assert!(field(&output, "AnonPages") >= 20 << 10, "{output}");
}

/// The program's is what it would have without us, whatever we need.
fn limit_on_open_files_is_the_callers() {
    const SCRIPT: &str = "ulimit -Sn; ulimit -Hn; grep 'Max open files' /proc/$PPID/limits";
    let mut command = Command::new("prlimit");
    command
        .arg("--nofile=256:1024")
        .arg(crate::common::cgprocfs_path())
        .args(["run", "--", "sh", "-c", SCRIPT]);
    let text = output(&mut command);
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["256", "1024", "Max", "open", "files", "1024", "1024", "files"]);
}

/// The views are read in cgroups of the program's own making, which are gone then.
fn files_of_removed_cgroups_are_closed() {
    const COUNT: usize = 40;
    let layout = cgprocfs::kernel::CgroupMounts::detect(std::path::Path::new("/")).unwrap();
    let top = layout.memory.mount_point.display();
    let script = format!(
        "top=$(ls -d {top}/cgprocfs-run-$PPID-*); for i in $(seq {COUNT}); do mkdir $top/$i; \
         sh -c 'echo 0 > $0/cgroup.procs && cat /proc/meminfo > /dev/null' $top/$i; done; \
         echo ready; exec sleep 60"
    );
    let mut run = start(&script);
    let open = || fs::read_dir(format!("/proc/{}/fd", run.id())).unwrap().count();
    let (before, cgroup) = (open(), cgroup_dir(run.id()).unwrap());
    (1..=COUNT).for_each(|number| fs::remove_dir(cgroup.join(number.to_string())).unwrap());
    wait_at_most(30, "their files are closed", || open() + COUNT <= before);
    send(&run, Signal::TERM);
    wait_for(&mut run);
}

/// The exit status is the program's even if stderr is a closed pipe.
fn nobody_reads_the_report() {
    let script = "exec \"$0\" run --refresh 10ms -- sh -c 'sleep 0.1; exit 7' 2>&1 >/dev/null | true; echo ${PIPESTATUS[0]}";
    let status = output(Command::new("bash").args(["-c", script]).arg(crate::common::cgprocfs_path()));
    assert_eq!(status, "7\n");
}

/// A program of a chroot runs there, and not with the host's files.
fn inside_a_chroot() {
    let dir = tempfile::tempdir().unwrap();
    let script = "mount --rbind / $0; mkdir -p $0$0/new; mount -t tmpfs none $0$0/new; cd $0$0/new; \
        for d in dev proc sys run bin lib lib64 usr; do mkdir $d; [ -e /$d ] && mount --rbind /$d $d; done; \
        mkdir only-here; exec chroot . \"$1\" run -- ls -d /only-here";
    let copy = tempfile::Builder::new().tempdir_in("/usr/local").unwrap();
    let program = copy.path().join("cgprocfs");
    crate::common::copy_program(crate::common::cgprocfs_path(), &program);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(dir.path()).arg(&program);
    assert_eq!(output(&mut command), "/only-here\n");
}

fn two_at_once() {
    let runs: Vec<_> = ["64M", "96M"]
        .iter()
        .map(|memory| {
            let arguments = ["--memory", memory, "--", "sh", "-c", "sleep 0.2; cat /proc/meminfo"];
            run_command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let totals: Vec<_> = runs
        .into_iter()
        .map(|run| field(&String::from_utf8(run.wait_with_output().unwrap().stdout).unwrap(), "MemTotal"))
        .collect();
    assert_eq!(totals, [64 << 10, 96 << 10]);
}

fn mounts_stay_private() {
    let before = fs::read_to_string("/proc/self/mounts").unwrap();
    let mut process = start("echo ready; sleep 0.3");
    let during = fs::read_to_string("/proc/self/mounts").unwrap();
    let here = fs::read_to_string("/proc/meminfo").unwrap();
    wait_for(&mut process);
    let ours = |table: &str| table.lines().filter(|line| line.contains(" /run/cgprocfs ")).count();
    assert_eq!(ours(&before), ours(&during));
    assert_eq!(field(&here, "MemTotal"), host_total());
}
