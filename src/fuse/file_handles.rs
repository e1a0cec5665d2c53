//! Open files. Each holds the text that its reader is reading, shared with everybody who reads the same. An
//! open file that was not read from takes no memory here: a tenant may have millions.

mod table;

use self::table::HandleTable;
use super::file::File;
use super::handle_numbers::HandleNumbers;
use crate::service::Rendered;
use fuser::FileHandle;
use parking_lot::Mutex;
use std::sync::Arc;

/// The open files of one server of a connection, and those that its predecessors opened.
pub(super) struct FileHandles {
    numbers: HandleNumbers,
    table: Mutex<HandleTable>,
}

/// What a read of an open file is answered from.
pub(super) enum ReadSource {
    /// The text that the file holds.
    Text(Arc<Rendered>),
    /// A text that is yet to be made.
    Render(File),
    /// Nothing: the text of which the reader has the beginning is lost.
    Lost(File),
}

impl FileHandles {
    pub(super) fn new(generation: u32) -> Self {
        Self { numbers: HandleNumbers::new(generation), table: Mutex::default() }
    }

    /// Opens a file, whose text the first read makes unless it is known by now.
    pub(super) fn open(&self, text: Option<Arc<Rendered>>) -> FileHandle {
        let handle = self.numbers.next();
        if let Some(text) = text {
            self.table.lock().put(handle, text, false);
        }
        handle
    }

    /// What a read at `offset` is answered from; `None` if there is no such `file`.
    ///
    /// Reading from the start again makes a new text, as procfs does and `top` and `free -s` rely on. So does
    /// a first read long after the open.
    pub(super) fn read_source(
        &self,
        handle: FileHandle,
        offset: u64,
        file: impl FnOnce() -> Option<File>,
    ) -> Option<ReadSource> {
        let mut table = self.table.lock();
        let Some(held) = table.get_mut(handle) else {
            drop(table);
            let file = file()?;
            // Another text goes on where a predecessor's ended only if its numbers have fixed columns.
            return Some(match self.numbers.is_inherited(handle) && offset != 0 && !file.fits_one_read() {
                true => ReadSource::Lost(file),
                false => ReadSource::Render(file),
            });
        };
        if if held.is_partly_read { offset != 0 } else { held.text.is_fresh() } {
            held.is_partly_read = true;
            return Some(ReadSource::Text(Arc::clone(&held.text)));
        }
        drop(table);
        file().map(ReadSource::Render)
    }

    /// Has an open file be read from `text` from now on.
    pub(super) fn set_text(&self, handle: FileHandle, text: &Arc<Rendered>) {
        self.table.lock().put(handle, Arc::clone(text), true);
    }

    pub(super) fn release(&self, handle: FileHandle) {
        self.table.lock().remove(handle);
    }
}

#[cfg(test)]
mod tests {
    use super::table::{
        ENTRY_BYTES, EVICTION_INTERVAL_BYTES, EVICTION_INTERVAL_TEXTS, MAX_BYTES, READ_TIMEOUT,
    };
    use super::*;
    use crate::service::MAX_AGE;
    use cgprocfs_core::view::ViewId;
    use std::time::{Duration, Instant};

    fn file() -> File {
        File::View(ViewId::ALL[0])
    }

    fn text(bytes: &str, sampled_at: Instant) -> Arc<Rendered> {
        Arc::new(Rendered { sampled_at, bytes: bytes.into(), cgroup: Arc::default() })
    }

    fn read(handles: &FileHandles, handle: FileHandle, offset: u64, now: &str) -> String {
        read_inherited(handles, handle, offset, now, || Some(file()))
    }

    fn read_inherited(
        handles: &FileHandles,
        handle: FileHandle,
        offset: u64,
        now: &str,
        inherited: impl FnOnce() -> Option<File>,
    ) -> String {
        let text = match handles.read_source(handle, offset, inherited).unwrap() {
            ReadSource::Text(text) => text,
            ReadSource::Render(_) => {
                let text = text(now, Instant::now());
                handles.set_text(handle, &text);
                text
            }
            ReadSource::Lost(_) => panic!("the text is gone"),
        };
        String::from_utf8(text.bytes.clone()).unwrap()
    }

    #[test]
    fn one_open_is_one_text_until_it_is_read_from_the_start_again() {
        let handles = FileHandles::new(0);
        let handle = handles.open(Some(text("first", Instant::now())));
        assert_eq!(read(&handles, handle, 0, "second"), "first");
        assert_eq!(read(&handles, handle, 3, "second"), "first");
        assert_eq!(read(&handles, handle, 0, "second"), "second");
        assert_eq!(read(&handles, handle, 5, "third"), "second");
    }

    #[test]
    fn the_first_read_makes_the_text() {
        let handles = FileHandles::new(0);
        for offset in [0, 3] {
            let handle = handles.open(None);
            assert_eq!(read(&handles, handle, offset, "first"), "first");
            assert_eq!(read(&handles, handle, 5, "second"), "first");
        }
    }

    #[test]
    fn a_text_that_grew_old_before_its_first_read_is_made_anew() {
        let handles = FileHandles::new(0);
        let old = Instant::now().checked_sub(MAX_AGE).unwrap();
        for offset in [0, 3] {
            let handle = handles.open(Some(text("old", old)));
            assert_eq!(read(&handles, handle, offset, "new"), "new");
        }
    }

    #[test]
    fn texts_that_nobody_needs_are_dropped() {
        let handles = FileHandles::new(0);
        let now = Instant::now();
        let old = now.checked_sub(MAX_AGE).unwrap();
        let (never_read, begun) = (handles.open(Some(text("a", old))), handles.open(Some(text("b", now))));
        read(&handles, begun, 0, "unused");
        let texts = || handles.table.lock().texts().count();
        handles.table.lock().evict_stale(READ_TIMEOUT);
        assert_eq!(texts(), 1);
        handles.table.lock().evict_stale(Duration::ZERO);
        assert_eq!(texts(), 0);
        assert_eq!(read(&handles, never_read, 0, "new"), "new");
        assert_eq!(read(&handles, begun, 3, "new"), "new");
    }

    #[test]
    fn they_are_looked_for_as_files_are_opened() {
        let handles = FileHandles::new(0);
        let old = Instant::now().checked_sub(MAX_AGE).unwrap();
        for _ in 0..3 * EVICTION_INTERVAL_TEXTS {
            handles.open(Some(text("x", old)));
        }
        let texts = handles.table.lock().texts().count();
        assert!(texts <= 2 * EVICTION_INTERVAL_TEXTS, "{texts} texts");
    }

    #[test]
    fn texts_that_were_begun_do_not_fill_the_memory() {
        let handles = FileHandles::new(0);
        let long = "x".repeat(1 << 20);
        let begin = |handle| drop(read(&handles, handle, 0, &long));
        let held = || {
            let table = handles.table.lock();
            table.texts().map(|text| text.bytes.len()).sum::<usize>()
        };
        let open_and_begin = || {
            let handle = handles.open(Some(text(&long, Instant::now())));
            begin(handle);
            handle
        };
        let opened: Vec<_> = (0..200).map(|_| open_and_begin()).collect();
        assert!(held() <= MAX_BYTES + EVICTION_INTERVAL_BYTES, "{} bytes", held());
        // So do those that are made anew.
        opened.into_iter().for_each(begin);
        assert!(held() <= MAX_BYTES + EVICTION_INTERVAL_BYTES, "{} bytes", held());
    }

    #[test]
    fn whoever_begins_many_leaves_room_for_others() {
        let (handles, now) = (FileHandles::new(0), Instant::now());
        let begin = |tenant: &str, bytes: &str, ago: u64| {
            let sampled_at = now.checked_sub(Duration::from_secs(ago)).unwrap();
            let cgroup: Arc<[u8]> = tenant.as_bytes().into();
            let handle = handles.open(Some(text("", now)));
            let text = Arc::new(Rendered { sampled_at, bytes: bytes.into(), cgroup });
            handles.set_text(handle, &text);
            handle
        };
        let others: Vec<_> =
            (0..10).map(|number| begin(&format!("/pods/other/{number}"), "the first", 50)).collect();
        let long = "x".repeat(1 << 20);
        let many: Vec<_> =
            (0..200).map(|number| begin(&format!("/pods/tenant/{number}"), &long, 1 + number % 5)).collect();
        handles.table.lock().evict_excess(MAX_BYTES);
        assert!(others.iter().all(|handle| read(&handles, *handle, 4, "another") == "the first"));
        let left = many.iter().filter(|handle| read(&handles, **handle, 4, "another") != "another").count();
        assert!((10..=16).contains(&left), "{left}");
    }

    #[test]
    fn files_of_a_predecessor_are_read_anew_from_where_they_were() {
        let (before, after) = (FileHandles::new(3), FileHandles::new(4));
        let handle = before.open(Some(text("old text", Instant::now())));
        after.open(Some(text("another's", Instant::now())));
        let inherited = |offset, now| read_inherited(&after, handle, offset, now, || Some(file()));
        assert_eq!(inherited(4, "new text"), "new text");
        assert_eq!(inherited(8, "newer text"), "new text");
        assert_eq!(inherited(0, "newer text"), "newer text");
        after.release(handle);
        assert_eq!(after.table.lock().texts().count(), 1, "that of the other file");
        assert!(after.read_source(handle, 0, || None).is_none());
    }

    #[test]
    fn files_that_share_a_text_do_not_fill_the_memory() {
        const FILES: usize = 1 << 20;
        let (handles, shared) = (FileHandles::new(0), text("0", Instant::now()));
        for _ in 0..FILES {
            let handle = handles.open(None);
            handles.set_text(handle, &shared);
        }
        let held = handles.table.lock().texts().count() * ENTRY_BYTES;
        assert!(held <= 2 * MAX_BYTES, "{held} bytes");
    }

    #[test]
    fn open_files_and_released_ones_take_no_memory() {
        let handles = FileHandles::new(7);
        let opened: Vec<_> = (0..100).map(|_| handles.open(None)).collect();
        assert_eq!(handles.table.lock().texts().count(), 0);
        for &handle in &opened {
            assert_eq!(read(&handles, handle, 0, "x"), "x");
        }
        assert_eq!(handles.table.lock().texts().count(), opened.len());
        opened.iter().chain(&opened).for_each(|&handle| handles.release(handle));
        handles.release(FileHandle(u64::MAX));
        assert_eq!(handles.table.lock().texts().count(), 0);
        assert!(!opened.contains(&handles.open(None)));
    }
}
