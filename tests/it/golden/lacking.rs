//! Trees from which one file after the other is taken away.

use super::{service, text};
use cgprocfs::capture::Capture;
use cgprocfs_core::view::ViewId;
use libtest_mimic::Failed;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Trees that were written by hand, without a list of their files, and have between them what answers are
/// made from. That something is missing is told by what else is there.
pub const BY_HAND: [&str; 6] = [
    "v1-processors",
    "v1-one-memory-node",
    "v1-swap",
    "v2-kubernetes",
    "v2-one-memory-node",
    "v2-huge-pages",
];

/// Whatever file is missing: each view says what it did before, or that it may be wrong, or nothing at all.
pub fn check(case: &str) -> Result<(), Failed> {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(case);
    let copy = tempfile::tempdir()?;
    let copied = Command::new("cp").arg("-a").arg(case.join(".")).arg(copy.path()).status()?;
    assert!(copied.success());
    let complete = Capture::open(&case, None)?;
    for view in ViewId::ALL.into_iter().filter(|view| text(&case, *view).is_ok()) {
        assert_eq!(complete.missing_for(view.needs()), None, "{}", view.path());
    }
    check_in_place(copy.path())
}

/// So it is in what was captured.
pub fn check_in_place(tree: &Path) -> Result<(), Failed> {
    let views: Vec<(ViewId, String)> =
        ViewId::ALL.into_iter().filter_map(|view| Some((view, text(tree, view).ok()?))).collect();
    for file in files_below(&tree.join("root")) {
        let bytes = fs::read(&file)?;
        fs::remove_file(&file)?;
        for (view, before) in &views {
            let capture = Capture::open(tree, None)?;
            let Ok(service) = service(&capture) else { continue };
            let Ok(after) = capture.text(&service, *view) else { continue };
            let is_said = capture.missing_for(view.needs()).is_some();
            assert!(is_said || after == before.as_bytes(), "{} without {}", view.path(), file.display());
        }
        fs::write(&file, bytes)?;
    }
    Ok(())
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let below = |entry: fs::DirEntry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => files_below(&entry.path()),
        kind if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    };
    entries.flat_map(below).collect()
}
