//! `cgprocfs cdi`: the files as devices for docker, podman and containerd.

use super::failure::Failure;
use super::views::ViewsArgument;
use crate::containers::bind::DIRECTORY;
use crate::containers::cdi::{FILE, Specification};
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Describe the files to docker, podman and containerd as devices: `--device cgprocfs.dev/view=all`
///
/// The device `all` is for containers of applications, `system` for those that have an init of their own, and
/// there is one for each view. Engines notice the file by themselves.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Where the daemon mounts
    #[arg(default_value = DIRECTORY)]
    directory: PathBuf,
    /// The file to write; `-` prints it
    #[arg(long, value_name = "FILE", default_value = FILE)]
    output: PathBuf,
    #[command(flatten)]
    views: ViewsArgument,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { directory, output, views } = arguments;
    let program = std::env::current_exe()
        .map_err(|e| Failure::Other(format!("cannot find this program: {e}; start it by its path")))?;
    let specification = Specification::new(directory, &views.get(), &program);
    if specification.is_empty() {
        return Err(Failure::Other(format!(
            "no view is at {}; start the daemon first, or name the directory that it was started with",
            directory.display()
        )));
    }
    let text = serde_json::to_string_pretty(&specification).unwrap_or_default() + "\n";
    let written = match output.as_os_str() == "-" {
        true => io::stdout().write_all(text.as_bytes()),
        false => replace(output, &text),
    };
    written.map_err(|e| {
        let output = output.display();
        Failure::Other(format!("cannot write {output}: {e}; name another file by --output"))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that others may be reading, and that everybody may read whatever the umask is.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A bare name is in the current directory.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    }
    let mut new = path.as_os_str().to_owned();
    // Engines take files of other names for no specification.
    new.push(".new");
    let new = Path::new(&new);
    let written = fs::write(new, text)
        .and_then(|()| fs::set_permissions(new, Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(new, path));
    written.inspect_err(|_| drop(fs::remove_file(new)))
}
