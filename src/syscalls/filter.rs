//! The filter by which calls wait for an answer: a program for the kernel's classic BPF machine.
//! seccompiler, which makes the other filters, knows no answer of that kind.

use super::calls::{ABIS, Call};
use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};
use std::mem::offset_of;

/// The filter that has `calls` wait, and lets all others pass.
#[must_use]
pub fn program(calls: &[Call]) -> Vec<sock_filter> {
    let mut program = vec![load(offset_of!(libc::seccomp_data, arch))];
    for abi in ABIS {
        let numbers = calls.iter().map(|call| abi.number_of(*call));
        let mut block = vec![load(offset_of!(libc::seccomp_data, nr))];
        block.extend(numbers.flat_map(|number| [skip_unless(number, 1), ends(libc::SECCOMP_RET_USER_NOTIF)]));
        block.push(ends(libc::SECCOMP_RET_ALLOW));
        program.push(skip_unless(abi.architecture, block.len()));
        program.extend(block);
    }
    program.push(ends(libc::SECCOMP_RET_ALLOW));
    program
}

/// Loads a word of what is known of the call.
fn load(offset: usize) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, 0, u32::try_from(offset).unwrap_or(u32::MAX))
}

/// Skips so many instructions unless the word that was loaded is `value`.
fn skip_unless(value: u32, count: usize) -> sock_filter {
    instruction(BPF_JMP | BPF_JEQ | BPF_K, u8::try_from(count).unwrap_or(u8::MAX), value)
}

fn ends(action: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, 0, action)
}

fn instruction(code: u32, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or(u16::MAX), jt: 0, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does with such a program, as far as this one goes.
    fn action(program: &[sock_filter], architecture: u32, number: u32) -> u32 {
        let (mut at, mut word) = (0, 0);
        loop {
            let sock_filter { code, jf, k, .. } = program[at];
            at += 1;
            match u32::from(code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => word = if k == 4 { architecture } else { number },
                code if code == BPF_JMP | BPF_JEQ | BPF_K => at += if word == k { 0 } else { jf.into() },
                code if code == BPF_RET | BPF_K => return k,
                code => panic!("{code}"),
            }
        }
    }

    #[test]
    fn only_those_calls_wait() {
        for calls in [&[Call::SysInfo][..], &[Call::SysInfo, Call::GetAffinity], &[Call::GetAffinity]] {
            let program = program(calls);
            for abi in ABIS {
                for number in 0..600 {
                    let waits = calls.iter().any(|call| abi.number_of(*call) == number);
                    let expected = if waits { libc::SECCOMP_RET_USER_NOTIF } else { libc::SECCOMP_RET_ALLOW };
                    assert_eq!(action(&program, abi.architecture, number), expected, "{number}");
                    // x32 has the architecture of x86-64, and a bit in its numbers.
                    let x32 = action(&program, abi.architecture, number | 0x4000_0000);
                    assert_eq!(x32, libc::SECCOMP_RET_ALLOW);
                }
            }
            assert_eq!(action(&program, 0, 99), libc::SECCOMP_RET_ALLOW);
        }
    }
}
