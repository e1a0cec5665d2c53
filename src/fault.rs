//! Points where a test can make the daemon fail. A release build has none.

#[cfg(debug_assertions)]
use std::path::PathBuf;
#[cfg(debug_assertions)]
use std::sync::OnceLock;

/// Waits as long as the file `hang` is in the directory that `CGPROCFS_FAULTS` names, where it puts a file `hanging`,
/// and dies if `crash` is there. What these files say has to be in `path`, that of the cgroup that is read.
#[cfg(debug_assertions)]
pub fn point(path: &[u8]) {
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let Some(directory) = DIRECTORY.get_or_init(|| std::env::var_os("CGPROCFS_FAULTS").map(PathBuf::from))
    else {
        return;
    };
    let is_meant = |file: &str| {
        let meant = std::fs::read(directory.join(file)).ok();
        meant.is_some_and(|meant| meant.is_empty() || path.windows(meant.len()).any(|part| part == meant))
    };
    if is_meant("crash") {
        std::process::abort();
    }
    while is_meant("hang") {
        let _ = std::fs::write(directory.join("hanging"), "");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub fn point(_: &[u8]) {}
