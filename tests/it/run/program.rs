//! What the program sees, and what is passed on to it and from it.

use super::{finish, hog, run_command, send, start, stderr};
use crate::common::{MOUNT, Need, field, host_total, output, test, wait_for};
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::fs;
use std::process::{Command, Stdio};

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
            stdio_and_directory_are_the_programs,
            signals_reach_the_program,
            subcgroups_are_part_of_the_container,
            two_at_once,
            mounts_stay_private,
        ],
        test(LIMITED) => [
            limit_on_open_files_is_the_callers,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("busybox")]) => [
            inside_a_chroot,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("setpriv"), Need::TimeNamespaces]) => [
            without_a_time_namespace,
        ],
    }
}

const FREE: &[Need] = &[Need::Root, Need::Fuse, Need::Program("free")];

const LIMITED: &[Need] = &[Need::Root, Need::Fuse, Need::Program("prlimit")];

/// `free` shows the limit as the total.
fn free_tells_the_limit() {
    let text = output(&mut run_command(&["--memory", "256M", "--", "free", "-m"]));
    let total = text.lines().find(|line| line.starts_with("Mem:")).unwrap().split_whitespace().nth(1);
    assert_eq!(total, Some("256"), "{text}");
}

/// Who may not set a clock gets no time namespace; that is said once, and the program runs.
fn without_a_time_namespace() {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-sys_time"]).arg(crate::common::cgprocfs_path());
    let output = crate::common::finish(command.args(["run", "--", "cat", "/proc/uptime"]));
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("cannot make a time namespace").count(), 1, "{said}");
    let uptime = String::from_utf8(output.stdout).unwrap();
    let age: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    assert!(age < 60.0, "the view's own age: {uptime}");
}

/// Without a limit the program has the host's memory.
fn no_limit_is_the_host() {
    let text = output(&mut run_command(&["--", "cat", "/proc/meminfo"]));
    assert_eq!(field(&text, "MemTotal"), host_total());
    assert!(field(&text, "Cached") < 64 << 10, "but usage is the program's own: {text}");
}

/// The program finds the whole tree where a daemon would mount it.
fn working_set_is_there() {
    let text = output(&mut run_command(&["cat", "/run/cgprocfs/working_set", "/run/cgprocfs/proc/meminfo"]));
    assert!(text.lines().next().unwrap().parse::<u64>().unwrap() < 64 << 20, "{text}");
}

/// A run ends with its program's status, or with 128 and the number of the signal that ended it.
fn exit_status_is_the_programs() {
    for code in [0, 1, 7, 255] {
        assert_eq!(finish(&["--", "sh", "-c", &format!("exit {code}")]).status.code(), Some(code));
    }
    assert_eq!(finish(&["--", "sh", "-c", "kill -TERM $$"]).status.code(), Some(128 + 15));
    assert_eq!(finish(&["--", "sh", "-c", "kill -KILL $$"]).status.code(), Some(128 + 9));
}

/// A program that cannot be started gives the exit codes of a shell.
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

/// Standard streams, directory and environment are passed on.
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

/// Signals to the run are the program's.
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

/// Two runs have each a cgroup and numbers of their own.
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

/// The host does not see the program's mounts.
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
