//! What a container's runtime has run between making the container's mounts and starting its program
//! (`createContainer` of the OCI runtime specification): it mounts views where runc itself refuses to.
//!
//! A hook that fails keeps the container from starting, and the container is worth more than its views. So
//! whatever goes wrong is passed over.

use super::bind::Bind;
use super::target::{self, MountTable};
use cgprocfs_core::view::ViewId;
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the container waits for its views.
pub const HOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// How many bytes of what a runtime says are read.
const MAX_TEXT_BYTES: u64 = 16 << 20;

/// Why a view was not mounted, or none was.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    #[error("cannot understand {0}: {1}")]
    Malformed(PathBuf, serde_json::Error),
    #[error("cannot mount {0}: {1}")]
    Mount(String, io::Error),
}

/// What the runtime says of the container (`State` of the specification).
#[derive(Deserialize)]
struct State {
    bundle: PathBuf,
}

/// What is in `config.json` of the bundle.
#[derive(Deserialize)]
struct Config {
    root: Root,
}

#[derive(Deserialize)]
struct Root {
    path: PathBuf,
}

/// Mounts views, each by its [name](Bind::name), in the container that the runtime describes in `state`.
/// Returns why some were not.
///
/// # Errors
/// [`HookError`] if none could be mounted.
pub fn run(directory: &Path, names: &[String], state: impl Read) -> Result<Vec<HookError>, HookError> {
    let state: State = parse("the state".into(), state)?;
    let path = state.bundle.join("config.json");
    let opened = File::open(&path).map_err(|error| HookError::Read(path.clone(), error))?;
    let config: Config = parse(path, opened)?;
    // A relative path is one from the bundle.
    let root = state.bundle.join(config.root.path);
    let open = |path: &Path| -> Result<OwnedFd, HookError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, path, flags, Mode::empty()).map_err(|error| HookError::Read(path.into(), error.into()))
    };
    let (root, proc) = (open(&root)?, open(Path::new("/proc"))?);
    let table = MountTable::of_this_thread(&proc)
        .map_err(|error| HookError::Read("/proc/self/mountinfo".into(), error))?;
    let binds = Bind::all(&ViewId::ALL).into_iter().filter(|bind| names.contains(&bind.name()));
    let mount = |bind: Bind| -> io::Result<()> {
        let there = target::open(&root, &bind.target())?;
        if target::is_native(table.mount_of(&proc, &there)?) {
            target::attach(target::copy_of(&bind.anchor(directory))?, there)?;
        }
        Ok(())
    };
    let failed = binds.filter_map(|bind| Some(HookError::Mount(bind.target(), mount(bind).err()?)));
    Ok(failed.collect())
}

fn parse<T: for<'de> Deserialize<'de>>(path: PathBuf, text: impl Read) -> Result<T, HookError> {
    let mut all = Vec::new();
    match text.take(MAX_TEXT_BYTES).read_to_end(&mut all) {
        Ok(_) => serde_json::from_slice(&all).map_err(|error| HookError::Malformed(path, error)),
        Err(error) => Err(HookError::Read(path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_runtime_says_may_be_anything() {
        let run = |state: &str| run(Path::new("/nowhere"), &["vmstat".into()], state.as_bytes());
        for state in
            ["", "{}", "[]", "{\"bundle\": 7}", "\0", "{\"bundle\": \"/\"", "{\"bundle\": \"relative\"}"]
        {
            assert!(run(state).is_err(), "{state}");
        }
        let bundle = tempfile::tempdir().unwrap();
        let state = format!("{{\"ociVersion\": \"1.0\", \"bundle\": {:?}}}", bundle.path());
        for config in ["", "{}", "{\"root\": {}}", "{\"root\": {\"path\": \"missing\"}}"] {
            std::fs::write(bundle.path().join("config.json"), config).unwrap();
            assert!(run(&state).is_err(), "{config}");
        }
        std::fs::write(bundle.path().join("config.json"), "{\"root\": {\"path\": \"root\"}, \"more\": 1}")
            .unwrap();
        std::fs::create_dir(bundle.path().join("root")).unwrap();
        let failed = run(&state).unwrap();
        assert!(
            matches!(&failed[..], [HookError::Mount(target, _)] if target == "/proc/vmstat"),
            "{failed:?}"
        );
    }

    /// An image may have a link where its procfs is to be.
    #[test]
    fn no_link_is_followed() {
        let bundle = tempfile::tempdir().unwrap();
        let state = format!("{{\"bundle\": {:?}}}", bundle.path());
        std::fs::write(bundle.path().join("config.json"), "{\"root\": {\"path\": \"root\"}}").unwrap();
        std::fs::create_dir(bundle.path().join("root")).unwrap();
        std::fs::create_dir(bundle.path().join("root/elsewhere")).unwrap();
        std::fs::write(bundle.path().join("root/elsewhere/vmstat"), "").unwrap();
        std::os::unix::fs::symlink("elsewhere", bundle.path().join("root/proc")).unwrap();
        let failed = run(Path::new("/nowhere"), &["vmstat".into()], state.as_bytes()).unwrap();
        let [HookError::Mount(_, error)] = &failed[..] else { panic!("{failed:?}") };
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP), "{error}");
    }
}
