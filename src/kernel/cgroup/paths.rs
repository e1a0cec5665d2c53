//! Paths of cgroups.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A way to a cgroup: a directory, and a path from there.
pub(crate) type Place<'p> = (BorrowedFd<'p>, &'p Path);

/// A path of more levels keeps open its lowest alone, and has the others opened for each reading: nobody nests so deeply
/// but to use up our files.
pub(crate) const MOST_KEPT: usize = 32;

/// Whether a path has more levels than are kept open.
pub(crate) fn is_deep(path: &[u8]) -> bool {
    path.iter().filter(|&&byte| byte == b'/').count() > MOST_KEPT
}

/// What to open below a hierarchy's mount point.
pub(crate) fn relative(path: &[u8]) -> &Path {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    Path::new(OsStr::from_bytes(if path.is_empty() { b"." } else { path }))
}

/// Whether `path` is `ancestor` or below it; both begin with a slash and end without one.
pub(crate) fn is_at_or_below(path: &[u8], ancestor: &[u8]) -> bool {
    match path.strip_prefix(ancestor) {
        Some(rest) => rest.is_empty() || rest.starts_with(b"/") || ancestor == b"/",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_of_a_name_is_no_ancestor() {
        assert!(is_at_or_below(b"/a/b", b"/a"));
        assert!(is_at_or_below(b"/a", b"/a"));
        assert!(is_at_or_below(b"/a", b"/"));
        assert!(!is_at_or_below(b"/ab", b"/a"));
        assert!(!is_at_or_below(b"/a", b"/a/b"));
    }
}
