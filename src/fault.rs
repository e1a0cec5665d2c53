//! Points where a test can make the daemon fail. A release build has none.

#[cfg(debug_assertions)]
use std::path::PathBuf;
#[cfg(debug_assertions)]
use std::sync::OnceLock;

/// Waits as long as the file `hang` is in the directory that `CGPROCFS_FAULTS` names, where it puts a file `hanging`,
/// and dies if `crash` is there.
#[cfg(debug_assertions)]
pub fn point() {
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let Some(directory) = DIRECTORY.get_or_init(|| std::env::var_os("CGPROCFS_FAULTS").map(PathBuf::from))
    else {
        return;
    };
    if directory.join("crash").exists() {
        std::process::abort();
    }
    while directory.join("hang").exists() {
        let _ = std::fs::write(directory.join("hanging"), "");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub fn point() {}

/// Whether a test has the daemon write a file, which no other does.
#[must_use]
pub fn writes() -> bool {
    cfg!(debug_assertions) && std::env::var_os("CGPROCFS_FAULTS").is_some()
}
