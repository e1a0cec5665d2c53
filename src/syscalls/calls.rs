//! Which calls are answered, and by which numbers programs make them.

use cgprocfs_core::syscalls::WordSize;

/// A call that is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// sysinfo(2).
    SysInfo,
    /// sched_getaffinity(2).
    GetAffinity,
}

impl Call {
    /// Its name, as seccomp profiles have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SysInfo => "sysinfo",
            Self::GetAffinity => "sched_getaffinity",
        }
    }
}

/// How programs for one architecture make calls.
pub(super) struct Abi {
    /// Its name to a filter (`AUDIT_ARCH_…`, include/uapi/linux/audit.h).
    pub(super) architecture: u32,
    pub(super) words: WordSize,
    pub(super) sys_info: u32,
    pub(super) get_affinity: u32,
}

/// `EM_…`, and what is added to it for 64 bits and for the lowest byte first.
const fn little_endian(machine: u32, words: WordSize) -> u32 {
    match words {
        WordSize::Bits32 => 0x4000_0000 | machine,
        WordSize::Bits64 => 0xc000_0000 | machine,
    }
}

const fn abi(machine: u32, words: WordSize, sys_info: u32, get_affinity: u32) -> Abi {
    Abi { architecture: little_endian(machine, words), words, sys_info, get_affinity }
}

/// The programs that run on a machine like this one. Others, such as those of x32, are left to the kernel.
#[cfg(target_arch = "x86_64")]
pub(super) const ABIS: &[Abi] = &[abi(62, WordSize::Bits64, 99, 204), abi(3, WordSize::Bits32, 116, 242)];
#[cfg(target_arch = "aarch64")]
pub(super) const ABIS: &[Abi] = &[abi(183, WordSize::Bits64, 179, 123), abi(40, WordSize::Bits32, 116, 242)];
#[cfg(target_arch = "riscv64")]
pub(super) const ABIS: &[Abi] = &[abi(243, WordSize::Bits64, 179, 123)];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
pub(super) const ABIS: &[Abi] = &[];

impl Abi {
    pub(super) const fn number_of(&self, call: Call) -> u32 {
        match call {
            Call::SysInfo => self.sys_info,
            Call::GetAffinity => self.get_affinity,
        }
    }
}

/// The call that a program for `architecture` makes by that number, and how long its words are.
pub(super) fn call_of(architecture: u32, number: u32) -> Option<(Call, WordSize)> {
    let abi = ABIS.iter().find(|abi| abi.architecture == architecture)?;
    let call = [Call::SysInfo, Call::GetAffinity].into_iter().find(|call| abi.number_of(*call) == number)?;
    Some((call, abi.words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_s_own_calls() {
        let number = |number: libc::c_long| u32::try_from(number).unwrap();
        let own = ABIS[0].architecture;
        assert_eq!(call_of(own, number(libc::SYS_sysinfo)), Some((Call::SysInfo, WordSize::Bits64)));
        let affinity = number(libc::SYS_sched_getaffinity);
        assert_eq!(call_of(own, affinity), Some((Call::GetAffinity, WordSize::Bits64)));
        assert_eq!(call_of(own, number(libc::SYS_getpid)), None);
        assert_eq!(call_of(0, number(libc::SYS_sysinfo)), None);
    }
}
