"""What a tenant may try on a view, each with the only answers that do no harm. Prints one line for each that got another."""

import ctypes
import errno
import fcntl
import mmap
import os
import signal
import struct
import sys

PATH, FIRST_LINE = sys.argv[1], sys.argv[2].encode() + b"\n"
LIBC = ctypes.CDLL(None, use_errno=True)
FD = os.open(PATH, os.O_RDONLY)


def check(name, call, *allowed):
    """`allowed` are values, or names of errors."""
    try:
        answer = call()
    except OSError as error:
        answer = errno.errorcode[error.errno]
    if answer not in allowed:
        print(f"{name}: {answer!r}, not {' or '.join(map(repr, allowed))}")


def libc(function, *arguments):
    result = getattr(LIBC, function)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), function)
    return result


def signal_of_child(body):
    """The signal that a child dies of in `body`; 0 if it does not."""
    pid = os.fork()
    if pid == 0:
        body()
        os._exit(0)
    return os.WTERMSIG(os.waitpid(pid, 0)[1])


def map_and_read():
    with mmap.mmap(FD, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ) as memory:
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        memory[0]


def through_a_pipe(move):
    out, into = os.pipe()
    try:
        moved = move(into)
        return os.read(out, moved)[: len(FIRST_LINE)] if moved else b""
    finally:
        os.close(out)
        os.close(into)


def with_io_uring():
    """One read of the file's start by io_uring: IORING_OP_READ, io_uring_enter(2) with one to submit and to wait for."""
    setup, enter, op_read, getevents, entries = 425, 426, 22, 1, 1
    params = (ctypes.c_uint32 * 30)()
    ring = LIBC.syscall(setup, entries, ctypes.byref(params))
    if ring < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    sq_tail, sq_array, cq_head, cqes = params[11], params[16], params[20], params[25]
    shared = mmap.MAP_SHARED
    sq = mmap.mmap(ring, 4096, shared, offset=0)
    cq = mmap.mmap(ring, 4096, shared, offset=0x8000000)
    sqes = mmap.mmap(ring, 4096, shared, offset=0x10000000)
    buffer = ctypes.create_string_buffer(len(FIRST_LINE))
    sqes[:64] = struct.pack("<BBHiQQI36x", op_read, 0, 0, FD, 0, ctypes.addressof(buffer), len(FIRST_LINE))
    sq[sq_array : sq_array + 4] = struct.pack("<I", 0)
    sq[sq_tail : sq_tail + 4] = struct.pack("<I", 1)
    if LIBC.syscall(enter, ring, 1, 1, getevents, None, 0) < 0:
        raise OSError(ctypes.get_errno(), "io_uring_enter")
    result = struct.unpack_from("<Qi", cq, cqes)[1]
    cq[cq_head : cq_head + 4] = struct.pack("<I", 1)
    os.close(ring)
    if result < 0:
        raise OSError(-result, "read")
    return buffer.raw[:result]


size = len(os.pread(FD, 1 << 20, 0))
for offset in (size, size + 1, 4096, 1 << 31, 1 << 40, (1 << 63) - (1 << 20)):
    check(f"pread at {offset}", lambda: os.pread(FD, 4096, offset), b"")
check("pread at the last offset", lambda: os.pread(FD, 4096, (1 << 63) - 1), b"", "EINVAL", "EOVERFLOW")
check("pread before the start", lambda: os.pread(FD, 4096, -1), "EINVAL")
check("pread of much", lambda: os.pread(FD, 1 << 30, 0)[: len(FIRST_LINE)], FIRST_LINE)
check("pread of nothing", lambda: os.pread(FD, 0, 0), b"")
check("lseek to the end", lambda: os.lseek(FD, 0, os.SEEK_END), 4096)
check("lseek for a hole", lambda: os.lseek(FD, 0, os.SEEK_HOLE), 0, 4096, "EINVAL")

check("private mmap", lambda: signal_of_child(map_and_read), signal.SIGBUS)
check("shared mmap", lambda: mmap.mmap(FD, 4096, mmap.MAP_SHARED, mmap.PROT_READ), "ENODEV")
check("sendfile", lambda: through_a_pipe(lambda into: os.sendfile(into, FD, 0, 4096)), FIRST_LINE, "EINVAL")
check("splice", lambda: through_a_pipe(lambda into: os.splice(FD, into, 4096, offset_src=0)), FIRST_LINE, "EINVAL")
check("io_uring", with_io_uring, FIRST_LINE, "ENOSYS", "EPERM")
check("readahead", lambda: libc("readahead", FD, ctypes.c_long(0), 4096), 0, "EINVAL")
check("O_DIRECT", lambda: os.close(os.open(PATH, os.O_RDONLY | os.O_DIRECT)), None, "EINVAL")

for flags in ("O_WRONLY", "O_RDWR", "O_APPEND|O_WRONLY", "O_TRUNC|O_WRONLY", "O_CREAT|O_WRONLY"):
    bits = sum(getattr(os, flag) for flag in flags.split("|"))
    check(f"open for {flags}", lambda: os.open(PATH, bits), "EROFS", "EACCES")
check("write", lambda: os.write(FD, b"x"), "EBADF")
check("pwrite", lambda: os.pwrite(FD, b"x", 0), "EBADF")
check("ftruncate", lambda: os.ftruncate(FD, 0), "EINVAL")
check("truncate", lambda: os.truncate(PATH, 0), "EROFS", "EACCES")
check("fallocate", lambda: os.posix_fallocate(FD, 0, 1), "EBADF")
check("chmod", lambda: os.chmod(PATH, 0o777), "EROFS")
check("fchmod", lambda: os.fchmod(FD, 0o777), "EROFS")
check("chown", lambda: os.chown(PATH, 1, 1), "EROFS")
check("utime", lambda: os.utime(PATH, (0, 0)), "EROFS")
check("unlink", lambda: os.unlink(PATH), "EROFS", "EPERM")
check("rename", lambda: os.rename(PATH, PATH + ".x"), "EROFS", "ENOENT")
check("link", lambda: os.link(PATH, "/tmp/x"), "EXDEV", "EROFS")
check("setxattr", lambda: os.setxattr(PATH, "user.x", b"x" * 65536), "EROFS", "ENOTSUP")
check("trusted setxattr", lambda: os.setxattr(FD, "trusted.x", b"x"), "EROFS", "ENOTSUP")
check("getxattr", lambda: os.getxattr(PATH, "user.x"), "ENOTSUP", "ENODATA")
check("listxattr", lambda: os.listxattr(PATH), [], "ENOTSUP")
check("removexattr", lambda: os.removexattr(PATH, "user.x"), "EROFS", "ENOTSUP")

for number in (0, 0x5401, 0x4004E500, 0xC0FFEE00, 0xFFFFFFFF):
    check(f"ioctl {number:#x}", lambda: fcntl.ioctl(FD, number, b"\0" * 64), "ENOTTY", "EFAULT", "EBADF")
FIONREAD = 0x541B
check("ioctl FIONREAD", lambda: len(fcntl.ioctl(FD, FIONREAD, b"\0" * 4)), 4, "ENOTTY")
check("shared lock", lambda: fcntl.lockf(FD, fcntl.LOCK_SH | fcntl.LOCK_NB), None, "ENOLCK")
check("write lock", lambda: fcntl.lockf(FD, fcntl.LOCK_EX | fcntl.LOCK_NB), "EBADF")
check("flock", lambda: fcntl.flock(FD, fcntl.LOCK_EX | fcntl.LOCK_NB), None)
check("lease of a reader", lambda: fcntl.fcntl(FD, fcntl.F_SETLEASE, fcntl.F_RDLCK), "EACCES")
check("lease of a writer", lambda: fcntl.fcntl(FD, fcntl.F_SETLEASE, fcntl.F_WRLCK), "EACCES")
check("signals of I/O", lambda: fcntl.fcntl(FD, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK), 0)
check("read without waiting", lambda: os.pread(FD, len(FIRST_LINE), 0), FIRST_LINE)
check("fsync", lambda: os.fsync(FD), None, "EINVAL", "EROFS")
check("fadvise", lambda: os.posix_fadvise(FD, 0, 0, os.POSIX_FADV_WILLNEED), None)

watch = libc("inotify_init")
check("inotify", lambda: libc("inotify_add_watch", watch, PATH.encode(), 0xFFF) > 0, True)
check("fanotify", lambda: libc("fanotify_init", 0, 0) >= 0, True, "EPERM")
check("read under watch", lambda: os.pread(FD, len(FIRST_LINE), 0), FIRST_LINE)

handle = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0) + b"\0" * 128, 136)
mount = ctypes.c_int()
check(
    "name_to_handle_at",
    lambda: libc("name_to_handle_at", -100, PATH.encode(), handle, ctypes.byref(mount), 0),
    0,
    "ENOTSUP",
    "EPERM",
)
check("still served", lambda: os.pread(os.open(PATH, os.O_RDONLY), len(FIRST_LINE), 0), FIRST_LINE)
