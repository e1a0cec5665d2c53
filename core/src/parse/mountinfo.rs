//! `/proc/PID/mountinfo` (`proc_pid_mountinfo`(5)): the mount table.

use super::{ParseError, decimal, lines};

/// One mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number, for as long as it is mounted.
    pub id: u64,
    /// The number of the mount that it lies on.
    pub parent: u64,
    /// Number of the superblock's device, as in `0:25`.
    pub device: Vec<u8>,
    /// Path, within the file system, of what is mounted here; `/` for all of it.
    pub root: Vec<u8>,
    /// Where it is mounted, as seen from the process's root.
    pub mount_point: Vec<u8>,
    /// Number of its peer group, whose members have what is mounted on any of them (`mount_namespaces`(7)).
    pub shared: Option<u64>,
    /// Number of the peer group that it gets from, but gives nothing to, what is mounted there.
    pub master: Option<u64>,
    /// Type of the file system, with its subtype: `cgroup2`, `fuse.cgprocfs`.
    pub fs_type: Vec<u8>,
    /// What was mounted, as whoever mounted it named it.
    pub source: Vec<u8>,
    /// Options of the superblock, comma-separated; those of a v1 cgroup hierarchy name its controllers.
    pub super_options: Vec<u8>,
}

impl Mount {
    /// The mounts of the file, in its order: a later one may lie over an earlier one.
    ///
    /// # Errors
    /// [`ParseError::MalformedLine`] where a line lacks one of the fields.
    pub fn parse_all(text: &[u8]) -> Result<Vec<Self>, ParseError> {
        lines(text)?.map(mount).collect()
    }

    /// Whether the superblock has `option`.
    #[must_use]
    pub fn has_super_option(&self, option: &str) -> bool {
        self.super_options.split(|&b| b == b',').any(|name| name == option.as_bytes())
    }
}

/// The uppermost of the mounts on `mount_point`.
#[must_use]
pub fn uppermost<'t>(table: &'t [Mount], mount_point: &[u8]) -> Option<&'t Mount> {
    let mut here = table.iter().filter(|mount| mount.mount_point == mount_point);
    let is_covered = |mount: &Mount| {
        table.iter().any(|other| other.parent == mount.id && other.mount_point == mount_point)
    };
    here.find(|mount| !is_covered(mount))
}

fn mount(line: &[u8]) -> Result<Mount, ParseError> {
    let mut fields = line.split(|&b| b == b' ');
    let mut number = || fields.next().and_then(|field| decimal(field).ok()).ok_or(ParseError::MalformedLine);
    let (id, parent) = (number()?, number()?);
    let device = fields.next().ok_or(ParseError::MalformedLine)?;
    let root = fields.next().ok_or(ParseError::MalformedLine)?;
    let mount_point = fields.next().ok_or(ParseError::MalformedLine)?;
    // Options and any number of tags follow up to a dash.
    let (mut shared, mut master, mut has_ended) = (None, None, false);
    for field in fields.by_ref() {
        let group = |tag: &[u8]| field.strip_prefix(tag).and_then(|number| decimal(number).ok());
        shared = shared.or_else(|| group(b"shared:"));
        master = master.or_else(|| group(b"master:"));
        has_ended = field == b"-";
        if has_ended {
            break;
        }
    }
    if !has_ended {
        return Err(ParseError::MalformedLine);
    }
    let fs_type = fields.next().ok_or(ParseError::MalformedLine)?;
    let source = fields.next().unwrap_or_default();
    let super_options = fields.next().unwrap_or_default();
    Ok(Mount {
        id,
        parent,
        device: unescape(device),
        root: unescape(root),
        mount_point: unescape(mount_point),
        shared,
        master,
        fs_type: unescape(fs_type),
        source: unescape(source),
        super_options: unescape(super_options),
    })
}

/// Undoes `mangle()` of `fs/proc_namespace.c`: space, tab, newline and backslash stand as three octal
/// digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                bytes.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_number_of_tags() {
        let text = b"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
            41 31 0:38 /a\\040b /mnt/x\\134y rw shared:1 master:2 propagate_from:3 - cgroup2 none rw,nsdelegate\n";
        let mounts = Mount::parse_all(text).unwrap();
        assert_eq!(mounts[0].mount_point, b"/sys/fs/cgroup/memory");
        assert!(mounts[0].has_super_option("memory"));
        assert!(!mounts[0].has_super_option("mem"));
        assert_eq!((mounts[1].id, mounts[1].parent, &*mounts[1].source), (41, 31, &b"none"[..]));
        assert_eq!(mounts[1].root, b"/a b");
        assert_eq!(mounts[1].mount_point, b"/mnt/x\\y");
        assert_eq!(mounts[1].fs_type, b"cgroup2");
        assert_eq!((mounts[0].shared, mounts[0].master), (None, None));
        assert_eq!((mounts[1].shared, mounts[1].master), (Some(1), Some(2)));
    }

    #[test]
    fn what_lies_on_another_is_uppermost() {
        let text = b"35 30 0:5 / /a rw - tmpfs x rw\n38 36 0:7 / /a rw - tmpfs z rw\n\
            36 35 0:6 / /a rw - tmpfs y rw\n37 36 0:8 / /a/b rw - tmpfs w rw\n";
        let table = Mount::parse_all(text).unwrap();
        assert_eq!(uppermost(&table, b"/a").map(|mount| mount.id), Some(38));
        assert_eq!(uppermost(&table, b"/a/b").map(|mount| mount.id), Some(37));
        assert_eq!(uppermost(&table, b"/b"), None);
    }

    #[test]
    fn malformed_lines_are_errors() {
        for text in [
            &b"1 2 3\n"[..],
            b"1 2 0:3 / /x rw cgroup cgroup rw\n",
            b"1 2 0:3 / /x rw -\n",
            b"x 2 0:3 / /x rw - a b c\n",
        ] {
            assert_eq!(Mount::parse_all(text), Err(ParseError::MalformedLine));
        }
    }
}
