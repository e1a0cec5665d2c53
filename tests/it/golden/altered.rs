//! Trees of `tests/fixtures` with something odd in them: a reader is told what it would be with something
//! else in its place.

mod below;
mod cases;

pub use self::below::BELOW;
pub use self::cases::CASES;
use super::{Failed, text};
use cgprocfs_core::view::find;
use std::fs;
use std::path::Path;
use std::process::Command;

pub struct Altered {
    pub name: &'static str,
    /// The fixture.
    case: &'static str,
    /// Files below its `root`, and what is in them; `None` is one that is not there.
    odd: &'static [Change],
    as_if: &'static [Change],
    views: &'static [&'static str],
}

type Change = (&'static str, Option<&'static str>);

impl Altered {
    pub fn check(&self) -> Result<(), Failed> {
        let (odd, as_if) = (self.tree(self.odd)?, self.tree(self.as_if)?);
        let mut seen = 0;
        for view in self.views {
            if !odd.path().join("root").join(view).exists() && *view != "working_set" {
                continue;
            }
            let view = find(view).unwrap();
            let (odd, as_if) = (text(odd.path(), view)?, text(as_if.path(), view)?);
            let differing = odd.lines().zip(as_if.lines()).filter(|(odd, as_if)| odd != as_if);
            let lines: Vec<_> = differing.map(|(odd, as_if)| format!("-{as_if}\n+{odd}")).collect();
            assert_eq!(odd, as_if, "{}: {}", view.path(), lines.join("\n"));
            seen += 1;
        }
        assert!(seen > 0);
        Ok(())
    }

    fn tree(&self, changes: &[Change]) -> Result<tempfile::TempDir, Failed> {
        let copy = copy_of(self.case)?;
        for (file, change) in changes {
            let path = copy.path().join("root").join(file);
            match change {
                Some(text) => {
                    path.parent().map_or(Ok(()), fs::create_dir_all)?;
                    fs::write(&path, text)?;
                }
                None if path.exists() => fs::remove_file(&path)?,
                None => {}
            }
        }
        Ok(copy)
    }
}

/// A fixture that may be changed.
pub fn copy_of(name: &str) -> Result<tempfile::TempDir, Failed> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let copy = tempfile::tempdir()?;
    assert!(Command::new("cp").arg("-a").arg(fixture.join(".")).arg(copy.path()).status()?.success());
    Ok(copy)
}

/// In an archive without links, or a repository on a system that has none, those to namespaces are files.
pub fn links_became_files() -> Result<(), Failed> {
    for name in ["v1-processors", "v2-two-nodes", "v1-time-namespace"] {
        let case = Altered { name: "", case: "", odd: &[], as_if: &[], views: &[] };
        let tree = Altered { case: name, ..case }.tree(&[])?;
        let proc = tree.path().join("root/proc");
        let mut files = 0;
        for process in fs::read_dir(proc)? {
            let Ok(links) = fs::read_dir(process?.path().join("ns")) else { continue };
            for link in links {
                let link = link?.path();
                let target = fs::read_link(&link)?;
                fs::remove_file(&link)?;
                fs::write(&link, target.as_os_str().as_encoded_bytes())?;
                files += 1;
            }
        }
        assert!(files > 2, "{name}");
        super::check_views(tree.path())?;
        super::check_capture(tree.path())?;
    }
    Ok(())
}
