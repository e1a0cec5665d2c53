//! What every served file is.

use crate::error::ViewError;
use crate::snapshot::{CgroupFile, HostFile, Needs, Scope, Snapshot};

/// One served file.
pub trait View: Sync {
    /// Path below the mount point, such as `proc/meminfo`.
    fn path(&self) -> &'static str;

    /// The permission bits: those of the kernel's own file, without any for an owner alone.
    fn mode(&self) -> u16 {
        0o444
    }

    /// The size that the file claims; no text is longer. Programs that go by it read no further.
    fn claimed_size(&self) -> u64 {
        4096
    }

    /// Which parts of the snapshot the text is made from.
    fn needs(&self) -> Needs;

    /// The pressure file that a program may set a trigger on by writing to the view, if the view is one of
    /// pressure.
    fn pressure(&self) -> Option<CgroupFile> {
        None
    }

    /// The kernel's own file that a reader in no container is to get.
    fn host_file(&self) -> Option<HostFile> {
        None
    }

    /// Appends the file's text to `out`.
    ///
    /// # Errors
    /// Where the snapshot lacks a part that [`needs`](View::needs) asks for.
    fn text(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        match (self.host_file(), &snapshot.scope) {
            (Some(native), Scope::Host(_)) => self.host_text(snapshot.host_file(native)?, snapshot, out),
            _ => self.render(snapshot, out),
        }
    }

    /// The text for a reader in no container: the kernel's own, except for what depends on the reader's
    /// namespaces.
    ///
    /// # Errors
    /// As [`text`](View::text).
    fn host_text(&self, native: &[u8], _: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        out.extend_from_slice(native);
        Ok(())
    }

    /// The text that is not the kernel's own: for a reader in a container, and for others where there is no
    /// [`host_file`](View::host_file).
    ///
    /// # Errors
    /// As [`text`](View::text).
    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError>;
}
