//! What programs for 32 and for 64 bits differ in.

/// How long a word of a program is (`unsigned long`), which decides what its structures look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordSize {
    /// 32 bits.
    Bits32,
    /// 64 bits.
    Bits64,
}
