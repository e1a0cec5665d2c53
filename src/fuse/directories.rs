//! Open directories. Each has the listing that was made when it was opened, however often and in however small pieces it is
//! read.

use fuser::FileType;
use parking_lot::Mutex;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

/// Inode number, type and name of all that is in a directory.
pub(super) type Listing = Vec<(u64, FileType, Vec<u8>)>;

/// Those that one server of a connection has opened.
pub(super) struct Directories {
    /// Upper half of each number given out, so that a predecessor's is never taken for one of ours.
    generation: u32,
    opened: AtomicU32,
    listings: Mutex<Listings>,
}

#[derive(Default)]
struct Listings {
    open: HashMap<u64, Arc<Listing>>,
    /// Some of them, to find equal ones.
    recent: VecDeque<Weak<Listing>>,
}

/// So many different ones are compared with a new one.
const RECENT: usize = 64;

impl Directories {
    pub(super) fn new(generation: u32) -> Self {
        Self { generation, opened: AtomicU32::new(0), listings: Mutex::default() }
    }

    /// The number of a directory that is open from now on. Most list the same, and one listing is enough for them.
    pub(super) fn open(&self, listing: Listing) -> u64 {
        let mut listings = self.listings.lock();
        let known = listings.recent.iter().filter_map(Weak::upgrade).find(|known| **known == listing);
        let listing = known.unwrap_or_else(|| {
            let listing = Arc::new(listing);
            if listings.recent.len() >= RECENT {
                listings.recent.pop_front();
            }
            listings.recent.push_back(Arc::downgrade(&listing));
            listing
        });
        loop {
            let number = self.opened.fetch_add(1, Ordering::Relaxed);
            let handle = u64::from(self.generation) << 32 | u64::from(number);
            if let Entry::Vacant(place) = listings.open.entry(handle) {
                place.insert(listing);
                return handle;
            }
        }
    }

    /// `None` for one that a predecessor has opened.
    pub(super) fn listing(&self, handle: u64) -> Option<Arc<Listing>> {
        self.listings.lock().open.get(&handle).map(Arc::clone)
    }

    pub(super) fn release(&self, handle: u64) {
        let mut listings = self.listings.lock();
        listings.open.remove(&handle);
        if listings.open.is_empty() {
            *listings = Listings::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_listings_are_one() {
        let directories = Directories::new(3);
        let listing = |name: &[u8]| vec![(7, FileType::Directory, name.to_vec())];
        let handles = [b"a", b"b", b"a"].map(|name| directories.open(listing(name)));
        let [first, second, third] = handles.map(|handle| directories.listing(handle).unwrap());
        assert!(Arc::ptr_eq(&first, &third) && first != second);
        assert!(directories.listing(handles[0] & u64::from(u32::MAX)).is_none(), "a predecessor's");
        handles.into_iter().for_each(|handle| directories.release(handle));
        assert!(directories.listing(handles[0]).is_none());
    }
}
