//! What only root can do.

use super::failure::Failure;

/// Fails unless this process is root's.
pub(super) fn require_root(what: &str) -> Result<(), Failure> {
    match rustix::process::geteuid().is_root() {
        true => Ok(()),
        false => Err(Failure::Other(format!("only root can {what}; use sudo"))),
    }
}
