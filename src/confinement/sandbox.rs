//! Least privilege from inside: what a process gives up before it deals with tenants, whoever has started it.
//!
//! The process that serves keeps one capability, to see the namespaces of others' processes, and a list of system calls
//! (`calls`). What needs more is done by processes that serve nobody: [`super::namespace_reader`] enters cgroup
//! namespaces, [`crate::lifecycle::steward`] mounts.
//!
//! Landlock is not used: a process that it confines may not look at processes outside of its domain
//! (`hook_ptrace_access_check()`, security/landlock/task.c), and so not at a reader's namespaces.

use super::calls::Calls;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};
use std::io;

/// What the process that serves keeps: without it, `/proc/PID/ns` of another user's process can't be read
/// (`proc_ns_readlink()`, fs/proc/namespaces.c).
pub const OF_SERVER: CapabilitySet = CapabilitySet::SYS_PTRACE;

/// Why a process could not be confined.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SandboxError {
    #[error("cannot give up capabilities: {0}")]
    Capabilities(#[from] io::Error),
    #[error("cannot compile the list of system calls: {0}")]
    Compile(#[from] seccompiler::BackendError),
    #[error("cannot restrict system calls: {0}")]
    Filter(#[from] seccompiler::Error),
}

/// Gives up all capabilities of this thread but those of `keep` that it has, and for ever all ways to get them back. What
/// threads and processes it makes after that have no more than it; those that are there already keep what they have. Who
/// else is of its user can't trace it, nor look into its memory.
///
/// # Errors
/// The kernel's.
pub fn keep_only(keep: CapabilitySet) -> Result<(), SandboxError> {
    let failed = |error: Errno| SandboxError::Capabilities(error.into());
    set_no_new_privs(true).map_err(failed)?;
    clear_ambient_capability_set().map_err(failed)?;
    for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        // EINVAL is the end of what this kernel knows.
        if !keep.contains(capability) && capability_is_in_bounding_set(capability) == Ok(true) {
            match remove_capability_from_bounding_set(capability) {
                // Without CAP_SETPCAP; nothing can be had from there without a program that is executed.
                Ok(()) | Err(Errno::PERM) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
    let kept = capabilities(None).map_err(failed)?.permitted & keep;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(failed)?;
    // Processes of one user may look into each other, and two of ours need not have the same capabilities.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)
}

/// Leaves the whole process, with all its threads, the system calls that serving takes.
///
/// # Errors
/// Where the kernel refuses.
pub fn restrict_server() -> Result<(), SandboxError> {
    restrict(&Calls::of_server()?)
}

/// Leaves the process those that a look into a namespace takes.
///
/// # Errors
/// Where the kernel refuses.
pub fn restrict_namespace_reader() -> Result<(), SandboxError> {
    restrict(&Calls::of_namespace_reader()?)
}

fn restrict(calls: &Calls) -> Result<(), SandboxError> {
    let program = |filter: Result<SeccompFilter, _>| filter.and_then(BpfProgram::try_from);
    let architecture = std::env::consts::ARCH.try_into()?;
    // Whoever is told so uses an older call, the arguments of which can be seen.
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let absent = SeccompFilter::new(calls.absent(), SeccompAction::Allow, absent, architecture);
    let allowed = SeccompFilter::new(calls.allowed(), refusal(), SeccompAction::Allow, architecture);
    // Of two filters the more severe answer holds.
    let (absent, allowed) = (program(absent)?, program(allowed)?);
    apply_filter_all_threads(&absent)?;
    Ok(apply_filter_all_threads(&allowed)?)
}

/// What a call gets that is not on the list. An error, for a reader of one file to have one, too, is better than the end
/// of the server for all; in a test that end shows what the list lacks.
fn refusal() -> SeccompAction {
    if cfg!(debug_assertions) {
        SeccompAction::KillProcess
    } else {
        SeccompAction::Errno(libc::EPERM.unsigned_abs())
    }
}
