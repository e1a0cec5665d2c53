//! Open files. Each holds the text that its reader is reading, shared with whoever reads the same.

use super::file::File;
use crate::service::Text;
use crate::shares::excess;
use parking_lot::Mutex;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often, in opens, texts that nobody needs any more are looked for.
const SWEEP: usize = 4096;
/// Nor are more bytes of text than this handed out in between.
const SWEEP_BYTES: usize = 16 << 20;
/// Nor, where very many files are open, than so many for each.
const BYTES_A_FILE: usize = 256;
/// How long a reader may take over one text. Whoever reads on after that reads a newer one.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where all texts together are larger than this, those who have most of it may take less time: a tenant can begin many and
/// never go on.
const MOST_BYTES: usize = 16 << 20;
/// Texts of a cgroup that were begun within so long go together,
const STEP: Duration = Duration::from_secs(15);
/// as far as they are not more than this.
const TOGETHER: usize = 256 << 10;

/// The open files of one server of a connection, and those that it has from its predecessors.
pub(super) struct Handles {
    /// Upper half of each number given out, so that a predecessor's file is never taken for one of ours.
    generation: u32,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    open: Slab<Handle>,
    /// Files that predecessors opened and that were read from since, by the whole number.
    inherited: HashMap<u64, Handle>,
    opens_since_sweep: usize,
    bytes_since_sweep: usize,
}

struct Handle {
    file: File,
    /// `None` once it was dropped to save memory.
    text: Option<Arc<Text>>,
    /// Whether some of `text` was given out already, so that the rest has to come from it too.
    begun: bool,
}

/// Operation a read of an open file is answered from.
pub(super) enum Readable {
    Text(Arc<Text>),
    /// A text that is made now.
    Anew(File),
    /// The text that was begun, which is no more.
    Gone(File),
}

impl Handles {
    pub(super) fn new(generation: u32) -> Self {
        Self { generation, table: Mutex::default() }
    }

    /// Place in the table of a file that was opened here.
    fn own_key(&self, handle: u64) -> Option<usize> {
        let key = handle ^ u64::from(self.generation) << 32;
        // Operation has another generation has bits left in the upper half.
        u32::try_from(key).ok()?.try_into().ok()
    }

    pub(super) fn open(&self, file: File, text: Arc<Text>) -> u64 {
        let mut table = self.table.lock();
        table.opens_since_sweep += 1;
        table.sweep_now_and_then(&text);
        let key = table.open.insert(Handle { file, text: Some(text), begun: false }) as u64;
        u64::from(self.generation) << 32 | key
    }

    /// Operation a read at `offset` is answered from; `None` if there is no such handle. One that a
    /// predecessor opened is what `inherited` says.
    ///
    /// Reading from the start again makes a new text, as procfs does and `top` and `free -s` rely on. So
    /// does a first read long after the open.
    pub(super) fn find(
        &self,
        handle: u64,
        offset: u64,
        inherited: impl FnOnce() -> Option<File>,
    ) -> Option<Readable> {
        let key = self.own_key(handle).ok_or(handle);
        let mut table = self.table.lock();
        let handle = table.find(key, inherited)?;
        // Operation was read before of a predecessor's text is gone, and only where numbers have their columns does another
        // text go on where that ended.
        if key.is_err() && handle.text.is_none() && offset != 0 && !handle.file.fits_one_read() {
            return Some(Readable::Gone(handle.file));
        }
        let is_current = |text: &&Arc<Text>| if handle.begun { offset != 0 } else { text.is_fresh() };
        match handle.text.as_ref().filter(is_current) {
            Some(text) => {
                handle.begun = true;
                Some(Readable::Text(Arc::clone(text)))
            }
            None => Some(Readable::Anew(handle.file)),
        }
    }

    /// From now on the open file of `file` is read from `text`. If it was closed meanwhile nobody reads.
    pub(super) fn put(&self, handle: u64, file: File, text: &Arc<Text>) {
        let key = self.own_key(handle).ok_or(handle);
        let mut table = self.table.lock();
        if let Some(handle) = table.find(key, || Some(file)) {
            handle.text = Some(Arc::clone(text));
            handle.begun = true;
        }
        table.sweep_now_and_then(text);
    }

    pub(super) fn release(&self, handle: u64) {
        let mut table = self.table.lock();
        match self.own_key(handle) {
            Some(key) => drop(table.open.try_remove(key)),
            None => drop(table.inherited.remove(&handle)),
        }
        if table.open.is_empty() && table.open.capacity() > SWEEP {
            table.open.shrink_to_fit();
        }
    }
}

impl Table {
    /// A file of our own by its place, or a predecessor's by its number, which is entered when first asked for.
    fn find(
        &mut self,
        key: Result<usize, u64>,
        inherited: impl FnOnce() -> Option<File>,
    ) -> Option<&mut Handle> {
        match key {
            Ok(key) => self.open.get_mut(key),
            Err(number) => match self.inherited.entry(number) {
                Entry::Occupied(handle) => Some(handle.into_mut()),
                Entry::Vacant(place) => {
                    Some(place.insert(Handle { file: inherited()?, text: None, begun: false }))
                }
            },
        }
    }

    /// A file that stays open with its text, which it was just given, costs us its size, which its owner must not choose.
    fn sweep_now_and_then(&mut self, given: &Text) {
        self.bytes_since_sweep += given.bytes.len();
        let many = self.opens_since_sweep >= SWEEP.max(self.open.len() / 2);
        // To go through all of them has to be worth it.
        if many || self.bytes_since_sweep >= SWEEP_BYTES.max(self.open.len() * BYTES_A_FILE) {
            (self.opens_since_sweep, self.bytes_since_sweep) = (0, 0);
            if self.sweep(PATIENCE) > MOST_BYTES {
                self.sweep_excess(MOST_BYTES);
            }
        }
    }

    /// An open file costs its owner far more than it costs us, but a text does not: those that would be
    /// made anew anyway go, and those that were begun more than `patience` ago. About how many bytes are left.
    fn sweep(&mut self, patience: Duration) -> usize {
        let mut left = 0;
        for handle in self.all() {
            let is_needed = |text: &Arc<Text>| match handle.begun {
                true => text.taken.elapsed() < patience,
                false => text.is_fresh(),
            };
            handle.text.take_if(|text| !is_needed(text));
            left += handle.text.as_ref().map_or(0, weight);
        }
        left
    }

    /// Drops what is more than so many bytes: the oldest texts of the heaviest branch of the hierarchy, so that nobody's reader
    /// reads on in another text for what other containers have begun.
    fn sweep_excess(&mut self, most: usize) {
        // There may be very many files, which others wait for meanwhile: texts of the same cgroup and about the same age are
        // one.
        let mut heaps: Vec<Heap> = Vec::new();
        let mut latest: HashMap<(*const u8, u64), usize> = HashMap::new();
        let (mut heap_of, now) = (Vec::with_capacity(self.open.len()), Instant::now());
        for text in self.all().map(|handle| handle.text.as_ref()) {
            heap_of.push(text.map(|text| {
                let age = now.saturating_duration_since(text.taken).as_secs() / STEP.as_secs();
                let heap = latest.entry((text.cgroup.as_ptr(), age)).or_insert(usize::MAX);
                if heaps.get(*heap).is_none_or(|heap| heap.weight >= TOGETHER) {
                    *heap = heaps.len();
                    heaps.push(Heap { cgroup: Arc::clone(&text.cgroup), age, weight: 0 });
                }
                heaps[*heap].weight += weight(text);
                *heap
            }));
        }
        let mut by_age: Vec<_> = heaps.iter().enumerate().collect();
        by_age.sort_by_key(|(_, heap)| Reverse(heap.age));
        let held = by_age.into_iter().map(|(number, heap)| (number, &*heap.cgroup, heap.weight));
        let excess: HashSet<usize> = excess(held, most).into_iter().collect();
        for (handle, heap) in self.all().zip(heap_of) {
            if heap.is_some_and(|heap| excess.contains(&heap)) {
                handle.text = None;
            }
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Handle> {
        self.open.iter_mut().map(|(_, handle)| handle).chain(self.inherited.values_mut())
    }
}

/// Texts of a cgroup.
struct Heap {
    cgroup: Arc<[u8]>,
    age: u64,
    weight: usize,
}

/// How many bytes a text takes. Of one that several files share each has its part.
fn weight(text: &Arc<Text>) -> usize {
    text.bytes.len() / Arc::strong_count(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::MAX_AGE;
    use cgprocfs_core::view::ViewId;

    fn file() -> File {
        File::View(ViewId::ALL[0])
    }

    fn text(bytes: &str, taken: Instant) -> Arc<Text> {
        Arc::new(Text { taken, bytes: bytes.into(), cgroup: Arc::default() })
    }

    fn read(handles: &Handles, handle: u64, offset: u64, now: &str) -> String {
        read_inherited(handles, handle, offset, now, || None)
    }

    fn read_inherited(
        handles: &Handles,
        handle: u64,
        offset: u64,
        now: &str,
        inherited: impl FnOnce() -> Option<File>,
    ) -> String {
        let text = match handles.find(handle, offset, inherited).unwrap() {
            Readable::Text(text) => text,
            Readable::Anew(file) => {
                let text = text(now, Instant::now());
                handles.put(handle, file, &text);
                text
            }
            Readable::Gone(_) => panic!("the text is gone"),
        };
        String::from_utf8(text.bytes.clone()).unwrap()
    }

    #[test]
    fn one_open_is_one_text_until_it_is_read_from_the_start_again() {
        let handles = Handles::new(0);
        let handle = handles.open(file(), text("first", Instant::now()));
        assert_eq!(read(&handles, handle, 0, "second"), "first");
        assert_eq!(read(&handles, handle, 3, "second"), "first");
        assert_eq!(read(&handles, handle, 0, "second"), "second");
        assert_eq!(read(&handles, handle, 5, "third"), "second");
    }

    #[test]
    fn a_text_that_grew_old_before_its_first_read_is_made_anew() {
        let handles = Handles::new(0);
        let old = Instant::now().checked_sub(MAX_AGE).unwrap();
        for offset in [0, 3] {
            let handle = handles.open(file(), text("old", old));
            assert_eq!(read(&handles, handle, offset, "new"), "new");
        }
    }

    #[test]
    fn texts_that_nobody_needs_are_dropped() {
        let handles = Handles::new(0);
        let now = Instant::now();
        let old = now.checked_sub(MAX_AGE).unwrap();
        let (never_read, begun) =
            (handles.open(file(), text("a", old)), handles.open(file(), text("b", now)));
        read(&handles, begun, 0, "unused");
        let texts = || handles.table.lock().open.iter().filter(|(_, handle)| handle.text.is_some()).count();
        handles.table.lock().sweep(PATIENCE);
        assert_eq!(texts(), 1);
        handles.table.lock().sweep(Duration::ZERO);
        assert_eq!(texts(), 0);
        assert_eq!(read(&handles, never_read, 0, "new"), "new");
        assert_eq!(read(&handles, begun, 3, "new"), "new");
    }

    #[test]
    fn they_are_looked_for_as_files_are_opened() {
        let handles = Handles::new(0);
        let old = Instant::now().checked_sub(MAX_AGE).unwrap();
        for _ in 0..3 * SWEEP {
            handles.open(file(), text("x", old));
        }
        let texts = handles.table.lock().open.iter().filter(|(_, handle)| handle.text.is_some()).count();
        assert!(texts <= 2 * SWEEP, "{texts} texts");
    }

    #[test]
    fn texts_that_were_begun_do_not_fill_the_memory() {
        let handles = Handles::new(0);
        let long = "x".repeat(1 << 20);
        let begin = |handle| drop(read(&handles, handle, 0, &long));
        let held = || {
            let table = handles.table.lock();
            let texts = table.open.iter().filter_map(|(_, handle)| handle.text.as_ref());
            texts.map(|text| text.bytes.len()).sum::<usize>()
        };
        let open_and_begin = || {
            let handle = handles.open(file(), text(&long, Instant::now()));
            begin(handle);
            handle
        };
        let opened: Vec<_> = (0..200).map(|_| open_and_begin()).collect();
        assert!(held() <= MOST_BYTES + SWEEP_BYTES, "{} bytes", held());
        // So do those that are made anew.
        opened.into_iter().for_each(begin);
        assert!(held() <= MOST_BYTES + SWEEP_BYTES, "{} bytes", held());
    }

    #[test]
    fn whoever_begins_many_leaves_room_for_others() {
        let (handles, now) = (Handles::new(0), Instant::now());
        let begin = |tenant: &str, bytes: &str, ago: u64| {
            let taken = now.checked_sub(Duration::from_secs(ago)).unwrap();
            let cgroup: Arc<[u8]> = tenant.as_bytes().into();
            let handle = handles.open(file(), text("", now));
            let text = Arc::new(Text { taken, bytes: bytes.into(), cgroup });
            handles.put(handle, file(), &text);
            handle
        };
        let others: Vec<_> =
            (0..10).map(|number| begin(&format!("/pods/other/{number}"), "the first", 50)).collect();
        let long = "x".repeat(1 << 20);
        let many: Vec<_> =
            (0..200).map(|number| begin(&format!("/pods/tenant/{number}"), &long, 1 + number % 5)).collect();
        handles.table.lock().sweep_excess(MOST_BYTES);
        assert!(others.iter().all(|handle| read(&handles, *handle, 4, "another") == "the first"));
        let left = many.iter().filter(|handle| read(&handles, **handle, 4, "another") != "another").count();
        assert!((10..=16).contains(&left), "{left}");
    }

    #[test]
    fn files_of_a_predecessor_are_read_anew_from_where_they_were() {
        let (before, after) = (Handles::new(3), Handles::new(4));
        let handle = before.open(file(), text("old text", Instant::now()));
        after.open(file(), text("another's", Instant::now()));
        let inherited = |offset, now| read_inherited(&after, handle, offset, now, || Some(file()));
        assert_eq!(inherited(4, "new text"), "new text");
        assert_eq!(inherited(8, "newer text"), "new text");
        assert_eq!(inherited(0, "newer text"), "newer text");
        after.release(handle);
        assert!(after.table.lock().inherited.is_empty());
        assert!(after.find(handle, 0, || None).is_none());
    }

    #[test]
    fn released_handles_are_gone_and_used_again() {
        let handles = Handles::new(0);
        let first = handles.open(file(), text("x", Instant::now()));
        handles.release(first);
        handles.release(first);
        handles.release(u64::MAX);
        assert!(handles.find(first, 0, || None).is_none());
        assert_eq!(handles.open(file(), text("y", Instant::now())), first);
    }
}
