//! What runs where `lxcfs` is called: its command line, of versions 5 to 7, on top of `cgprocfs mount`.

use super::failure::Failure;
use super::mount;
use clap::{ArgAction, Parser};
use rustix::fs::{FlockOperation, fcntl_lock};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The name by which this program stands in for lxcfs, as a command of its own and as a subcommand.
pub(super) const NAME: &str = "lxcfs";

/// Serve the views in one tree, with the options of lxcfs
#[derive(Parser)]
#[command(name = NAME, disable_version_flag = true, args_override_self = true, max_term_width = 100)]
pub(super) struct Arguments {
    /// An existing directory, such as /var/lib/lxcfs
    #[arg(required_unless_present = "version")]
    mount_point: Option<PathBuf>,
    /// Accepted: the variable RUST_LOG says what is logged
    #[arg(short, long)]
    debug: bool,
    /// Accepted: it never goes to the background
    #[arg(short, long)]
    foreground: bool,
    /// Accepted: proc/loadavg is always the container's
    #[arg(short = 'l', long)]
    enable_loadavg: bool,
    /// Accepted: no option of FUSE makes a difference
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Option<String>,
    /// The file for the process id, which is also locked
    #[arg(short, long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Not supported: swap is shown as the container's limits have it
    #[arg(short = 'u', long)]
    disable_swap: bool,
    /// Not supported: zswap is shown as the container has it
    #[arg(short = 'z', long)]
    disable_zswap: bool,
    /// Accepted
    #[arg(short = 's', hide = true)]
    single: bool,
    /// Count CPUs by bandwidth, too; without it by the cpuset alone
    #[arg(long)]
    enable_cfs: bool,
    /// Accepted: processes are always told apart
    #[arg(long)]
    enable_pidfd: bool,
    /// Not supported: no cgroup file system is emulated
    #[arg(long)]
    enable_cgroup: bool,
    /// Let containers wait for their own pressure
    #[arg(long)]
    enable_psi_poll: bool,
    /// Where the process id and the anchors are
    #[arg(long, value_name = "DIRECTORY", default_value = "/run")]
    runtime_dir: PathBuf,
    /// Print the version
    #[arg(short = 'v', long, action = ArgAction::SetTrue)]
    version: bool,
}

/// Whether the program was called by that name.
pub(super) fn is_called_so() -> bool {
    let name = std::env::args_os().next();
    name.is_some_and(|name| Path::new(&name).file_name() == Some(NAME.as_ref()))
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.version {
        println!("cgprocfs {} in place of lxcfs", env!("CARGO_PKG_VERSION"));
        return Ok(ExitCode::SUCCESS);
    }
    let Some(mount_point) = &arguments.mount_point else { return Ok(ExitCode::SUCCESS) };
    for (is_given, what) in [
        (
            arguments.disable_swap,
            "--disable-swap is not supported: swap is shown as the container's limits have it",
        ),
        (arguments.disable_zswap, "--disable-zswap is not supported: zswap is shown as the container has it"),
        (arguments.enable_cgroup, "--enable-cgroup is not supported: mount cgroup2 in the container instead"),
    ] {
        if is_given {
            log::warn!("{what}");
        }
    }
    let pid_file = arguments.pidfile.clone().unwrap_or_else(|| arguments.runtime_dir.join("lxcfs.pid"));
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            Failure::Other(format!("lxcfs runs already, by {}; stop it first", pid_file.display()))
        }
        _ => Failure::Other(format!(
            "cannot write {}: {error}; name another file by --pidfile",
            pid_file.display()
        )),
    };
    let _locked = write_pid(&pid_file).map_err(cannot)?;
    let options = mount::Arguments::of_words(mount_options(arguments, mount_point));
    let done = options.map_err(|e| Failure::Other(e.to_string())).and_then(|options| mount::run(&options));
    let _ = fs::remove_file(&pid_file);
    done
}

/// The options of `cgprocfs mount` for the same. A supervisor keeps the mount while the program that serves
/// is replaced.
fn mount_options(arguments: &Arguments, mount_point: &Path) -> Vec<OsString> {
    let mut options: Vec<OsString> = ["mount", "--supervise", "--layout=lxcfs"].map(Into::into).to_vec();
    options.extend(["--runtime-dir".into(), arguments.runtime_dir.join(NAME).into()]);
    options.extend(["--cpu-view".into(), if arguments.enable_cfs { "quota" } else { "cpuset" }.into()]);
    if arguments.enable_psi_poll {
        options.push("--triggers".into());
    }
    options.extend(["--".into(), mount_point.into()]);
    options
}

/// Writes this process's id to a file that it keeps locked, unless somebody else has.
fn write_pid(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    // As lxcfs itself does.
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive)?;
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_all_versions() {
        let options = |line: &str| {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            let options = mount_options(&arguments, arguments.mount_point.as_deref().unwrap());
            options.iter().map(|word| word.to_str().unwrap().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            options("lxcfs -l --enable-cfs --enable-pidfd -o nonempty /var/lib/lxcfs"),
            "mount --supervise --layout=lxcfs --runtime-dir /run/lxcfs --cpu-view quota -- /var/lib/lxcfs"
        );
        assert_eq!(
            options(
                "lxcfs -d -f -f -l -l -o a -o b --disable-zswap -z --enable-cgroup --pidfile /p --debug --foreground /x"
            ),
            "mount --supervise --layout=lxcfs --runtime-dir /run/lxcfs --cpu-view cpuset -- /x"
        );
        assert_eq!(
            options("lxcfs -f -p /run/x.pid --runtime-dir /run/x -u -s --enable-psi-poll /x"),
            "mount --supervise --layout=lxcfs --runtime-dir /run/x/lxcfs --cpu-view cpuset --triggers -- /x"
        );
    }
}
