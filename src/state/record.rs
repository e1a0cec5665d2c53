//! What a table can hold.

/// A value that is stored as words of 64 bits, for a successor that may be another version of this program.
pub trait Record: Sized {
    /// Increased whenever the words of a record come to mean something else.
    const VERSION: u64;
    /// The most words that a record takes.
    const MAX_WORDS: usize;

    /// The words to store.
    fn save(&self) -> impl Iterator<Item = u64>;

    /// The record that was saved as these words; `None` if none was.
    fn restore(words: &[u64]) -> Option<Self>;
}
