//! What is told of what happens, at the bottom, so that every module can tell.

/// How much a reader of the log should care.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// For those who look for a fault.
    Debug,
    /// Progress.
    Info,
    /// Something is not as it should be, and was accepted or passed over.
    Warn,
    /// A failure that ends the verification of a signature.
    Error,
}
