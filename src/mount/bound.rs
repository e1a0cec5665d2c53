//! Whether somebody has bound an anchor. As long as that is so, nothing may be unmounted from anchors.

use super::mount_table;
use cgprocfs_core::parse::mountinfo::Mount;
use cgprocfs_core::parse::pid::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long reading the mount tables may take. It takes a tenth of a millisecond for each process, much more
/// where processors are wanted by others, and nobody is served less meanwhile.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How many bytes of one mount table are read: a tenant can mount as much as the kernel lets it.
const MAX_TABLE_BYTES: u64 = 4 << 20;

/// Whether a mount elsewhere gets what is mounted on the anchors in `directory`, in this mount namespace or
/// in that of any visible process. Where that can't be told, the answer is yes.
///
/// A namespace that was cloned from this one, as many services have, has a copy of every anchor in its place.
/// Those do not count as bound.
pub(super) fn by_somebody(directory: &Path) -> bool {
    let look = || -> io::Result<bool> {
        let own = mount_table::own()?;
        let all = mount_tables()?;
        let others: Vec<_> = all.tables.into_iter().map(|(_, table)| table).collect();
        Ok(!all.unread.is_empty()
            || !all.is_complete
            || is_bound(directory.as_os_str().as_bytes(), &own, &others))
    };
    look().unwrap_or(true)
}

/// The mount tables of all mount namespaces.
pub struct MountTables {
    /// Those that were read, each with the process that it was read from.
    pub tables: Vec<(Pid, Vec<Mount>)>,
    /// Processes in namespaces whose tables are too large, or are not understood.
    pub unread: Vec<Pid>,
    /// Whether there was time for all.
    pub is_complete: bool,
}

/// Reads the mount tables of all mount namespaces, this one's included.
///
/// # Errors
/// Where procfs can't be listed.
pub fn mount_tables() -> io::Result<MountTables> {
    let deadline = Instant::now() + READ_TIMEOUT;
    let mut all = MountTables { tables: Vec::new(), unread: Vec::new(), is_complete: true };
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if Instant::now() > deadline {
            all.is_complete = false;
            break;
        }
        // A process that has ended has bound nothing.
        match table_of(&name, &mut seen)
            .and_then(|text| text.map(|text| mount_table::parse(&text)).transpose())
        {
            Ok(table) => all.tables.extend(table.map(|table| (pid, table))),
            Err(_) => all.unread.push(pid),
        }
    }
    Ok(all)
}

/// The mount table of a process, unless one that begins with the same mount was seen: mounts are numbered for
/// the whole host. Asking which namespace the process is in would be simpler, but has to wait while it is in
/// the middle of an exec.
fn table_of(pid: &OsStr, seen: &mut BTreeSet<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    let Ok(mut file) = File::open(Path::new("/proc").join(pid).join("mountinfo")) else { return Ok(None) };
    let mut text = vec![0; 4096];
    let Ok(length) = file.read(&mut text) else { return Ok(None) };
    text.truncate(length);
    let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default().to_vec();
    if first.is_empty() || !seen.insert(first) {
        return Ok(None);
    }
    file.take(MAX_TABLE_BYTES).read_to_end(&mut text)?;
    if text.len() as u64 >= MAX_TABLE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(Some(text))
}

/// Peer groups, and those that get from them and pass on, of all `mounts` there are.
pub fn receivers<'m>(
    mut groups: BTreeSet<u64>,
    mounts: impl Iterator<Item = &'m Mount> + Clone,
) -> BTreeSet<u64> {
    loop {
        let gets = mounts.clone().filter(|mount| mount.master.is_some_and(|master| groups.contains(&master)));
        let more: Vec<u64> =
            gets.filter_map(|mount| mount.shared).filter(|group| !groups.contains(group)).collect();
        if more.is_empty() {
            return groups;
        }
        groups.extend(more);
    }
}

/// Whether a mount in `tables` gets what is mounted on the anchors in `directory`, of which `own` is the
/// table.
fn is_bound(directory: &[u8], own: &[Mount], tables: &[Vec<Mount>]) -> bool {
    let is_anchor = |mount: &&Mount| {
        let rest = mount.mount_point.strip_prefix(directory);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    let anchors = own.iter().filter(is_anchor).filter_map(|mount| mount.shared).collect();
    let groups = receivers(anchors, tables.iter().flatten());
    let own: BTreeMap<u64, &Mount> = own.iter().map(|mount| (mount.id, mount)).collect();
    let home =
        own.values().find(|mount| mount.mount_point == directory).and_then(|lowest| own.get(&lowest.parent));
    tables.iter().any(|table| {
        let table: BTreeMap<u64, &Mount> = table.iter().map(|mount| (mount.id, mount)).collect();
        let gets = |mount: &Mount| {
            [mount.shared, mount.master].into_iter().flatten().any(|group| groups.contains(&group))
        };
        let is_in_place = |mount: &Mount| {
            let mut below = mount;
            // A table may have changed while it was read, so there are no more steps than mounts.
            for _ in 0..table.len() {
                let Some(parent) = table.get(&below.parent) else { return false };
                let is_home = |home: &&Mount| {
                    (&parent.device, &parent.root, &parent.mount_point)
                        == (&home.device, &home.root, &home.mount_point)
                };
                if below.mount_point == directory && home.is_some_and(is_home) {
                    return true;
                }
                if !gets(parent) && parent.mount_point != directory {
                    return false;
                }
                below = parent;
            }
            false
        };
        table.values().any(|mount| gets(mount) && !is_in_place(mount))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "27 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
        50 27 0:50 / /run/c rw shared:5 - tmpfs cgprocfs rw\n\
        51 50 0:51 / /run/c/live rw - fuse.cgprocfs cgprocfs rw\n\
        52 50 0:21 /meminfo /run/c/proc/meminfo rw shared:6 - proc proc rw\n\
        53 52 0:51 /proc/meminfo /run/c/proc/meminfo rw shared:7 - fuse.cgprocfs cgprocfs rw\n";
    /// The table of a service in a mount namespace of its own.
    const COPY: &str = "127 1 254:0 / / rw shared:101 master:1 - ext4 /dev/vda rw\n\
        150 127 0:50 / /run/c rw shared:105 master:5 - tmpfs cgprocfs rw\n\
        152 150 0:21 /meminfo /run/c/proc/meminfo rw shared:106 master:6 - proc proc rw\n\
        153 152 0:51 /proc/meminfo /run/c/proc/meminfo rw shared:107 master:7 - fuse.cgprocfs cgprocfs rw\n";

    fn is_bound_in(tables: &[&str]) -> bool {
        let parse = |text: &str| mount_table::parse(text.as_bytes()).unwrap();
        let tables: Vec<_> = tables.iter().copied().map(parse).collect();
        is_bound(b"/run/c", &parse(OWN), &tables)
    }

    #[test]
    fn copies_in_place_do_not_count() {
        assert!(!is_bound_in(&[OWN]));
        assert!(!is_bound_in(&[OWN, COPY]));
        let unrelated = "1 0 0:9 / / rw - overlay x rw\n2 1 0:21 / /proc rw shared:3 - proc proc rw\n";
        assert!(!is_bound_in(&[OWN, unrelated]));
    }

    #[test]
    fn binds_elsewhere_count() {
        let bind = |groups: &str| {
            format!(
                "1 0 0:9 / / rw - overlay x rw\n2 1 0:21 / /proc rw - proc proc rw\n\
                 3 2 0:51 /proc/meminfo /proc/meminfo rw {groups} - fuse.cgprocfs cgprocfs rw\n"
            )
        };
        assert!(is_bound_in(&[OWN, &bind("master:7")]));
        assert!(is_bound_in(&[OWN, &bind("shared:7")]));
        assert!(!is_bound_in(&[OWN, &bind("")]), "it would get nothing anyway");
        // By way of a service's copy.
        assert!(is_bound_in(&[OWN, COPY, &bind("master:107")]));
        assert!(is_bound_in(&[&bind("master:107"), COPY, OWN]));
        // In this very namespace.
        let here = format!("{OWN}60 27 0:51 /proc/meminfo /mnt rw shared:7 - fuse.cgprocfs cgprocfs rw\n");
        assert!(is_bound_in(&[&here]));
        // The whole directory, at the same path even.
        let directory = "1 0 0:9 / / rw - overlay x rw\n3 1 0:50 / /run/c rw master:5 - tmpfs cgprocfs rw\n";
        assert!(is_bound_in(&[OWN, directory]));
    }
}
