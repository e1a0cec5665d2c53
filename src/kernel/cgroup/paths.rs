//! Paths of cgroups in a hierarchy.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How many levels of a path are kept open at most. Of a deeper path only the lowest is, and the others are
/// opened for each reading: nobody nests so deeply except to use up our files.
pub(crate) const MAX_KEPT_LEVELS: usize = 32;

/// Whether a path has more levels than are kept open.
pub(crate) fn is_deep(path: &[u8]) -> bool {
    path.iter().filter(|&&byte| byte == b'/').count() > MAX_KEPT_LEVELS
}

/// The path to open from a hierarchy's mount point.
pub(crate) fn relative(path: &[u8]) -> &Path {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    Path::new(OsStr::from_bytes(if path.is_empty() { b"." } else { path }))
}

/// Whether `path` is `ancestor` or below it: both begin with a slash and end without one.
pub(crate) fn is_at_or_below(path: &[u8], ancestor: &[u8]) -> bool {
    match path.strip_prefix(ancestor) {
        Some(rest) => rest.is_empty() || rest.starts_with(b"/") || ancestor == b"/",
        None => false,
    }
}

/// The last name of a path; empty for the root.
pub(crate) fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or_default()
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
