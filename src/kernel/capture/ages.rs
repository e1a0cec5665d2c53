//! Asks for the ages of processes, which may block.

use crate::kernel::identity::resolver::share_pid_namespace;
use crate::kernel::procfs::Procfs;
use cgprocfs_core::parse::pid::Pid;
use std::collections::BTreeSet;
use std::sync::mpsc;
use std::thread;

/// The fields of `/proc/PID/stat` that are copied, by their numbers in proc_pid_stat(5): id, state, parent,
/// flags, how long the process and its children have run, start.
const STAT_FIELDS: &[usize] = &[1, 3, 4, 9, 14, 15, 16, 17, 22];

/// What is found out about a process.
pub(crate) enum Answer {
    /// Its `stat` as it is to be copied; `None` if it is gone.
    Stat(Pid, Option<Vec<u8>>),
    /// The init of the reader's pid namespace.
    Init(Pid),
}

/// Asks for the ages of processes, and for the init of the reader's pid namespace among `inits`, on a thread
/// that is left behind where it hangs.
pub(crate) fn request(
    procfs: &Procfs,
    reader: Pid,
    aged: BTreeSet<Pid>,
    inits: Vec<Pid>,
) -> mpsc::Receiver<Answer> {
    let (sender, receiver) = mpsc::channel();
    let Ok(dir) = procfs.dir.try_clone() else { return receiver };
    let procfs = Procfs { dir, is_own: procfs.is_own, namespace_reader: None };
    let ask = move || {
        let init = inits.into_iter().find(|&id| share_pid_namespace(id, reader, &procfs));
        if let Some(id) = init {
            let _ = sender.send(Answer::Init(id));
        }
        let mut text = Vec::new();
        for id in aged.into_iter().chain(init) {
            let stat = procfs.read_of(id, "stat", &mut text).ok().and_then(|()| without_names(&text));
            if sender.send(Answer::Stat(id, stat)).is_err() {
                break;
            }
        }
    };
    // Without a thread there is no answer, which the copy reports as left out.
    let _ = thread::Builder::new().name("ages".into()).spawn(ask);
    receiver
}

/// Replaces the name by `x`, and all fields that no answer reads by 0.
fn without_names(stat: &[u8]) -> Option<Vec<u8>> {
    let id = stat.split(|&b| b == b' ').next()?;
    let end = stat.iter().rposition(|&b| b == b')')?;
    let mut text = [id, b" (x)"].concat();
    for (number, field) in stat[end + 1..].trim_ascii().split(|&b| b == b' ').enumerate() {
        text.push(b' ');
        text.extend_from_slice(if STAT_FIELDS.contains(&(number + 3)) { field } else { b"0" });
    }
    text.push(b'\n');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cgprocfs_core::parse::proc_stat::ProcStat;

    #[test]
    fn no_name_and_no_address_is_copied() {
        let mut stat = b"812 (a) b\n) S 800".to_vec();
        (5..=52).for_each(|field| stat.extend_from_slice(format!(" {}", 1000 + field).as_bytes()));
        stat.push(b'\n');
        let kept = without_names(&stat).unwrap();
        assert_eq!(ProcStat::parse(&kept), ProcStat::parse(&stat));
        let kept = String::from_utf8(kept).unwrap();
        assert!(kept.starts_with("812 (x) S 800 0 0 0 0 1009 0 0 0 0 1014 1015 1016 1017 0 "), "{kept}");
        assert_eq!(kept.matches("10").count(), 6, "{kept}");
    }
}
