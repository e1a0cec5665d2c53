//! Every way to read a view gives the same text.

use super::{connection_of, read};
use crate::common::cgroup::Cgroup;
use crate::common::daemon::Daemon;
use crate::common::helper::{self, start};
use crate::common::{MOUNT, Need, Stopped, cgprocfs, field, output, test, times, wait_until};
use libtest_mimic::Trial;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

pub fn tests() -> Vec<Trial> {
    tests! {
        test(MOUNT) => [
            cat,
            one_byte_at_a_time,
            odd_offsets,
            reread_after_the_numbers_moved,
            one_open_is_one_moment,
            other_ways_to_read,
            two_containers_at_once,
            who_asks_later_is_read_for_anew,
            show_is_what_the_mount_serves,
            look_ups_in_one_directory,
        ],
        test(&[Need::Root, Need::Fuse, Need::Program("busybox")]) => [
            busybox_cat,
        ],
    }
}

/// Look-ups in one directory don't wait for each other: a server that is stopped has got all of them.
fn look_ups_in_one_directory() {
    // More than other tests send meanwhile, which look at all mounts.
    const LOOK_UPS: u32 = 8;
    let daemon = Daemon::start();
    let requests = Requests::new(connection_of(&daemon));
    let stopped = Stopped::new(daemon.pid());
    let look_up = |number| {
        let missing = daemon.live().join(format!("missing-{number}"));
        std::thread::spawn(move || missing.symlink_metadata().is_ok())
    };
    let look_ups: Vec<_> = (0..LOOK_UPS).map(look_up).collect();
    wait_until("the kernel has sent the look-ups", || requests.waiting() >= LOOK_UPS);
    drop(stopped);
    assert!(!look_ups.into_iter().any(|look_up| look_up.join().unwrap()));
}

/// What the kernel says of a connection, in a mount of its own.
struct Requests(TempDir, u64);

impl Requests {
    fn new(connection: u64) -> Self {
        let directory = TempDir::new().unwrap();
        mount(Some("none"), directory.path(), Some("fusectl"), MsFlags::empty(), None::<&str>).unwrap();
        Self(directory, connection)
    }

    /// How many requests were sent and not answered.
    fn waiting(&self) -> u32 {
        read(&self.0.path().join(self.1.to_string()).join("waiting")).trim().parse().unwrap()
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

fn keys(meminfo: &str) -> Vec<&str> {
    meminfo.lines().map(|line| line.split(':').next().unwrap()).collect()
}

/// `cat` prints the lines of the kernel's file, in their order, with the container's limit as the total.
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

/// Read byte by byte, a view is one text of one moment.
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

/// Reads at any offset and of any size are parts of the same text, and nothing comes after its end.
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

/// An open file that is read from its start again has the numbers of now, as with procfs.
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

/// What is read on is of the moment when the file was opened, whatever changes meanwhile.
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

/// Two containers that read at the same time get each its own limit.
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

/// The kernel takes long over a cgroup, and what it has read of it is old by the time that is done: too old
/// for whoever has asked meanwhile.
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

/// `cgprocfs show` prints what a reader in the same cgroup reads from the mount.
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
