//! What a person at a prompt does about an error: the library's errors say only what went wrong. What a
//! daemon logs of its own work meets nobody at a prompt, so that such a line says by itself what to do.

use super::failure::Failure;
use crate::capture::CaptureError;
use crate::confinement::sandbox::SandboxError;
use crate::error::Error;
use crate::kernel::{CgroupMountsError, CopyError};
use crate::lifecycle::ConnectionError;
use crate::lifecycle::daemon::DaemonError;
use crate::lifecycle::handover::HandoverError;
use crate::lifecycle::supervisor::SupervisorError;
use crate::mount::MountError;
use crate::run::{NamespaceError, RunError};
use cgprocfs_core::error::ViewError;
use std::borrow::Cow;
use std::fmt::Display;
use std::io;

type Advice = Option<Cow<'static, str>>;

/// An error that a person can do something about.
pub(super) trait Hint: Display {
    /// What to do, to follow the error and a semicolon.
    fn hint(&self) -> Advice;
}

/// What went wrong and what to do, in one line.
pub(super) fn line(error: &impl Hint) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

/// What to do about an error of the system that one of ours may be in.
pub(super) fn of_system(error: &io::Error) -> Advice {
    error.get_ref()?.downcast_ref::<SandboxError>()?.hint()
}

const WRITABLE_DIRECTORY: Advice =
    Some(Cow::Borrowed("name a directory where there is room and you may write"));

impl Hint for Failure {
    fn hint(&self) -> Advice {
        match self {
            Self::CgroupMounts(error) => error.hint(),
            Self::Mount(error) => error.hint(),
            Self::Daemon(error) => error.hint(),
            Self::Handover(error) => error.hint(),
            Self::Supervisor(error) => error.hint(),
            Self::Serve(error) => error.hint(),
            Self::Capture(error) => error.hint(),
            Self::Run(error) => error.hint(),
            Self::Other(_) => None,
        }
    }
}

impl Hint for Error {
    fn hint(&self) -> Advice {
        let hint = match self {
            Self::ProcessGone(_) => "name one that runs",
            Self::CgroupGone(_) => "try again",
            Self::Outside(_) => "run cgprocfs in the host's cgroup namespace",
            Self::Unreadable { .. } => {
                "run cgprocfs as root, or as its unit does, and with a higher limit on open files if that was reached"
            }
            Self::Malformed { .. } | Self::View(ViewError::Malformed(..)) => {
                "please report it with the file's content"
            }
            Self::TextGone(_) => "open it again",
            Self::TakesLong(_) | Self::MayHang(_) | Self::View(ViewError::NotLoaded(_)) => "please report it",
            // There is no help for these.
            Self::UnknownTime(_) | Self::Errno(_) => return None,
        };
        Some(hint.into())
    }
}

impl Hint for CgroupMountsError {
    fn hint(&self) -> Advice {
        match self {
            Self::NoMemoryController => Some("mount one, or boot without cgroup_disable=memory".into()),
            Self::Unreadable(error) => error.hint(),
        }
    }
}

impl Hint for MountError {
    fn hint(&self) -> Advice {
        let hint = match self {
            Self::NotRoot => "run cgprocfs as root".into(),
            Self::NoDevice => {
                "load the kernel module with `modprobe fuse`, or give the container the device".into()
            }
            Self::Missing(path) => format!("create it with `mkdir -p {}`", path.display()).into(),
            Self::NotADirectory(_) => "name one that is".into(),
            Self::AlreadyMounted(path) => {
                format!("unmount it first with `umount {}`, or name another mount point", path.display())
                    .into()
            }
            Self::AlreadyServed(path) => format!(
                "end that first with `cgprocfs unmount {}`, or name another directory",
                path.display()
            )
            .into(),
            Self::Forged(_) => "remove it, or name a directory beside which only root can make files".into(),
            Self::TooDeep(_, path) => format!(
                "containers keep the kernel's files: stop those that bind them, or run `cgprocfs unmount --anchors {}`",
                path.display()
            )
            .into(),
            Self::Refused { .. } => "see `dmesg`".into(),
        };
        Some(hint)
    }
}

impl Hint for DaemonError {
    fn hint(&self) -> Advice {
        match self {
            Self::Serve(..) | Self::Connection(_) | Self::EarlyLoss(_) => {
                Some("see `dmesg`, then start cgprocfs again".into())
            }
            Self::Unmount(path, _) => Some(format!("run `cgprocfs unmount {}`", path.display()).into()),
            Self::Keep(..) => Some("start cgprocfs again".into()),
            Self::Sandbox(error) => error.hint(),
        }
    }
}

impl Hint for SandboxError {
    fn hint(&self) -> Advice {
        let hint = match self {
            Self::Capabilities(_) => "let this process call capset(2) and prctl(2)",
            Self::Compile(_) => "please report it",
            Self::Filter(_) => "let this process call seccomp(2)",
        };
        Some(hint.into())
    }
}

impl Hint for HandoverError {
    fn hint(&self) -> Advice {
        let hint = match self {
            Self::Unreachable(..) => "start one without --takeover",
            Self::Refused(..) => "its log may say why",
            Self::OpenToOthers(_) => "choose a directory whose parents only root can write to",
            Self::NotRoot(..) => "stop that process, and remove its socket",
            Self::OtherMount(..) => "run `cgprocfs unmount`, then start again",
            Self::Connection(error) => return error.hint(),
        };
        Some(hint.into())
    }
}

impl Hint for ConnectionError {
    fn hint(&self) -> Advice {
        match self {
            Self::OtherVersion => Some("run `cgprocfs unmount`, then start again".into()),
            Self::Aborted | Self::InitTooLong(_) | Self::System(_) => None,
        }
    }
}

impl Hint for SupervisorError {
    fn hint(&self) -> Advice {
        match self {
            Self::Start(..) => Some("check that the program is still there".into()),
        }
    }
}

impl Hint for CopyError {
    fn hint(&self) -> Advice {
        match self {
            Self::Read(error) => error.hint(),
            Self::Write(..) => WRITABLE_DIRECTORY,
        }
    }
}

impl Hint for CaptureError {
    fn hint(&self) -> Advice {
        let hint = match self {
            Self::NotEmpty(_) => "name an empty or a new directory",
            Self::Write(..) => return WRITABLE_DIRECTORY,
            Self::Copy(error) => return error.hint(),
            Self::NoReader(_) => "name one with --pid, or capture it again",
            Self::NoTree(_) => "name a directory that `cgprocfs capture` has made",
            Self::Lacks(..) => "add it, or capture it again",
            Self::OtherPages(..) => "use a machine with pages of that size",
            Self::Read(error) => return error.hint(),
        };
        Some(hint.into())
    }
}

impl Hint for RunError {
    fn hint(&self) -> Advice {
        let hint = match self {
            Self::NotRoot => "run it as root",
            Self::NotFound(_) => "check its name and PATH",
            Self::NotExecutable(..) => "check its mode and format",
            Self::NotStarted(..) => "check the limits on processes and memory",
            Self::Cgroup { .. } => "check that the hierarchy is writable and takes the value",
            Self::Enable { .. } => "check that the hierarchy is writable",
            Self::NoCpuController => "mount one, or leave out --cpus",
            Self::Mounts(error) => {
                let first = error.hint().map(|hint| format!("{hint}; ")).unwrap_or_default();
                return Some(format!("{first}check the capabilities of this process, and `dmesg`").into());
            }
            Self::CgroupMounts(error) => return error.hint(),
            Self::Serve(error) => return error.hint(),
            Self::System(..) => return None,
        };
        Some(hint.into())
    }
}

impl Hint for NamespaceError {
    fn hint(&self) -> Advice {
        match self {
            Self::Mount(error) => error.hint(),
            Self::Connection(error) => error.hint(),
            Self::System(..) | Self::Serve(_) | Self::Panic => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error says what is wrong, the line also what to do; an error within another brings its own advice
    /// with it.
    #[test]
    fn a_line_says_what_is_wrong_and_what_to_do() {
        let failed = || io::Error::from_raw_os_error(libc::EPERM);
        let unreadable = || Error::Unreadable { path: "/x".into(), source: failed() };
        let as_root = "run cgprocfs as root, or as its unit does, and with a higher limit on open files if that was reached";
        for (failure, what, hint) in [
            (Failure::from(MountError::NotRoot), "only root can mount", "run cgprocfs as root"),
            (
                MountError::AlreadyServed("/m".into()).into(),
                "/m is served already, or its connection is kept for a daemon that starts again",
                "end that first with `cgprocfs unmount /m`, or name another directory",
            ),
            (
                MountError::TooDeep(64, "/m".into()).into(),
                "64 mounts lie on one file in /m, two for each connection that was lost",
                "containers keep the kernel's files: stop those that bind them, or run `cgprocfs unmount --anchors /m`",
            ),
            (
                CaptureError::Copy(CopyError::Read(unreadable())).into(),
                "cannot read /x: Operation not permitted (os error 1)",
                as_root,
            ),
            (
                CgroupMountsError::Unreadable(unreadable()).into(),
                "cannot read /x: Operation not permitted (os error 1)",
                as_root,
            ),
            (
                RunError::Mounts(MountError::NoDevice.into()).into(),
                "cannot prepare the program's mounts: /dev/fuse is missing",
                "load the kernel module with `modprobe fuse`, or give the container the device; \
                 check the capabilities of this process, and `dmesg`",
            ),
            (
                HandoverError::Connection(ConnectionError::OtherVersion).into(),
                "cannot resume the connection: the previous daemon's memory has another format",
                "run `cgprocfs unmount`, then start again",
            ),
            (
                DaemonError::Sandbox(SandboxError::Capabilities(failed())).into(),
                "cannot give up capabilities: Operation not permitted (os error 1)",
                "let this process call capset(2) and prctl(2)",
            ),
        ] {
            assert_eq!(failure.to_string(), what);
            assert_eq!(line(&failure), format!("{what}; {hint}"));
        }
        let other = Failure::Other("it is so; do that".into());
        assert_eq!(line(&other), "it is so; do that");
    }

    /// The error of a helper process comes as one of the system.
    #[test]
    fn advice_is_found_within_an_error_of_the_system() {
        let error = io::Error::other(SandboxError::Capabilities(io::Error::from_raw_os_error(libc::EPERM)));
        assert_eq!(of_system(&error).as_deref(), Some("let this process call capset(2) and prctl(2)"));
        assert_eq!(of_system(&io::Error::from_raw_os_error(libc::EPERM)), None);
    }
}
