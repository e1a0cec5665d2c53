//! What a confined process is refused, each tried from inside, and what it can still do.

use super::attempts::{OPENAT2_MEMORY_FILE, TRY, WRITE_MEMORY_FILE};
use crate::common::{Need, finish, test};
use libtest_mimic::Trial;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(CONFINED) => [
            server_is_refused,
            release_refuses_with_an_error,
            server_under_a_service_manager_is_refused,
            server_can_do_its_work,
            namespace_reader_is_refused,
        ],
        test(OTHERS) => [
            server_of_another_user_is_refused,
            server_that_may_not_change_its_bounds_is_refused = server_without_setpcap_is_refused,
            confined_processes_are_closed_to_their_user,
        ],
    }
}

const CONFINED: &[Need] = &[Need::Root, Need::Program("unshare")];

const OTHERS: &[Need] = &[Need::Root, Need::Program("unshare"), Need::Program("setpriv")];

/// What is tried; each works for root who is not confined.
const FORBIDDEN: &[&str] = &[
    "write another process's memory",
    WRITE_MEMORY_FILE,
    OPENAT2_MEMORY_FILE,
    "trace",
    "make a process",
    "execute",
    "signal",
    "mount",
    "unmount",
    "open a file system",
    "move a mount",
    "enter a namespace",
    "make a namespace",
    "network socket",
    "netlink socket",
    "unix socket",
    "open for writing",
    "open a setting for writing",
    "truncate by opening",
    "create",
    "remove",
    "change a mode",
];

/// Words that a command begins with to run as a user who owns nothing, with no capability but those named.
fn as_nobody(capabilities: &str) -> Vec<String> {
    let mut words =
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"].map(String::from).to_vec();
    if !capabilities.is_empty() {
        words.extend(["--inh-caps", capabilities, "--ambient-caps", capabilities].map(String::from));
    }
    words
}

/// A process that others try things on.
struct Target {
    process: Child,
    address: String,
    directory: tempfile::TempDir,
    /// What tries: this very program, or a copy of it.
    program: PathBuf,
    /// Words that whoever tries begins with.
    by: Vec<String>,
    /// Whether a service manager wants to be notified by whoever tries.
    is_notified: bool,
}

impl Target {
    fn new() -> Self {
        Self::start(std::env::current_exe().unwrap(), "target", &[], Vec::new())
    }

    /// One that is started by a launcher, as what tries things on it is.
    fn start(program: PathBuf, what: &str, launcher: &[String], by: Vec<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let program = if launcher.is_empty() && by.is_empty() {
            program
        } else {
            // Whoever it is may come there.
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let copy = directory.path().join("program");
            crate::common::copy_program(program, &copy);
            copy
        };
        let words: Vec<&OsStr> = launcher.iter().map(OsStr::new).chain([program.as_os_str()]).collect();
        let mut process = Command::new(words[0])
            .args(&words[1..])
            .args([TRY, what, "", "0", "0", "/"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim().to_string(), directory, program, by, is_notified: false }
    }

    /// What became of it: `done`, an error, or the signal that it died of.
    fn tried(&self, how: &str, what: &str) -> String {
        fs::write(self.directory.path().join("file"), "").unwrap();
        let pid = self.process.id().to_string();
        let mut command = Command::new("unshare");
        command
            .arg("--mount")
            .args(&self.by)
            .arg(&self.program)
            .args([TRY, how, what, &pid, &self.address])
            .arg(self.directory.path())
            .env_remove("NOTIFY_SOCKET");
        if self.is_notified {
            command.env("NOTIFY_SOCKET", self.directory.path().join("nobody"));
        }
        let ended = finish(&mut command);
        let _ = fs::remove_file(self.directory.path().join("new"));
        match ended.status.signal() {
            Some(signal) => format!("signal {signal}"),
            None => String::from_utf8(ended.stdout).unwrap().trim().to_string(),
        }
    }

    fn refuses(&self, how: &str, what: &str) {
        let tried = self.tried(how, what);
        let denied = io::Error::from_raw_os_error(libc::EPERM).to_string();
        let absent = io::Error::from_raw_os_error(libc::ENOSYS).to_string();
        let killed = format!("signal {}", libc::SIGSYS);
        let is_refused = match what {
            OPENAT2_MEMORY_FILE if how != "namespace reader" => tried == absent,
            _ if how == "released server" => tried == denied,
            // In other builds whoever tries it dies.
            _ => tried == denied || tried == killed,
        };
        assert!(is_refused, "{how}: {what}: {tried}");
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Nor can it as a service, but for a socket by which it notifies.
fn server_under_a_service_manager_is_refused() {
    let mut target = Target::new();
    target.is_notified = true;
    for what in FORBIDDEN.iter().filter(|what| **what != "unix socket") {
        target.refuses("server", what);
    }
    assert_eq!(target.tried("server", "unix socket"), "done");
}

/// The server can do nothing of what it is not to do, run as root.
fn server_is_refused() {
    let target = Target::new();
    for what in FORBIDDEN {
        assert_eq!(target.tried("free", what), "done", "{what}: it proves nothing to refuse this");
        target.refuses("server", what);
    }
}

/// As under the unit, where the server has a capability and is not root: what looks into namespaces has
/// another one, and the same user.
fn server_of_another_user_is_refused() {
    let program = std::env::current_exe().unwrap();
    let target = Target::start(program, "target", &as_nobody("+sys_admin"), as_nobody("+sys_ptrace"));
    for what in ["write another process's memory", "trace", WRITE_MEMORY_FILE, OPENAT2_MEMORY_FILE] {
        assert_eq!(target.tried("free", what), "done", "{what}: it proves nothing to refuse this");
        target.refuses("server", what);
    }
    for what in ["make a thread", "read a file", "see a namespace"] {
        assert_eq!(target.tried("server", what), "done", "{what}");
    }
}

/// As in a pod that is given no more than it needs.
fn server_without_setpcap_is_refused() {
    let without =
        ["setpriv", "--bounding-set", "-setpcap", "--inh-caps", "-setpcap"].map(String::from).to_vec();
    let target = Target::start(std::env::current_exe().unwrap(), "target", &[], without);
    for what in FORBIDDEN {
        assert_eq!(target.tried("free", what), "done", "{what}: it proves nothing to refuse this");
        target.refuses("server", what);
    }
    assert_eq!(target.tried("server", "see a namespace"), "done");
}

/// What looks into namespaces, or serves, can't be traced by whoever else is of its user.
fn confined_processes_are_closed_to_their_user() {
    let [open, closed] = ["target", "confined target"]
        .map(|what| Target::start(std::env::current_exe().unwrap(), what, &as_nobody(""), as_nobody("")));
    if open.tried("free", "trace") != "done" {
        println!("confinement: nobody traces another process here anyway");
    }
    assert_eq!(closed.tried("free", "trace"), io::Error::from_raw_os_error(libc::EPERM).to_string());
    let denied = io::Error::from_raw_os_error(libc::EACCES).to_string();
    assert_eq!(closed.tried("free", WRITE_MEMORY_FILE), denied);
}

/// What a release refuses is an error, and not the end of the server for all.
fn release_refuses_with_an_error() {
    let target = Target::new();
    FORBIDDEN.iter().for_each(|what| target.refuses("released server", what));
}

/// What serving takes is allowed.
fn server_can_do_its_work() {
    let target = Target::new();
    for what in ["make a thread", "read a file", "see a namespace"] {
        assert_eq!(target.tried("server", what), "done", "{what}");
    }
}

/// The process that looks into namespaces can do nothing else.
fn namespace_reader_is_refused() {
    let target = Target::new();
    let others = ["read a file", "make a thread", "enter a mount namespace"];
    for what in FORBIDDEN.iter().copied().filter(|what| *what != "enter a namespace").chain(others) {
        target.refuses("namespace reader", what);
    }
    assert_eq!(target.tried("namespace reader", "enter a namespace"), "done");
}
