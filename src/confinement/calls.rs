//! The system calls that a confined process may make.

use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};
use std::collections::BTreeMap;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The calls that are allowed, some only with certain arguments, and those that are reported not to exist.
pub(crate) struct Calls {
    allowed: Rules,
    absent: Rules,
}

/// A condition on one argument, by its number from 0: the bits in `bits` have to have the value `value`.
/// Every argument here has 32 bits, or the kernel looks at no more.
struct Argument {
    number: u8,
    bits: i32,
    value: i32,
}

impl Argument {
    const fn is(number: u8, value: i32) -> Self {
        Self { number, bits: -1, value }
    }

    const fn has(number: u8, bits: i32, value: i32) -> Self {
        Self { number, bits, value }
    }
}

/// What every process here needs: memory, time, locks, signals to itself, and to exit.
const BASE: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_sigaltstack,
    // The log, on stderr.
    libc::SYS_write,
    libc::SYS_writev,
];

/// What serving needs beyond that: to read files, the connection, threads, and to hand over.
const SERVER: &[libc::c_long] = &[
    libc::SYS_accept4,
    libc::SYS_close_range,
    libc::SYS_faccessat,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_geteuid,
    libc::SYS_getsockopt,
    libc::SYS_lseek,
    libc::SYS_newfstatat,
    // For polling alone: sending signals by it, or taking descriptors, is on no list.
    libc::SYS_pidfd_open,
    libc::SYS_pread64,
    libc::SYS_readlinkat,
    libc::SYS_recvfrom,
    libc::SYS_rseq,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_getaffinity,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_statfs,
    libc::SYS_statx,
];

/// What answering system calls needs: to receive listeners, to wait for calls, and to write to callers' memory.
const ANSWERING: &[libc::c_long] = &[
    libc::SYS_accept4,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_setsockopt,
    libc::SYS_statx,
];

/// Calls that glibc makes on x86-64. Newer architectures lack them.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[libc::c_long] = &[libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[libc::c_long] = &[];

/// `NS_GET_PID_FROM_PIDNS`, as in [`crate::sys::init_of`].
const NS_GET_PID_FROM_PIDNS: i32 = i32::from_ne_bytes(0x8004_b706_u32.to_ne_bytes());

impl Calls {
    /// The calls of the process that serves. It can open no file for writing, make no socket and no process,
    /// and signal no other process.
    pub(crate) fn for_server() -> Result<Self, BackendError> {
        let mut calls = Self::base()?;
        calls.allow(SERVER);
        calls.allow(LEGACY);
        calls.allow_threads()?;
        calls.allow_opening()?;
        // For its own threads; without a capability that can only lower their priority.
        calls.allow_if(libc::SYS_setpriority, &[Argument::is(0, 0), Argument::is(1, 0)])?;
        calls.allow_if(libc::SYS_ioctl, &[Argument::is(1, NS_GET_PID_FROM_PIDNS)])?;
        // To clear the memory that requests are read into. It opens no file for writing, so that no other can
        // be meant.
        let hole = Argument::is(1, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE);
        calls.allow_if(libc::SYS_fallocate, &[hole])?;
        // Only if a service manager wants to be notified: as root this process could otherwise have the
        // owners of other sockets do what it can't.
        if std::env::var_os("NOTIFY_SOCKET").is_some() {
            calls.allow_if(libc::SYS_socket, &[Argument::is(0, libc::AF_UNIX)])?;
            calls.allow(&[libc::SYS_connect, libc::SYS_pipe2]);
        }
        Ok(calls)
    }

    /// The calls of the process that reads in cgroup namespaces. It opens nothing, and enters no other
    /// namespaces.
    pub(crate) fn for_namespace_reader() -> Result<Self, BackendError> {
        let mut calls = Self::base()?;
        calls.allow(&[libc::SYS_pread64, libc::SYS_sendto]);
        calls.allow_if(libc::SYS_setns, &[Argument::is(1, libc::CLONE_NEWCGROUP)])?;
        Ok(calls)
    }

    /// The calls of the process that answers system calls. It can open files for writing, for it writes to the
    /// memory of callers, and signals nobody.
    pub(crate) fn for_answering() -> Result<Self, BackendError> {
        let mut calls = Self::base()?;
        calls.allow(ANSWERING);
        calls.allow(LEGACY);
        #[cfg(target_arch = "x86_64")]
        calls.allow(&[libc::SYS_epoll_wait]);
        calls.allow_threads()?;
        for request in [
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
            libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
        ] {
            let request = u32::try_from(request & libc::Ioctl::from(u32::MAX)).unwrap_or(0);
            let request = i32::from_ne_bytes(request.to_ne_bytes());
            calls.allow_if(libc::SYS_ioctl, &[Argument::is(1, request)])?;
        }
        calls.deny_existence(libc::SYS_openat2);
        if std::env::var_os("NOTIFY_SOCKET").is_some() {
            calls.allow_if(libc::SYS_socket, &[Argument::is(0, libc::AF_UNIX)])?;
            calls.allow(&[libc::SYS_connect]);
        }
        Ok(calls)
    }

    /// The calls of all processes.
    fn base() -> Result<Self, BackendError> {
        let mut calls = Self { allowed: Rules::new(), absent: Rules::new() };
        calls.allow(BASE);
        // No memory ever becomes executable.
        calls.allow_if(libc::SYS_mmap, &[Argument::has(2, libc::PROT_EXEC, 0)])?;
        calls.allow_if(libc::SYS_mprotect, &[Argument::has(2, libc::PROT_EXEC, 0)])?;
        for command in [libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_GET_SEALS]
        {
            calls.allow_if(libc::SYS_fcntl, &[Argument::is(1, command)])?;
        }
        // For abort(3).
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        calls.allow_if(libc::SYS_tgkill, &[Argument::is(0, own)])?;
        Ok(calls)
    }

    /// Allows making threads, which have no namespaces of their own, but not processes.
    fn allow_threads(&mut self) -> Result<(), BackendError> {
        const THREAD: i32 = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
        const NAMESPACES: i32 = libc::CLONE_NEWNS
            | libc::CLONE_NEWCGROUP
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUSER
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET;
        self.allow_if(libc::SYS_clone, &[Argument::has(0, THREAD | NAMESPACES, THREAD)])?;
        // Its flags are in memory, where no filter can see them.
        self.deny_existence(libc::SYS_clone3);
        self.allow_if(libc::SYS_prctl, &[Argument::is(0, libc::PR_SET_NAME)])?;
        // For getrlimit(2), which gives the size of a stack.
        self.allow_if(libc::SYS_prlimit64, &[Argument::is(0, 0), Argument::is(2, 0)])
    }

    /// Allows opening files for reading.
    fn allow_opening(&mut self) -> Result<(), BackendError> {
        const WRITES: i32 = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
        if crate::failpoint::writes() {
            self.allow(&[libc::SYS_openat]);
        }
        self.allow_if(libc::SYS_openat, &[Argument::has(2, WRITES, libc::O_RDONLY)])?;
        // Its flags are in memory, where no filter can see them, and permissions do not help: a process that
        // may trace may open the memory of another process of its user for writing.
        self.deny_existence(libc::SYS_openat2);
        Ok(())
    }

    fn allow(&mut self, calls: &[libc::c_long]) {
        // An empty list of rules means no condition.
        self.allowed.extend(calls.iter().map(|call| (*call, Vec::new())));
    }

    /// Allows a call with certain arguments, in addition to those that it was allowed with before.
    fn allow_if(&mut self, call: libc::c_long, arguments: &[Argument]) -> Result<(), BackendError> {
        let condition = |argument: &Argument| {
            let unsigned = |value: i32| u64::from(u32::from_ne_bytes(value.to_ne_bytes()));
            let (bits, value) = (SeccompCmpOp::MaskedEq(unsigned(argument.bits)), unsigned(argument.value));
            SeccompCondition::new(argument.number, SeccompCmpArgLen::Dword, bits, value)
        };
        let conditions = arguments.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
        let rule = SeccompRule::new(conditions)?;
        match self.allowed.get_mut(&call) {
            // It is allowed with any arguments already.
            Some(rules) if rules.is_empty() => {}
            Some(rules) => rules.push(rule),
            None => drop(self.allowed.insert(call, vec![rule])),
        }
        Ok(())
    }

    /// Has a call be reported not to exist.
    fn deny_existence(&mut self, call: libc::c_long) {
        self.allow(&[call]);
        self.absent.insert(call, Vec::new());
    }

    pub(crate) fn allowed(&self) -> Rules {
        self.allowed.clone()
    }

    pub(crate) fn absent(&self) -> Rules {
        self.absent.clone()
    }
}

#[cfg(test)]
mod tests;
