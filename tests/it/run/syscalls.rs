//! What the program is told by system calls that no file covers.

use super::{run_command, stderr};
use crate::common::{MOUNT, Need, field, finish, output, test};
use libtest_mimic::Trial;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

pub fn tests() -> Vec<Trial> {
    tests! {
        test(&[Need::Root, Need::Fuse, Need::Program("busybox")]) => [
            busybox_sees_the_limit,
        ],
        test(MOUNT) => [
            processors_are_as_many_as_the_limit,
            a_filter_that_is_refused,
        ],
        test(PYTHON) => [
            every_field_is_the_views,
            the_rules_of_affinity_are_the_kernels,
            pointers_that_cannot_be_written_to,
            the_answer_does_not_reach_read_only_memory,
            callers_that_die,
            threads_that_ask_at_once,
        ],
        test(&[Need::Root, Need::Fuse, Need::Programs32]) => [
            a_program_of_32_bits,
        ],
    }
}

const PYTHON: &[Need] = &[Need::Root, Need::Fuse, Need::Program("python3")];

/// How a Python script makes the calls themselves.
const CALLS: &str = "
import ctypes, errno, mmap, os, struct, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    arguments = [ctypes.c_void_p(a) if isinstance(a, int) else a for a in arguments]
    returned = libc.syscall(number, *arguments)
    return returned if returned >= 0 else -ctypes.get_errno()
NUMBERS = {'x86_64': (99, 204), 'aarch64': (179, 123), 'riscv64': (179, 123)}[os.uname().machine]
def sysinfo(pointer): return call(NUMBERS[0], pointer)
def affinity(pid, length, pointer): return call(NUMBERS[1], pid, length, pointer)
";

fn python(arguments: &[&str], script: &str) -> Command {
    let mut command = run_command(arguments);
    command.args(["--", "python3", "-c", &format!("{CALLS}{script}")]);
    command
}

/// `busybox free` asks sysinfo(2) alone for all but what is cached.
fn busybox_sees_the_limit() {
    let total = |arguments: &[&str]| {
        let text = output(run_command(arguments).args(["--memory", "256M", "--", "busybox", "free", "-m"]));
        text.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(total(&[]), 256);
    let info = rustix::system::sysinfo();
    let host = (info.totalram * u64::from(info.mem_unit)) >> 20;
    assert!(total(&["--no-syscalls"]).abs_diff(host) <= 1, "it rounds");
}

fn processors_are_as_many_as_the_limit() {
    let count = |arguments: &[&str]| {
        output(run_command(arguments).args(["--", "nproc"])).trim().parse::<usize>().unwrap()
    };
    let host = std::thread::available_parallelism().unwrap().get();
    assert_eq!(count(&["--cpus", "1"]), 1);
    assert_eq!(count(&["--cpus", "0.2"]), 1);
    assert_eq!(count(&["--cpus", "1.5"]), host.min(2));
    assert_eq!(count(&[]), host);
    assert_eq!(count(&["--cpus", "1", "--no-syscalls"]), host);
    assert_eq!(count(&["--cpus", "1", "--cpu-view", "cpuset"]), host);
}

/// Between two readings of the files that say the same, every field is what they say.
fn every_field_is_the_views() {
    let script = r#"
info = ctypes.create_string_buffer(112)
def views():
    meminfo = dict(line.split()[:2] for line in open('/proc/meminfo'))
    load = open('/proc/loadavg').read().split()
    age = float(open('/proc/uptime').read().split()[0])
    swap = sum(int(line.split()[2]) for line in open('/proc/swaps') if not line.startswith('Filename'))
    return meminfo, load[:3] + [load[3].split('/')[1]], age, swap
for attempt in range(50):
    before = views()
    assert sysinfo(info) == 0
    after = views()
    if before[:2] == after[:2] and before[3] == after[3]: break
else: sys.exit('nothing stays as it is')
(meminfo, load, age, swap), (uptime, *fields) = before, struct.unpack('qQQQQQQQQQHxxxxxxQQI', info.raw[:108])
keys = ['MemTotal:', 'MemFree:', 'Shmem:', 'Buffers:', 'SwapTotal:', 'SwapFree:']
assert fields[3:9] == [int(meminfo[key]) << 10 for key in keys], (fields, meminfo)
assert fields[7] == swap << 10, (fields, swap)
for shown, said in zip(load[:3], fields): assert abs(float(shown) - said / 65536) < 0.006, (load, fields)
assert fields[9] == int(load[3]) and fields[10:] == [0, 0, 1], (fields, load)
assert age <= uptime <= after[2] + 1, (age, uptime, after[2])
print('the same')
"#;
    assert_eq!(output(&mut python(&["--memory", "200M"], script)), "the same\n");
}

/// Sizes, what is returned, and whose processors can be asked for are as the kernel has it.
fn the_rules_of_affinity_are_the_kernels() {
    let script = r#"
mask = ctypes.create_string_buffer(8192)
sizes = [affinity(0, length, mask) for length in (0, 4, 7, 8, 12, 16, 128, 1024, 8192)]
null = affinity(0, 8192, 0)
other, own = os.getppid(), threading.get_native_id()
def count(pid):
    length = affinity(pid, 8192, mask)
    return sum(bin(byte).count('1') for byte in mask.raw[:length])
print(sizes, null, count(0), count(own), count(os.getpid()), count(other), affinity(1 << 22, 8192, mask))
told = min(os.sched_getaffinity(0))
pinned = next((number for number in range(os.sysconf('SC_NPROCESSORS_CONF')) if number != told), told)
os.sched_setaffinity(0, [pinned])
print(os.sched_getaffinity(0) == {pinned})
"#;
    let said = |arguments: &[&str]| {
        let text = output(&mut python(arguments, script));
        text.lines().map(str::to_string).collect::<Vec<_>>()
    };
    let host = std::thread::available_parallelism().unwrap().get();
    let (native, answered) = (said(&["--no-syscalls"]), said(&["--cpus", "1"]));
    let words = |line: &str| line.rsplit(' ').take(6).map(str::to_string).collect::<Vec<_>>();
    let sizes = |line: &str| line.split(']').next().unwrap().to_string();
    assert_eq!(sizes(&answered[0]), sizes(&native[0]));
    let [errors, other, process, thread, own, null] = <[String; 6]>::try_from(words(&answered[0])).unwrap();
    assert_eq!([null, errors], [(-14).to_string(), (-3).to_string()]);
    assert_eq!([own, thread, process], ["1", "1", "1"].map(String::from));
    assert_eq!(other, host.to_string(), "that of another process is the kernel's affair");
    assert_eq!(answered[1], "True", "whoever has pinned itself is left alone");
}

/// As in the kernel, a pointer to nowhere is EFAULT, and whoever gives it lives on.
fn pointers_that_cannot_be_written_to() {
    let script = r#"
gap = mmap.mmap(-1, 3 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(gap))
assert libc.munmap(ctypes.c_void_p(start + mmap.PAGESIZE), mmap.PAGESIZE) == 0
print([sysinfo(p) for p in (0, 8, 1 << 46, 2**64 - 64, start + mmap.PAGESIZE - 8, start + mmap.PAGESIZE, start)])
os._exit(0)
"#;
    let said = |arguments: &[&str]| output(&mut python(arguments, script));
    assert_eq!(said(&[]), said(&["--no-syscalls"]));
    assert_eq!(said(&[]), "[-14, -14, -14, -14, -14, -14, 0]\n");
}

/// Memory that a program may only read stays as it is, although whoever answers could write to it.
fn the_answer_does_not_reach_read_only_memory() {
    let script = r#"
page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
assert libc.mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, 1) == 0
print(sysinfo(address), affinity(0, 8, address), set(ctypes.string_at(address, mmap.PAGESIZE)))
os._exit(0)
"#;
    assert_eq!(output(&mut python(&["--cpus", "1"], script)), "-14 -14 {0}\n");
}

/// Callers that are killed in the call hold up nobody who calls afterwards.
fn callers_that_die() {
    let script = r#"
import random, signal, time
info = ctypes.create_string_buffer(112)
for attempt in range(300):
    child = os.fork()
    if child == 0:
        while True: sysinfo(info)
    time.sleep(random.random() / 200)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
assert sysinfo(info) == 0
print(struct.unpack_from('Q', info, 32)[0] >> 20)
"#;
    assert_eq!(output(&mut python(&["--memory", "100M"], script)), "100\n");
}

/// Every one of many calls that are made at once, from threads whose memory others write to, is answered.
fn threads_that_ask_at_once() {
    let script = r#"
infos = [ctypes.create_string_buffer(112) for _ in range(16)]
totals = set()
def ask(info):
    for _ in range(200):
        assert sysinfo(info) == 0
        totals.add(struct.unpack_from('Q', info, 32)[0] >> 20)
threads = [threading.Thread(target=ask, args=[info]) for info in infos]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(totals)
"#;
    assert_eq!(output(&mut python(&["--memory", "100M"], script)), "{100}\n");
}

/// Where the kernel takes no filter, that is said once, and the program runs.
fn a_filter_that_is_refused() {
    // Only one filter of a process can have a listener.
    let mut command = run_command(&["--"]);
    command.arg(crate::common::cgprocfs_path()).args(["run", "--", "nproc"]);
    let output = finish(command.stdin(Stdio::null()));
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("are not answered").count(), 1, "{said}");
    assert!(String::from_utf8(output.stdout).unwrap().trim().parse::<usize>().is_ok());
}

/// A program whose words have 32 bits gets a structure of these.
fn a_program_of_32_bits() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sysinfo32");
    fs::write(&path, program_of_32_bits()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let words = |arguments: &[&str]| {
        let output = finish(run_command(arguments).args(["--memory", "64M", "--"]).arg(&path));
        assert_eq!(output.stdout.len(), 64, "{}", stderr(&output));
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        output.stdout.chunks_exact(4).map(word).collect::<Vec<_>>()
    };
    let own = words(&[]);
    assert_eq!(u64::from(own[4]) * u64::from(own[13]), 64 << 20, "{own:?}");
    let native = words(&["--no-syscalls"]);
    let total = field(&fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal") << 10;
    assert_eq!(u64::from(native[4]) * u64::from(native[13]), total, "{native:?}");
}

/// A file that asks for `struct sysinfo`, prints it, and ends: an ELF header, one segment, and the code.
fn program_of_32_bits() -> Vec<u8> {
    const START: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    #[rustfmt::skip]
    let code = [
        0x83, 0xec, 0x40,               // sub esp, 64
        0x89, 0xe3,                     // mov ebx, esp
        0xb8, 116, 0, 0, 0,             // mov eax, sysinfo
        0xcd, 0x80,                     // int 0x80
        0xba, 64, 0, 0, 0,              // mov edx, 64
        0x89, 0xe1,                     // mov ecx, esp
        0xbb, 1, 0, 0, 0,               // mov ebx, 1
        0xb8, 4, 0, 0, 0,               // mov eax, write
        0xcd, 0x80,                     // int 0x80
        0x31, 0xdb,                     // xor ebx, ebx
        0xb8, 1, 0, 0, 0,               // mov eax, exit
        0xcd, 0x80,                     // int 0x80
    ];
    let size = HEADERS + u32::try_from(code.len()).unwrap();
    let mut file = b"\x7fELF\x01\x01\x01".to_vec();
    file.resize(16, 0);
    let short =
        |file: &mut Vec<u8>, numbers: &[u16]| file.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
    let long =
        |file: &mut Vec<u8>, numbers: &[u32]| file.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
    // Executable, for i386.
    short(&mut file, &[2, 3]);
    long(&mut file, &[1, START + HEADERS, 52, 0, 0]);
    short(&mut file, &[52, 32, 1, 0, 0, 0]);
    // One segment that is loaded, to be read and executed.
    long(&mut file, &[1, 0, START, START, size, size, 5, 0x1000]);
    file.extend(code);
    file
}
