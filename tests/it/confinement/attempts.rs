//! What this program does where it was started as a confined process: tries one thing, and says how it went.

use cgprocfs::confinement::sandbox::{self, Refusal};
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use nix::sys::uio::{RemoteIoVec, process_vm_writev};
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};
use rustix::net::{AddressFamily, SocketType};
use rustix::thread::{CapabilitySet, LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

pub(super) const TRY: &str = "--try";

pub(super) const WRITE_MEMORY_FILE: &str = "write to /proc/PID/mem";

/// What no list of system calls sees the flags of.
pub(super) const OPENAT2_MEMORY_FILE: &str = "write to /proc/PID/mem, opened by openat2";

/// Tries what this process was started to try, if it was.
pub fn tried() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[..] {
        [_, mark, rest @ ..] if mark == TRY => Some(try_it(rest)),
        _ => None,
    }
}

/// Tries one thing, `confined` or `free`, and says how it went. What it needs is prepared before.
fn try_it(arguments: &[String]) -> ExitCode {
    let [how, what, target, address, directory] = arguments else { panic!("{arguments:?}") };
    if let "target" | "confined target" = how.as_str() {
        if how == "confined target" {
            sandbox::keep_only(CapabilitySet::empty()).unwrap();
        }
        // To be written to, traced and killed.
        let memory = Box::new(0_u64);
        println!("{:p}", &raw const *memory);
        io::stdin().read_line(&mut String::new()).unwrap();
        return ExitCode::SUCCESS;
    }
    let target = Pid::from_raw(target.parse().unwrap());
    let address = usize::from_str_radix(address.trim_start_matches("0x"), 16).unwrap();
    let directory = Path::new(directory);
    let file = directory.join("file");
    // Only root gets one.
    let tree = || {
        let tree = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_create(&tree)?;
        rustix::mount::fsmount(&tree, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    let tree = tree();
    let [cgroup, mounts] = ["cgroup", "mnt"].map(|name| File::open(format!("/proc/self/ns/{name}")).unwrap());
    match how.as_str() {
        "server" | "released server" => {
            let refusal = if how == "server" { Refusal::OF_BUILD } else { Refusal::Error };
            sandbox::keep_only(sandbox::SERVER_CAPABILITIES).unwrap();
            sandbox::restrict_server(refusal).unwrap();
        }
        "namespace reader" => {
            sandbox::keep_only(CapabilitySet::SYS_ADMIN).unwrap();
            sandbox::restrict_namespace_reader(Refusal::OF_BUILD).unwrap();
        }
        _ => {}
    }
    let tried: io::Result<()> = match what.as_str() {
        "write another process's memory" => {
            let remote = [RemoteIoVec { base: address, len: 8 }];
            process_vm_writev(target, &[IoSlice::new(&[1; 8])], &remote).map(drop).map_err(Into::into)
        }
        WRITE_MEMORY_FILE => {
            let file = File::options().write(true).open(format!("/proc/{target}/mem"));
            file.and_then(|file| write_at(&file, address))
        }
        OPENAT2_MEMORY_FILE => {
            let (path, flags) = (format!("/proc/{target}/mem"), OFlags::RDWR | OFlags::CLOEXEC);
            let opened =
                rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), ResolveFlags::empty());
            opened.map_err(Into::into).and_then(|file| write_at(&File::from(file), address))
        }
        "trace" => nix::sys::ptrace::attach(target).map_err(Into::into),
        "make a process" => Command::new("/bin/true").status().map(drop),
        "execute" => Err(Command::new("/bin/echo").arg("done").exec()),
        "signal" => nix::sys::signal::kill(target, nix::sys::signal::SIGCONT).map_err(Into::into),
        "mount" => nix::mount::mount(Some("x"), directory, Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .map_err(Into::into),
        "unmount" => nix::mount::umount2("/proc", MntFlags::MNT_DETACH).map_err(Into::into),
        "open a file system" => {
            rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map(drop).map_err(Into::into)
        }
        "move a mount" => {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            rustix::mount::move_mount(tree.unwrap(), "", rustix::fs::CWD, directory, flags)
                .map_err(Into::into)
        }
        "enter a namespace" => {
            move_into_link_name_space(cgroup.as_fd(), Some(LinkNameSpaceType::ControlGroup))
                .map_err(Into::into)
        }
        "enter a mount namespace" => {
            move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount)).map_err(Into::into)
        }
        "make a namespace" => nix::sched::unshare(CloneFlags::CLONE_NEWUTS).map_err(Into::into),
        "network socket" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "netlink socket" => {
            rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None).map(drop).map_err(Into::into)
        }
        "unix socket" => UnixDatagram::unbound().map(drop),
        "open for writing" => File::options().write(true).open("/etc/passwd").map(drop),
        "open a setting for writing" => {
            File::options().write(true).open("/proc/sys/kernel/core_pattern").map(drop)
        }
        "truncate by opening" => rustix::fs::open(&file, OFlags::RDONLY | OFlags::TRUNC, Mode::empty())
            .map(drop)
            .map_err(Into::into),
        "create" => rustix::fs::open(directory.join("new"), OFlags::RDONLY | OFlags::CREATE, Mode::RUSR)
            .map(drop)
            .map_err(Into::into),
        "remove" => fs::remove_file(&file),
        "change a mode" => fs::set_permissions(&file, fs::Permissions::from_mode(0o600)),
        "make a thread" => std::thread::Builder::new().spawn(|| ()).map(|thread| thread.join().unwrap()),
        "read a file" => fs::read("/etc/passwd").map(drop),
        "see a namespace" => {
            rustix::fs::readlinkat(rustix::fs::CWD, format!("/proc/{target}/ns/mnt"), Vec::new())
                .map(drop)
                .map_err(Into::into)
        }
        what => panic!("{what}"),
    };
    match tried {
        Ok(()) => println!("done"),
        Err(error) => println!("{error}"),
    }
    ExitCode::SUCCESS
}

/// By calls that the server has anyway.
fn write_at(mut file: &File, address: usize) -> io::Result<()> {
    file.seek(SeekFrom::Start(address as u64))?;
    file.write_all(&[1; 8])
}
