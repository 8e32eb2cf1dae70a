//! Notes that stay until they are read.

/// Something to tell, kept until it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    /// One or two sentences.
    pub text: String,
    /// Whether something went wrong.
    pub problem: bool,
}
