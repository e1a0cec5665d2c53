//! Why a command failed, and the exit code for that.

use crate::lifecycle::daemon::DaemonError;

/// `EX_TEMPFAIL` of sysexits.h(3): the unit is not to be started again at once, as
/// `RestartPreventExitStatus=` there says.
const START_LATER: u8 = 75;

/// What ends a command early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    CgroupMounts(#[from] crate::kernel::CgroupMountsError),
    #[error(transparent)]
    Mount(#[from] crate::mount::MountError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Handover(#[from] crate::lifecycle::handover::HandoverError),
    #[error(transparent)]
    Supervisor(#[from] crate::lifecycle::supervisor::SupervisorError),
    #[error(transparent)]
    Serve(#[from] crate::error::Error),
    #[error(transparent)]
    Capture(#[from] crate::capture::CaptureError),
    #[error(transparent)]
    Run(#[from] crate::run::RunError),
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// What the program exits with.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Run(error) => error.exit_code(),
            Self::Daemon(DaemonError::EarlyLoss(_)) => START_LATER,
            _ => 1,
        }
    }
}
