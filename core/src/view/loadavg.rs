//! `proc/loadavg`: how many of the container's tasks want to run.

use super::contract::View;
use crate::error::ViewError;
use crate::snapshot::{HostFile, Needs, Snapshot};
use std::io::Write;

/// The fields of `loadavg_proc_show()` (fs/proc/loadavg.c): averages over one, five and fifteen minutes,
/// tasks that run and tasks there are, the latest process id of the reader's pid namespace.
pub struct Loadavg;

impl View for Loadavg {
    fn path(&self) -> &'static str {
        HostFile::Loadavg.path()
    }

    fn host_file(&self) -> Option<HostFile> {
        Some(HostFile::Loadavg)
    }

    fn needs(&self) -> Needs {
        Needs::LOAD.and(Needs::native(HostFile::Loadavg))
    }

    fn render(&self, snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let load = snapshot.load.ok_or(ViewError::NotLoaded("the container's load"))?;
        let [one, five, fifteen] = load.averages;
        // Whoever reads is running, too.
        let running = load.tasks.running.max(1);
        let total = load.tasks.total.max(running);
        // Writing to a Vec never fails.
        let _ = writeln!(out, "{one:.2} {five:.2} {fifteen:.2} {running}/{total} {}", load.last_pid);
        Ok(())
    }

    fn host_text(&self, native: &[u8], snapshot: &Snapshot, out: &mut Vec<u8>) -> Result<(), ViewError> {
        let last = native.iter().rposition(|&byte| byte == b' ');
        match (snapshot.last_pid, last) {
            (Some(pid), Some(last)) => {
                out.extend_from_slice(&native[..=last]);
                let _ = writeln!(out, "{pid}");
            }
            _ => out.extend_from_slice(native),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load_average::{LoadAvg, TaskCounts};
    use crate::machine::Machine;
    use crate::parse::pid::Pid;
    use crate::snapshot::{Container, Scope};

    #[test]
    fn fields() {
        let scope = Scope::Container(Container::default());
        let mut snapshot = Snapshot::of_memory(None, Machine::USUAL, scope);
        snapshot.host_files.push((HostFile::Loadavg, b"9.99 9.99 9.99 9/999 99999\n".as_slice().into()));
        let tasks = TaskCounts { running: 0, uninterruptible: 1, total: 4 };
        snapshot.load = Some(LoadAvg { averages: [0.5, 1.0 / 3.0, 12.0], tasks, last_pid: Pid::new(7) });
        let mut out = Vec::new();
        Loadavg.render(&snapshot, &mut out).unwrap();
        assert_eq!(out, b"0.50 0.33 12.00 1/4 7\n");
    }

    #[test]
    fn the_last_process_is_one_of_the_readers_pid_namespace() {
        let mut snapshot = Snapshot::of_memory(None, Machine::USUAL, Scope::Host(Box::default()));
        snapshot.host_files.push((HostFile::Loadavg, b"9.99 9.99 9.99 9/999 99999\n".as_slice().into()));
        let shown = |snapshot: &Snapshot| {
            let mut out = Vec::new();
            Loadavg.text(snapshot, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(&snapshot), "9.99 9.99 9.99 9/999 99999\n");
        snapshot.last_pid = Some(Pid::new(7));
        assert_eq!(shown(&snapshot), "9.99 9.99 9.99 9/999 7\n");
    }
}
