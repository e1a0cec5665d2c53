//! `cgprocfs answer` killed again and again, with the test in the place of the service manager: it keeps the
//! socket, the listeners of containers and the table of calls, and starts the next process with them.

use super::{Bundle, MIB, Runtime};
use crate::common::daemon::Daemon;
use crate::common::{Need, cgprocfs_path, output, test, times, wait_until};
use libtest_mimic::Trial;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::collections::BTreeMap;
use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(NEEDS) => [
            system_calls_over_kills,
        ],
    }
}

const NEEDS: &[Need] =
    &[Need::Root, Need::Fuse, Need::Program("runc"), Need::Program("busybox"), Need::Program("bash")];

/// What a service manager has of a unit.
struct Manager {
    directory: tempfile::TempDir,
    notifications: UnixDatagram,
    socket: UnixListener,
    stored: BTreeMap<String, OwnedFd>,
    process: Option<Child>,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let notifications = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        notifications.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let socket = UnixListener::bind(directory.path().join("socket")).unwrap();
        Self { directory, notifications, socket, stored: BTreeMap::new(), process: None }
    }

    /// Starts the process with all that is kept (sd_listen_fds(3)), and returns once it is ready.
    fn start(&mut self, daemon: &Daemon) {
        let kept = self.stored.iter().map(|(name, file)| (name.as_str(), file.as_fd()));
        let passed: Vec<_> = [("socket", self.socket.as_fd())].into_iter().chain(kept).collect();
        for (_, file) in &passed {
            fcntl_setfd(file, FdFlags::empty()).unwrap();
        }
        let places = (3..).zip(&passed).map(|(place, (_, file))| format!("{place}<&{}", file.as_raw_fd()));
        let names: Vec<_> = passed.iter().map(|(name, _)| *name).collect();
        let script = format!("exec {}; LISTEN_PID=$$ exec \"$@\"", places.collect::<Vec<_>>().join(" "));
        // dash knows descriptors of one digit only.
        let process = Command::new("bash")
            .args(["-c", &script, "bash"])
            .arg(cgprocfs_path())
            .arg("answer")
            .arg(daemon.directory())
            .env("NOTIFY_SOCKET", self.directory.path().join("notify"))
            .env("LISTEN_FDS", passed.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process.unwrap());
        while !self.hear().contains("READY=1") {}
    }

    /// Takes one notification (sd_notify(3)), and keeps what comes with it.
    fn hear(&mut self) -> String {
        let (mut text, mut space) = ([0; 4096], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))]);
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut text)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let length = recvmsg(&self.notifications, &mut parts, &mut ancillary, flags).unwrap().bytes;
        let files = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => files.collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        let files: Vec<_> = files.collect();
        let text = String::from_utf8(text[..length].to_vec()).unwrap();
        if text.contains("FDSTORE=1") {
            let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap();
            self.stored.extend(files.into_iter().map(|file| (name.to_string(), file)));
        }
        text
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.kill();
    }
}

/// No call fails, hangs or is told of the host, however often whoever answers is killed.
fn system_calls_over_kills() {
    let daemon = Daemon::start();
    let mut manager = Manager::new();
    manager.start(&daemon);
    let script = "for caller in 1 2 3 4; do (while [ ! -e /end ]; do
            busybox free -m | busybox grep -q '^Mem: *64 ' && echo own || echo other
        done) & done; wait";
    let bundle = Bundle::of(Runtime::Runc, &daemon, 64 * MIB, true, script);
    let base = manager.directory.path().join("base.json");
    fs::write(&base, r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#).unwrap();
    let mut profile = Command::new(cgprocfs_path());
    profile.args(["seccomp-profile", "--base"]).arg(&base).arg("--socket");
    let profile = output(profile.arg(manager.directory.path().join("socket")));
    bundle.change(|spec| {
        spec["linux"]["seccomp"] = serde_json::from_str(&profile).unwrap();
        spec["root"]["readonly"] = serde_json::json!(false);
    });
    let said = tempfile::NamedTempFile::new().unwrap();
    let mut container = bundle.command().stdout(said.reopen().unwrap()).spawn().unwrap();
    while !manager.stored.contains_key("listener-1") {
        manager.hear();
    }
    let calls = || fs::read_to_string(said.path()).unwrap().lines().count();
    wait_until("the container calls", || calls() > 10);
    for _ in 0..times(100) {
        manager.kill();
        manager.start(&daemon);
        std::thread::sleep(Duration::from_millis(20));
    }
    let before = calls();
    wait_until("all go on", || calls() > before + 40);
    fs::write(bundle.dir.path().join("rootfs/end"), "").unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut is_over = false;
    while !is_over && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
        is_over = container.try_wait().unwrap().is_some();
    }
    // Whoever hangs ends with it.
    let _ = container.kill();
    container.wait().unwrap();
    let said = fs::read_to_string(said.path()).unwrap();
    let own = said.matches("own").count();
    println!("containers: of {} calls over kills {own} were told of the container", said.lines().count());
    assert!(is_over, "a call hangs");
    // What was received in the moment of a kill, before it could be noted, the kernel answers.
    assert!(said.lines().count() - own <= 2, "{own} of {}", said.lines().count());
}
