//! The mounted file system, used as programs use `/proc`.

use crate::common::cgroup::Cgroup;
use crate::common::daemon::{Daemon, Foreground};
use crate::common::helper::{self, start};
use crate::common::{MOUNT, Need, cgprocfs, field, output, test, times, wait_until};
use cgprocfs_core::view::{ViewId, WHOLE_DIRECTORIES};
use libtest_mimic::Trial;
use rustix::process::Signal;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            cat,
            one_byte_at_a_time,
            odd_offsets,
            reread_after_the_numbers_moved,
            one_open_is_one_moment,
            other_ways_to_read,
            stat_and_readdir,
            look_ups_that_fail,
            writes_are_refused,
            unprivileged_reader,
            two_containers_at_once,
            thousands_of_opens,
            an_idle_daemon_sleeps,
            who_asks_later_is_read_for_anew,
            closing_asks_nobody,
            show_is_what_the_mount_serves,
            signals_unmount,
            mount_point_by_a_symbolic_link,
            more_containers_than_descriptors,
            over_the_daemons_own_meminfo_before_its_start,
            over_the_daemons_own_meminfo_after_its_start,
            unmounted_by_somebody_else,
            unmounted_by_command,
            aborted,
            anchors_follow,
            chosen_views,
            stopped_while_a_file_is_open,
            a_panic_is_contained,
            slabinfo_is_for_root_alone,
            poll_does_not_wait_for_the_daemon,
            failing_reads_do_not_fill_the_log,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("busybox")]) => [
            busybox_cat,
        ],
        test(&[Need::Root, Need::Fuse, Need::Speed, Need::Program("strace")]) => [
            cost_in_system_calls,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("prlimit")]) => [
            limit_on_open_files_is_raised,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("strace")]) => [
            what_was_unmounted_is_left_alone,
        ],
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn keys(meminfo: &str) -> Vec<&str> {
    meminfo.lines().map(|line| line.split(':').next().unwrap()).collect()
}

fn cat() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit(64));
    let text = output(&mut container.command(&["cat", &daemon.meminfo()]));
    let host = read(Path::new("/proc/meminfo"));
    assert_eq!(keys(&text), keys(&host), "the kernel's own lines in their order");
    let columns =
        |text: &str| -> Vec<_> { text.lines().map(|line| (line.find(':'), line.ends_with(" kB"))).collect() };
    assert_eq!(columns(&text), columns(&host));
    // Numbers up to eight digits leave every line of the kernel's as long as ours.
    let lengths = |text: &str| -> Vec<_> { text.lines().map(str::len).collect() };
    assert_eq!(lengths(&text), lengths(&host));
    assert!(text.len() < 4096, "a program that reads once with a page has it all");
    let working_set = output(&mut container.command(&["cat", &daemon.working_set()]));
    assert!(
        working_set.ends_with('\n') && working_set.trim().parse::<u64>().unwrap() < 64 << 20,
        "{working_set}"
    );
}

fn one_byte_at_a_time() {
    let daemon = Daemon::start();
    let file = File::open(daemon.path("proc/meminfo")).unwrap();
    let mut whole = vec![0; 8192];
    let length = file.read_at(&mut whole, 0).unwrap();
    let file = File::open(daemon.path("proc/meminfo")).unwrap();
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while file.read_at(&mut byte, bytes.len() as u64).unwrap() == 1 {
        bytes.push(byte[0]);
        if bytes.len() % 500 == 0 {
            // Longer than a text is kept for others: this one has to last.
            std::thread::sleep(Duration::from_millis(60));
        }
    }
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(keys(&text), keys(std::str::from_utf8(&whole[..length]).unwrap()));
    assert!(text.ends_with('\n') && text.lines().all(|line| line.contains(": ")), "torn: {text}");
}

fn odd_offsets() {
    let daemon = Daemon::start();
    let file = File::open(daemon.path("proc/meminfo")).unwrap();
    // Never read from the start: lxcfs has nothing to say then.
    let mut part = [0; 40];
    let length = file.read_at(&mut part, 28).unwrap();
    assert_eq!(length, 40);
    let mut whole = vec![0; 8192];
    let size = file.read_at(&mut whole, 1).unwrap() + 1;
    assert_eq!(&whole[27..67], &part, "one text at every offset");
    assert_eq!(file.read_at(&mut part, size as u64 - 3).unwrap(), 3);
    for beyond in [size as u64, size as u64 + 1, 1 << 40, i64::MAX as u64 - 4096] {
        assert_eq!(file.read_at(&mut part, beyond).unwrap(), 0, "offset {beyond}");
    }
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
}

fn reread_after_the_numbers_moved() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit(64));
    let words = helper::command("reread", &[&daemon.meminfo()]);
    let mut reader = start(&mut container.command(&words.iter().map(String::as_str).collect::<Vec<_>>()));
    for mib in [64, 128, 32, 256] {
        container.set_limit(mib << 20);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(reader.ask(), format!("MemTotal:       {:8} kB", mib << 10));
    }
}

fn one_open_is_one_moment() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit(64));
    let script = format!("exec 3< {}; head -c 28 <&3; read _; head -c 28 <&3 | tail -c 4", daemon.meminfo());
    let mut reader = container.command(&["sh", "-c", &script]);
    let mut reader = reader.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 28];
    reader.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"MemTotal:          65536 kB\n");
    container.set_limit(32 << 20);
    std::thread::sleep(Duration::from_millis(100));
    reader.stdin.take().unwrap().write_all(b"\n").unwrap();
    reader.wait().unwrap();
    let file = File::open(daemon.path("proc/meminfo")).unwrap();
    let mut head = [0; 100];
    file.read_at(&mut head, 0).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let mut again = [0; 99];
    file.read_at(&mut again, 1).unwrap();
    assert_eq!(head[1..], again);
}

/// The page cache is shared by all containers, so that nothing may get into it: not by mmap, not by
/// sendfile.
fn other_ways_to_read() {
    let daemon = Daemon::start();
    let file = File::open(daemon.path("proc/meminfo")).unwrap();
    let pipe = rustix::pipe::pipe().unwrap();
    let sent = rustix::fs::sendfile(&pipe.1, &file, None, 4096);
    // Before Linux 6.5 it reads as read(2) does.
    if crate::common::kernel_is_at_least(6, 5) {
        assert_eq!(sent, Err(rustix::io::Errno::INVAL));
    } else {
        assert!(sent.unwrap() > 1000);
    }
    assert_eq!(rustix::fs::stat(daemon.path("proc/meminfo")).unwrap().st_blocks, 0);
    let direct =
        output(Command::new("dd").arg(format!("if={}", daemon.meminfo())).args(["iflag=direct", "bs=8192"]));
    assert!(direct.starts_with("MemTotal:") && direct.ends_with('\n'), "{direct}");
    for program in
        [&["tail", "-n", "1"][..], &["tail", "-c", "3"], &["wc", "-c"], &["head", "-n", "1"], &["cp", "-f"]]
    {
        let copy = daemon.path("..").join(format!("cgprocfs-copy-{}", std::process::id()));
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(daemon.meminfo());
        if program[0] == "cp" {
            command.arg(&copy);
        }
        let text = output(&mut command);
        let real = read(&daemon.path("proc/meminfo"));
        match program {
            ["tail", "-n", _] => assert_eq!(text.lines().next(), real.lines().last()),
            ["tail", ..] => assert_eq!(text, "kB\n"),
            ["wc", ..] => assert_eq!(text.split_whitespace().next().unwrap(), real.len().to_string()),
            ["cp", ..] => {
                let copied = read(&copy);
                fs::remove_file(&copy).unwrap();
                assert_eq!(keys(&copied), keys(&real));
            }
            _ => assert!(text.starts_with("MemTotal:")),
        }
    }
}

/// It tries sendfile(2) first.
fn busybox_cat() {
    let daemon = Daemon::start();
    let text = output(Command::new("busybox").arg("cat").arg(daemon.meminfo()));
    assert!(text.starts_with("MemTotal:") && text.lines().count() > 40, "{text:?}");
}

fn stat_and_readdir() {
    let daemon = Daemon::start();
    for view in ViewId::ALL {
        let metadata = fs::metadata(daemon.path(view.path())).unwrap();
        assert_eq!(
            (metadata.ino(), metadata.size(), metadata.nlink()),
            (view.ino(), view.claimed_size(), 1),
            "{}",
            view.path()
        );
        let mode = 0o100_000 | u32::from(view.mode());
        assert_eq!((metadata.mode(), metadata.uid(), metadata.gid()), (mode, 0, 0));
        let directory = daemon.live().join(view.path());
        let entries = fs::read_dir(directory.parent().unwrap()).unwrap().map(Result::unwrap);
        let entry = entries.filter(|entry| entry.path() == directory).collect::<Vec<_>>();
        assert_eq!(entry.len(), 1, "listed once");
        assert!(entry[0].file_type().unwrap().is_file());
    }
    let root: Vec<_> = fs::read_dir(daemon.live()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(root, ["proc", "sys", "working_set"]);
    assert_eq!(fs::metadata(daemon.live().join("proc")).unwrap().mode(), 0o040_555);
    let listing = output(Command::new("find").arg(daemon.live()).args(["-type", "f"]));
    let is_view =
        |path: &&str| ViewId::ALL.iter().any(|view| daemon.live().join(view.path()) == Path::new(path));
    assert_eq!(listing.lines().filter(is_view).count(), ViewId::COUNT);
    let others = listing.lines().filter(|path| !is_view(path));
    let directories = WHOLE_DIRECTORIES.map(|path| daemon.live().join(path));
    assert!(others.map(Path::new).all(|path| directories.iter().any(|whole| path.starts_with(whole))));
    output(Command::new("stat").arg("-f").arg(daemon.path("proc/meminfo")));
}

fn look_ups_that_fail() {
    let daemon = Daemon::start();
    let missing = |path: &str| fs::metadata(daemon.live().join(path)).unwrap_err().raw_os_error();
    assert_eq!(missing("proc/nothing"), Some(libc::ENOENT));
    assert_eq!(missing("meminfo"), Some(libc::ENOENT));
    assert_eq!(missing("working_set/x"), Some(libc::ENOTDIR));
    assert_eq!(missing(&"x".repeat(255)), Some(libc::ENOENT));
}

fn writes_are_refused() {
    let daemon = Daemon::start();
    for path in [daemon.live().join("proc/meminfo"), daemon.path("proc/meminfo")] {
        writes_to_are_refused(&daemon, &path);
    }
}

fn writes_to_are_refused(daemon: &Daemon, path: &Path) {
    let refused = |result: io::Result<()>, what: &str| {
        let errno = result.unwrap_err().raw_os_error();
        assert!(
            matches!(errno, Some(libc::EROFS | libc::EACCES | libc::EPERM | libc::EBUSY | libc::EXDEV)),
            "{what}: {errno:?}"
        );
    };
    refused(OpenOptions::new().write(true).open(path).map(drop), "open for writing");
    refused(OpenOptions::new().read(true).write(true).open(path).map(drop), "open for both");
    refused(OpenOptions::new().append(true).open(path).map(drop), "append");
    refused(File::create(path).map(drop), "truncate");
    refused(File::create(daemon.live().join("new")).map(drop), "create");
    refused(fs::create_dir(daemon.live().join("new")), "mkdir");
    refused(fs::remove_file(path), "unlink");
    refused(fs::rename(path, daemon.live().join("proc/other")), "rename");
    refused(fs::set_permissions(path, fs::Permissions::from_mode(0o666)), "chmod");
    refused(std::os::unix::fs::symlink("x", daemon.live().join("link")), "symlink");
    refused(std::os::unix::fs::chown(path, Some(1), None), "chown");
    assert!(read(path).starts_with("MemTotal:"), "and it is still served");
}

fn unprivileged_reader() {
    let daemon = Daemon::start();
    // The temporary directory is its owner's; a container has the file bound elsewhere.
    fs::set_permissions(daemon.path("..").canonicalize().unwrap(), fs::Permissions::from_mode(0o1777))
        .unwrap();
    let container = Cgroup::new().limit(64);
    let script = format!("exec setpriv --reuid 65534 --regid 65534 --clear-groups cat {}", daemon.meminfo());
    let text = output(&mut container.command(&["sh", "-c", &script]));
    assert_eq!(field(&text, "MemTotal"), 64 << 10);
    let direct = Command::new("cat").arg(daemon.working_set()).uid(65534).gid(65534).output().unwrap();
    assert!(direct.status.success(), "{direct:?}");
}

fn two_containers_at_once() {
    let daemon = Daemon::start();
    let containers = [Cgroup::new().limit(64), Cgroup::new().limit(96)];
    let mut readers: Vec<_> = containers
        .iter()
        .zip([64 << 10, 96 << 10])
        .map(|(container, total)| {
            let line = format!("MemTotal:       {total:8} kB");
            let words = helper::command("expect", &[&daemon.meminfo(), &line, &times(1000).to_string()]);
            container.command(&words.iter().map(String::as_str).collect::<Vec<_>>()).spawn().unwrap()
        })
        .collect();
    for reader in &mut readers {
        assert!(crate::common::wait_for(reader).success());
    }
}

fn thousands_of_opens() {
    let daemon = Daemon::start();
    let path = daemon.path("proc/meminfo");
    read(&path);
    let descriptors = daemon.descriptors();
    for _ in 0..3 {
        let files: Vec<_> = (0..times(1500)).map(|_| File::open(&path).unwrap()).collect();
        assert_eq!(daemon.descriptors(), descriptors, "an open file costs the daemon no descriptor");
        drop(files);
    }
    let read_often = |times| (0..times).for_each(|_| drop(read(&path)));
    read_often(times(2_000));
    let resident = daemon.resident();
    read_often(times(20_000));
    let grown = daemon.resident().saturating_sub(resident);
    assert!(grown < 300, "{grown} kB grown over {} reads", times(20_000));
    assert_eq!(daemon.descriptors(), descriptors);
}

/// What one more `cat` costs the daemon, counted by strace: 8 calls are FUSE's (OPEN, READ, READ at the
/// end, RELEASE: each received and answered), the others find out who reads.
fn cost_in_system_calls() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit(64));
    for (launcher, at_most) in [(&["unshare", "--cgroup"][..], 12), (&["unshare", "--pid", "--fork"], 13)] {
        // One shell whose children are new processes in its namespaces.
        let script = format!(
            "echo ready; while read n; do i=0; while [ $i -lt $n ]; do cat {} > /dev/null; i=$((i+1)); done; echo done; done",
            daemon.meminfo()
        );
        let words: Vec<&str> = launcher.iter().copied().chain(["sh", "-c", &script]).collect();
        let mut shell = start(&mut container.command(&words));
        let mut cats = |count: u32| {
            writeln!(shell.process.stdin.as_mut().unwrap(), "{count}").unwrap();
            shell.stdout.read_exact(&mut [0; 5]).unwrap();
        };
        cats(3);
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut strace = Command::new("strace")
            .args(["-f", "-ttt", "-p", &daemon.pid().to_string(), "-o"])
            .arg(log.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let traced = format!("/proc/{}/status", daemon.pid());
        wait_until("strace is attached", || !read(Path::new(&traced)).contains("TracerPid:\t0\n"));
        std::thread::sleep(Duration::from_millis(200));
        let calls = || fs::read_to_string(log.path()).unwrap();
        cats(40);
        std::thread::sleep(Duration::from_millis(100));
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(strace.id().try_into().unwrap()).unwrap(),
            Signal::INT,
        )
        .unwrap();
        strace.wait().unwrap();
        let median = median_cost(&calls());
        assert!(median <= at_most, "{launcher:?}: {median} system calls\n{}", calls());
        println!("{launcher:?}: {median} system calls a cat");
    }
}

/// Splits the trace at each reader's OPEN, which begins with opening its `/proc/PID/cgroup`.
fn median_cost(trace: &str) -> usize {
    let finished =
        |line: &&str| !line.contains("unfinished ...") && line.contains('(') | line.contains("resumed");
    let lines: Vec<&str> = trace.lines().filter(finished).collect();
    let starts: Vec<usize> = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.contains("openat") && line.contains("/cgroup\""))
        .map(|(index, _)| index)
        .collect();
    let mut costs: Vec<usize> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(costs.len() >= 30, "only {} cats seen:\n{trace}", costs.len());
    costs.sort_unstable();
    costs[costs.len() / 2]
}

/// With nothing to do none of its threads runs but seldom.
fn an_idle_daemon_sleeps() {
    let daemon = Daemon::start_with(&[], &["--triggers"], &[]);
    // Of all threads, how often they had waited for something.
    let waits = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        let of_task = |task: std::io::Result<fs::DirEntry>| {
            let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
            let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            waits.trim().parse::<u32>().ok()
        };
        tasks.filter_map(of_task).sum::<u32>()
    };
    std::thread::sleep(Duration::from_secs(2));
    let before = waits();
    std::thread::sleep(Duration::from_secs(10));
    let woken = waits() - before;
    println!("an idle daemon: {woken} wake-ups in 10 s");
    assert!(woken < 10, "{woken}");
}

/// The kernel takes long over a cgroup, and what it has read of it is old by the time that is done: too old for whoever has
/// asked meanwhile.
fn who_asks_later_is_read_for_anew() {
    let faults = tempfile::tempdir().unwrap();
    fs::write(faults.path().join("slow-cgroup"), "400").unwrap();
    let daemon = Daemon::start_with(&[], &[], &[("CGPROCFS_FAULTS", faults.path().to_str().unwrap())]);
    let cgroup = Cgroup::new().limit(64);
    let ask = || {
        let mut reader = cgroup.command(&["cat", &daemon.meminfo()]);
        reader.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let total = |reader: std::process::Child| {
        let text = String::from_utf8(reader.wait_with_output().unwrap().stdout).unwrap();
        field(&text, "MemTotal")
    };
    let first = ask();
    wait_until("it is read", || faults.path().join("reading").exists());
    // Longer than numbers are given out.
    std::thread::sleep(Duration::from_millis(60));
    cgroup.set_limit(128 << 20);
    let second = ask();
    assert_eq!([first, second].map(total), [64 << 10, 128 << 10]);
}

fn limit_on_open_files_is_raised() {
    let daemon = Daemon::start_by(&["prlimit", "--nofile=256:4096"]);
    let limits = read(Path::new(&format!("/proc/{}/limits", daemon.pid())));
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().take(2).collect::<Vec<_>>(), ["4096", "4096"]);
}

/// A reader's close() must not wait for the daemon, not even for the first one ever.
fn closing_asks_nobody() {
    let daemon = Daemon::start();
    let mut file = File::open(daemon.path("proc/meminfo")).unwrap();
    file.read_to_string(&mut String::new()).unwrap();
    let connection = connection_of(&daemon);
    daemon.signal(Signal::STOP);
    let closed = std::thread::spawn(move || drop(file));
    let deadline = std::time::Instant::now() + Duration::from_secs(3);
    while !closed.is_finished() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let finished = closed.is_finished();
    daemon.signal(Signal::CONT);
    assert!(finished, "close() of a file on connection {connection} waited for a stopped daemon");
    closed.join().unwrap();
}

fn connection_of(daemon: &Daemon) -> u64 {
    let metadata = fs::metadata(daemon.live()).unwrap();
    rustix::fs::minor(metadata.dev()).into()
}

fn show_is_what_the_mount_serves() {
    let (daemon, container) = (Daemon::start(), Cgroup::new().limit(64));
    let words = helper::command("hog", &["10"]);
    let hog = start(&mut container.command(&words.iter().map(String::as_str).collect::<Vec<_>>()));
    std::thread::sleep(Duration::from_millis(100));
    let pid = hog.process.id().to_string();
    let shown = output(cgprocfs().args(["show", "meminfo", "--pid", &pid]));
    let served = output(&mut container.command(&["cat", &daemon.meminfo()]));
    assert_eq!(field(&shown, "MemTotal"), field(&served, "MemTotal"));
    let anon = field(&shown, "AnonPages").abs_diff(field(&served, "AnonPages"));
    assert!(anon < 2048 && field(&shown, "AnonPages") >= 10 << 10, "shown:\n{shown}\nserved:\n{served}");
}

fn signals_unmount() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut daemon = Daemon::start();
        assert!(daemon.is_mounted());
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
        assert!(!daemon.is_mounted());
    }
}

fn mount_point_by_a_symbolic_link() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let mut daemon = Foreground::start(cgprocfs().arg("mount").arg(&link), &real);
    wait_until("it serves", || fs::read(real.join("working_set")).is_ok_and(|text| !text.is_empty()));
    assert!(daemon.stop().success());
    assert!(!read(Path::new("/proc/self/mounts")).contains(real.to_str().unwrap()));
}

/// A tenant that makes cgroups without end makes nobody's reads fail.
fn more_containers_than_descriptors() {
    let daemon = Daemon::start_by(&["prlimit", "--nofile=64:64"]);
    let parent = Cgroup::new();
    let containers: Vec<_> = (32..72).map(|mib| (mib, parent.child(mib.to_string()).limit(mib))).collect();
    for _ in 0..3 {
        for (mib, container) in &containers {
            let text = output(&mut container.command(&["cat", &daemon.meminfo()]));
            assert_eq!(field(&text, "MemTotal"), mib << 10);
        }
    }
    assert!(daemon.descriptors() <= 64 && !daemon.log().contains("cannot"), "{}", daemon.log());
}

/// What a container reads at `path` in the mount namespace of `daemon`, once nothing is cached.
fn read_beside(daemon: &Daemon, container: &Cgroup, path: &str) -> String {
    std::thread::sleep(Duration::from_millis(100));
    let pid = daemon.pid().to_string();
    output(&mut container.command(&["nsenter", "--mount", "--target", &pid, "cat", path]))
}

/// A daemon that would read the host's numbers from a mount would wait for itself, or take a container's for them.
fn over_the_daemons_own_meminfo_before_its_start() {
    let (other, container, large) = (Daemon::start(), Cgroup::new().limit(64), Cgroup::new());
    let script = "mount --bind \"$0\" /proc/meminfo && exec \"$@\"";
    let daemon = Daemon::start_by(&["unshare", "--mount", "sh", "-c", script, &other.meminfo()]);
    for _ in 0..3 {
        let text = read_beside(&daemon, &container, &daemon.meminfo());
        assert_eq!(field(&text, "MemTotal"), 64 << 10);
        let text = read_beside(&daemon, &large, &daemon.meminfo());
        assert_eq!(field(&text, "MemTotal"), crate::common::host_total());
    }
}

fn over_the_daemons_own_meminfo_after_its_start() {
    let (container, large) = (Cgroup::new().limit(64), Cgroup::new());
    let daemon = Daemon::start_by(&["unshare", "--mount"]);
    let target = daemon.pid().to_string();
    let bind = ["--mount", "--target", &target, "mount", "--bind", &daemon.meminfo(), "/proc/meminfo"];
    output(Command::new("nsenter").args(bind));
    for _ in 0..3 {
        let text = read_beside(&daemon, &container, "/proc/meminfo");
        assert_eq!(field(&text, "MemTotal"), 64 << 10, "the mount is in place");
        let text = read_beside(&daemon, &large, "/proc/meminfo");
        assert_eq!(field(&text, "MemTotal"), crate::common::host_total());
        assert!(field(&text, "MemAvailable") > 128 << 10, "{text}");
    }
}

fn unmounted_by_somebody_else() {
    let mut daemon = Daemon::start();
    // The anchors go with it.
    output(Command::new("umount").arg("--recursive").arg(daemon.path("")));
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    assert!(daemon.log().contains("unmounted by somebody else"), "{}", daemon.log());
}

/// Whoever unmounts the rest at the same time is not to find it busy, as it is while a path below it is looked up.
fn what_was_unmounted_is_left_alone() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let trace = ["strace", "--follow-forks", "--quiet=all", "--trace=%file", "--output"];
    let mut daemon = Daemon::start_by(&[&trace[..], &[log.path().to_str().unwrap()]].concat());
    let started = read(log.path()).len();
    let table = read(Path::new("/proc/self/mounts"));
    let directory = daemon.directory().to_str().unwrap().to_string();
    let views = table.lines().filter_map(|line| line.split_once(" fuse.cgprocfs")?.0.split(' ').nth(1));
    for view in views.filter(|path| path.starts_with(&directory)) {
        output(Command::new("umount").arg(view));
    }
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    let trace = read(log.path());
    let looked_up = trace[started..].lines().filter(|line| line.contains(&format!("{directory}/")));
    assert_eq!(looked_up.collect::<Vec<_>>(), [""; 0]);
}

/// What `unmount` does, while the daemon serves.
fn unmounted_by_command() {
    let mut daemon = Daemon::start();
    let container = Cgroup::new().limit(64);
    let words = helper::command("reopen", &["/proc/meminfo"]);
    let mut reader = crate::common::load::bound(&[], &container, &daemon.meminfo(), &words);
    assert_eq!(reader.ask(), format!("MemTotal:       {:8} kB", 64 << 10));
    output(cgprocfs().arg("unmount").arg(daemon.path("")));
    assert_eq!(reader.ask(), format!("MemTotal:       {:8} kB", crate::common::host_total()));
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    let again = crate::common::finish(cgprocfs().arg("unmount").arg(daemon.path("")));
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
}

/// The connection is given up under a daemon that serves: containers are not left with an error.
fn aborted() {
    let mut daemon = Daemon::start();
    let container = Cgroup::new().limit(64);
    let words = helper::command("reopen", &["/proc/meminfo"]);
    let mut reader = crate::common::load::bound(&[], &container, &daemon.meminfo(), &words);
    assert_eq!(reader.ask(), format!("MemTotal:       {:8} kB", 64 << 10));
    let fusectl = tempfile::tempdir().unwrap();
    output(Command::new("mount").args(["-t", "fusectl", "fusectl"]).arg(fusectl.path()));
    let abort = fusectl.path().join(connection_of(&daemon).to_string()).join("abort");
    let aborted = fs::write(abort, "1");
    output(Command::new("umount").arg(fusectl.path()));
    aborted.unwrap();
    assert_eq!(daemon.wait().code(), Some(1), "{}", daemon.log());
    assert_eq!(reader.ask(), format!("MemTotal:       {:8} kB", crate::common::host_total()));
}

/// A container sees the kernel's own file before the daemon starts and after it has ended, and its own between.
fn anchors_follow() {
    let container = Cgroup::new().limit(64);
    let own = format!("MemTotal:       {:8} kB", 64 << 10);
    let native = format!("MemTotal:       {:8} kB", crate::common::host_total());
    let words = helper::command("reopen", &["/proc/meminfo"]);
    let mut daemon = Daemon::start();
    let start = |daemon: &Daemon| crate::common::load::bound(&[], &container, &daemon.meminfo(), &words);
    let mut readers = vec![start(&daemon)];
    for _ in 0..3 {
        readers.iter_mut().for_each(|reader| assert_eq!(reader.ask(), own));
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
        readers.push(start(&daemon));
        readers.iter_mut().for_each(|reader| assert_eq!(reader.ask(), native));
        assert_eq!(read(&daemon.path("working_set")), "");
        daemon = daemon.again();
        readers.push(start(&daemon));
    }
    readers.iter_mut().for_each(|reader| assert_eq!(reader.ask(), own));
    // Killed, with nobody to keep the connection.
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert!(readers[0].ask().starts_with("error"));
    let _daemon = daemon.again();
    readers.iter_mut().for_each(|reader| assert_eq!(reader.ask(), own));
}

/// What is not chosen stays the kernel's, and changes at once when a daemon takes over that was told another choice.
fn chosen_views() {
    let daemon = Daemon::start_with(&[], &["--views", "meminfo,working_set"], &[]);
    let container = Cgroup::new().limit(64);
    let read = |daemon: &Daemon, path: &str| {
        output(&mut container.command(&["cat", daemon.path(path).to_str().unwrap()]))
    };
    let types = |daemon: &Daemon| {
        ["proc/meminfo", "working_set", "proc/cpuinfo", "proc/pressure/cpu"].map(|path| {
            let kind = output(Command::new("stat").args([
                "--file-system",
                "--format=%T",
                daemon.path(path).to_str().unwrap(),
            ]));
            kind.trim().to_string()
        })
    };
    assert_eq!(types(&daemon), ["fuseblk", "fuseblk", "proc", "proc"]);
    assert!(read(&daemon, "proc/meminfo").starts_with("MemTotal:          65536 kB\n"));
    assert_eq!(read(&daemon, "proc/swaps"), fs::read_to_string("/proc/swaps").unwrap());
    let successor = daemon.taken_over_with(&["--views=proc/cpuinfo"]);
    assert_eq!(types(&successor), ["proc", "tmpfs", "fuseblk", "proc"]);
    assert_eq!(types(&successor.taken_over()), ["fuseblk"; 4]);
}

fn stopped_while_a_file_is_open() {
    let mut daemon = Daemon::start();
    let mut file = File::open(daemon.path("proc/meminfo")).unwrap();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
    file.rewind().unwrap();
    assert_eq!(file.read(&mut [0; 10]).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
}

/// More panics than there are threads, and the mount serves on.
fn a_panic_is_contained() {
    let faults = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_with(&[], &[], &[("CGPROCFS_FAULTS", faults.path().to_str().unwrap())]);
    fs::write(faults.path().join("unwind"), "").unwrap();
    // What was read at the start would be given out again without a look.
    std::thread::sleep(Duration::from_millis(200));
    for _ in 0..20 {
        let refused = File::open(daemon.meminfo()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EIO));
    }
    fs::remove_file(faults.path().join("unwind")).unwrap();
    assert!(fs::read_to_string(daemon.path("working_set")).unwrap().trim().parse::<u64>().is_ok());
}

/// As the kernel's own is, whose mode it has.
fn slabinfo_is_for_root_alone() {
    let daemon = Daemon::start();
    let path = daemon.path("proc/slabinfo");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
    let refused = crate::common::finish(Command::new("cat").arg(&path).uid(65534));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("Permission denied"));
    assert!(fs::read_to_string(&path).unwrap().starts_with("slabinfo - version: 2.1"));
}

/// Of a file that can always be read the kernel knows that, once it was told, and a daemon that is stopped is not asked.
fn poll_does_not_wait_for_the_daemon() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let daemon = Daemon::start();
    let file = File::open(daemon.meminfo()).unwrap();
    let ready = move || {
        let mut polled = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).unwrap();
        polled[0].revents().unwrap()
    };
    assert_eq!(ready(), PollFlags::POLLIN);
    daemon.signal(Signal::STOP);
    let (sender, answer) = std::sync::mpsc::channel();
    let poller = std::thread::spawn(move || sender.send(ready()));
    let answered = answer.recv_timeout(Duration::from_secs(5));
    daemon.signal(Signal::CONT);
    poller.join().unwrap().unwrap();
    assert_eq!(answered, Ok(PollFlags::POLLIN));
}

/// Each read fails, for the daemon may open no file any more, and the log has one line of it.
fn failing_reads_do_not_fill_the_log() {
    let daemon = Daemon::start();
    let container = Cgroup::new().limit(64);
    output(Command::new("prlimit").args(["--nofile=4:4", "--pid", &daemon.pid().to_string()]));
    for _ in 0..times(100) {
        let failed = crate::common::finish(&mut container.command(&["cat", &daemon.meminfo()]));
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(!failed.status.success() && said.contains("Too many open files"), "{said}");
    }
    wait_until("it is logged", || daemon.log().contains("Too many open files"));
    assert_eq!(daemon.log().matches("Too many open files").count(), 1, "{}", daemon.log());
}
