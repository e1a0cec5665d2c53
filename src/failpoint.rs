//! Points where a test can make the daemon fail. A release build has none.

use cgprocfs_core::parse::pid::Pid;
#[cfg(debug_assertions)]
use std::path::PathBuf;
#[cfg(debug_assertions)]
use std::sync::OnceLock;
use std::time::Duration;

/// The directory that `CGPROCFS_FAULTS` names.
#[cfg(debug_assertions)]
fn directory() -> Option<&'static PathBuf> {
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    DIRECTORY.get_or_init(|| std::env::var_os("CGPROCFS_FAULTS").map(PathBuf::from)).as_ref()
}

/// Dies if the file `crash-at-start` is there.
#[cfg(debug_assertions)]
pub fn start() {
    if directory().is_some_and(|directory| directory.join("crash-at-start").exists()) {
        std::process::abort();
    }
}

/// Waits as long as the file `hang` is there, beside which it puts a file `hanging`, dies if `crash` is, and
/// panics if `unwind` is. Where that has a process id in it, only for that reader.
#[cfg(debug_assertions)]
pub fn point(pid: Pid) {
    let Some(directory) = directory() else { return };
    let is_there = |name: &str| {
        let readers = std::fs::read_to_string(directory.join(name));
        readers.is_ok_and(|reader| reader.is_empty() || reader == pid.to_string())
    };
    if is_there("crash") {
        std::process::abort();
    }
    if is_there("unwind") {
        std::panic::resume_unwind(Box::new("as a test wants it, and without the noise"));
    }
    while is_there("hang") {
        let _ = std::fs::write(directory.join("hanging"), "");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub fn start() {}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub fn point(_: Pid) {}

/// Panics if the file `panic` is there.
#[cfg(debug_assertions)]
pub fn panic_point() {
    assert!(!directory().is_some_and(|directory| directory.join("panic").exists()), "as a test wants it");
}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub fn panic_point() {}

/// Takes the number of milliseconds in the file `slow`, as the kernel takes time for a file for which it asks
/// the hardware.
#[cfg(debug_assertions)]
pub fn slow_file() {
    let Some(directory) = directory() else { return };
    let took = std::fs::read_to_string(directory.join("slow")).ok().and_then(|text| text.parse().ok());
    if let Some(milliseconds) = took {
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
    }
}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub const fn slow_file() {}

/// Takes the number of milliseconds in the file `slow-cgroup`, as the kernel takes time for a cgroup with
/// much to add up, and puts a file `reading` beside it. What was read was read before.
#[cfg(debug_assertions)]
pub fn slow_cgroup() {
    let Some(directory) = directory() else { return };
    let took = std::fs::read_to_string(directory.join("slow-cgroup")).ok().and_then(|text| text.parse().ok());
    if let Some(milliseconds) = took {
        let _ = std::fs::write(directory.join("reading"), "");
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
    }
}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub const fn slow_cgroup() {}

/// The name of the directory that container runtimes mask: `usual`, or what the file `masked` has, for few
/// machines have the usual one.
#[cfg(debug_assertions)]
pub fn masked(usual: &'static str) -> &'static str {
    static NAME: OnceLock<Option<String>> = OnceLock::new();
    let name = || std::fs::read_to_string(directory()?.join("masked")).ok();
    NAME.get_or_init(name).as_deref().unwrap_or(usual)
}

/// The usual one.
#[cfg(not(debug_assertions))]
pub const fn masked(usual: &'static str) -> &'static str {
    usual
}

/// How long something has to be idle: `usual`, or a sixtieth of it if the file `impatient` is there.
#[cfg(debug_assertions)]
pub fn idle(usual: Duration) -> Duration {
    static IS_IMPATIENT: OnceLock<bool> = OnceLock::new();
    let is_impatient = || directory().is_some_and(|directory| directory.join("impatient").exists());
    if *IS_IMPATIENT.get_or_init(is_impatient) { usual / 60 } else { usual }
}

/// The usual time.
#[cfg(not(debug_assertions))]
pub const fn idle(usual: Duration) -> Duration {
    usual
}

/// Whether a test has the daemon write a file, which no other does.
#[must_use]
pub fn writes() -> bool {
    cfg!(debug_assertions) && std::env::var_os("CGPROCFS_FAULTS").is_some()
}
