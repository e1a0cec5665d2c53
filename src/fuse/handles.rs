//! Open files. Each holds the text that its reader is reading, shared with whoever reads the same.

use crate::error::Error;
use crate::service::Text;
use crate::view::View;
use parking_lot::Mutex;
use slab::Slab;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Handles {
    open: Mutex<Slab<Handle>>,
}

struct Handle {
    view: &'static dyn View,
    text: Arc<Text>,
    /// Whether some of `text` was given out already, so that the rest has to come from it too.
    begun: bool,
}

impl Handles {
    pub(super) fn open(&self, view: &'static dyn View, text: Arc<Text>) -> u64 {
        self.open.lock().insert(Handle { view, text, begun: false }) as u64
    }

    /// The text that a read at `offset` is answered from; `None` if there is no such handle.
    ///
    /// Reading from the start again makes a new text, as procfs does and `top` and `free -s` rely on. So does a first read long after the
    /// open.
    pub(super) fn read(
        &self,
        handle: u64,
        offset: u64,
        text_now: impl FnOnce(&'static dyn View) -> Result<Arc<Text>, Error>,
    ) -> Option<Result<Arc<Text>, Error>> {
        let key = usize::try_from(handle).ok()?;
        let view = {
            let mut open = self.open.lock();
            let handle = open.get_mut(key)?;
            let current = if handle.begun { offset != 0 } else { handle.text.is_fresh() };
            if current {
                handle.begun = true;
                return Some(Ok(Arc::clone(&handle.text)));
            }
            handle.view
        };
        let text = match text_now(view) {
            Ok(text) => text,
            Err(error) => return Some(Err(error)),
        };
        let mut open = self.open.lock();
        let handle = open.get_mut(key)?;
        handle.text = Arc::clone(&text);
        handle.begun = true;
        Some(Ok(text))
    }

    pub(super) fn release(&self, handle: u64) {
        if let Ok(key) = usize::try_from(handle) {
            let _ = self.open.lock().try_remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::MAX_AGE;
    use crate::view::VIEWS;
    use std::time::Instant;

    fn text(bytes: &str, taken: Instant) -> Arc<Text> {
        Arc::new(Text { taken, bytes: bytes.into() })
    }

    fn read(handles: &Handles, handle: u64, offset: u64, now: &str) -> String {
        let text = handles.read(handle, offset, |_| Ok(text(now, Instant::now()))).unwrap().unwrap();
        String::from_utf8(text.bytes.clone()).unwrap()
    }

    #[test]
    fn one_open_is_one_text_until_it_is_read_from_the_start_again() {
        let handles = Handles::default();
        let handle = handles.open(VIEWS[0], text("first", Instant::now()));
        assert_eq!(read(&handles, handle, 0, "second"), "first");
        assert_eq!(read(&handles, handle, 3, "second"), "first");
        assert_eq!(read(&handles, handle, 0, "second"), "second");
        assert_eq!(read(&handles, handle, 5, "third"), "second");
    }

    #[test]
    fn a_text_that_grew_old_before_its_first_read_is_made_anew() {
        let handles = Handles::default();
        let old = Instant::now().checked_sub(MAX_AGE).unwrap();
        for offset in [0, 3] {
            let handle = handles.open(VIEWS[0], text("old", old));
            assert_eq!(read(&handles, handle, offset, "new"), "new");
        }
    }

    #[test]
    fn released_handles_are_gone_and_used_again() {
        let handles = Handles::default();
        let first = handles.open(VIEWS[0], text("x", Instant::now()));
        handles.release(first);
        handles.release(first);
        handles.release(u64::MAX);
        assert!(handles.read(first, 0, |_| unreachable!()).is_none());
        assert_eq!(handles.open(VIEWS[0], text("y", Instant::now())), first);
    }
}
