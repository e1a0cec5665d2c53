//! Confines a process from inside, before it deals with tenants, whoever has started it.
//!
//! The process that serves keeps one capability, to see the namespaces of other users' processes, and the
//! system calls on a list (`calls`). What needs more is done by processes that serve nobody:
//! [`super::namespace_reader`] enters cgroup namespaces, and [`crate::lifecycle::steward`] mounts.
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

/// The capability that the process that serves keeps. Without it `/proc/PID/ns` of another user's process
/// can't be read (`proc_ns_readlink()`, fs/proc/namespaces.c).
pub const SERVER_CAPABILITIES: CapabilitySet = CapabilitySet::SYS_PTRACE;

/// The answer to a system call that is not on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// An error, which the reader of one file gets in turn: better than the end of the server for all.
    Error,
    /// The end of the process, which shows a test what the list lacks.
    Kill,
}

impl Refusal {
    /// What a release answers is an error.
    pub const OF_BUILD: Self = if cfg!(debug_assertions) { Self::Kill } else { Self::Error };
}

impl From<Refusal> for SeccompAction {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Error => Self::Errno(Errno::PERM.raw_os_error().unsigned_abs()),
            Refusal::Kill => Self::KillProcess,
        }
    }
}

/// Why a process could not be confined.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("cannot give up capabilities: {0}")]
    Capabilities(#[from] io::Error),
    #[error("cannot compile the list of system calls: {0}")]
    Compile(#[from] seccompiler::BackendError),
    #[error("cannot restrict system calls: {0}")]
    Filter(#[from] seccompiler::Error),
}

/// Gives up all capabilities of this thread but those in `keep`, and for ever all ways to get them back.
/// Threads and processes that it starts later have no more than it; those that exist already keep what they
/// have. Other processes of the same user can't trace this one from now on, nor look into its memory.
///
/// # Errors
/// The error that the kernel returns.
pub fn keep_only(keep: CapabilitySet) -> Result<(), SandboxError> {
    let failed = |error: Errno| SandboxError::Capabilities(error.into());
    set_no_new_privs(true).map_err(failed)?;
    clear_ambient_capability_set().map_err(failed)?;
    for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        // EINVAL marks the end of the capabilities that this kernel knows.
        if !keep.contains(capability) && capability_is_in_bounding_set(capability) == Ok(true) {
            match remove_capability_from_bounding_set(capability) {
                // Without CAP_SETPCAP. But nothing can be regained from there without executing a program.
                Ok(()) | Err(Errno::PERM) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
    let kept = capabilities(None).map_err(failed)?.permitted & keep;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(failed)?;
    // Processes of one user may look into each other, and two of ours may have different capabilities.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)
}

/// Restricts the whole process, with all its threads, to the system calls that serving needs.
///
/// # Errors
/// Where the kernel refuses.
pub fn restrict_server(refusal: Refusal) -> Result<(), SandboxError> {
    restrict(&Calls::for_server()?, refusal)
}

/// The capabilities that the process keeps that answers system calls: to look at callers of other users, and
/// to open their memory, which belongs to them.
pub const ANSWERING_CAPABILITIES: CapabilitySet =
    CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_OVERRIDE);

/// Restricts the whole process, with all its threads, to the system calls that answering needs.
///
/// # Errors
/// Where the kernel refuses.
pub fn restrict_answering(refusal: Refusal) -> Result<(), SandboxError> {
    restrict(&Calls::for_answering()?, refusal)
}

/// Restricts the process to the system calls that reading in a namespace needs.
///
/// # Errors
/// Where the kernel refuses.
pub fn restrict_namespace_reader(refusal: Refusal) -> Result<(), SandboxError> {
    restrict(&Calls::for_namespace_reader()?, refusal)
}

fn restrict(calls: &Calls, refusal: Refusal) -> Result<(), SandboxError> {
    let program = |filter: Result<SeccompFilter, _>| filter.and_then(BpfProgram::try_from);
    let architecture = std::env::consts::ARCH.try_into()?;
    // A caller that is told so uses an older call, the arguments of which a filter can see.
    let absent = SeccompAction::Errno(Errno::NOSYS.raw_os_error().unsigned_abs());
    let absent = SeccompFilter::new(calls.absent(), SeccompAction::Allow, absent, architecture);
    let allowed = SeccompFilter::new(calls.allowed(), refusal.into(), SeccompAction::Allow, architecture);
    // Of two filters the stricter answer holds.
    let (absent, allowed) = (program(absent)?, program(allowed)?);
    apply_filter_all_threads(&absent)?;
    Ok(apply_filter_all_threads(&allowed)?)
}
