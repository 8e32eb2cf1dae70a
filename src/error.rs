//! The one error type of the library: every variant reads as a sentence that says what happened,
//! where, and what to do.

use crate::text::printable;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Result of every fallible function in the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure of the network it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The user switched the network off.
    Offline,
    /// No connection to the server.
    Unreachable,
    /// The server does not have it.
    NotFound,
    /// The server wants to know who asks.
    Refused,
    /// Too much was asked for; the server may say how long to wait.
    Quota(Option<Duration>),
    /// The server itself failed; it may say how long to wait.
    Server(Option<Duration>),
    /// The server was silent, or slower than anyone would wait.
    Slow,
    /// The connection ended in the middle.
    Broken,
    /// The answer is not what it should be.
    Unexpected,
}

impl Fault {
    /// Whether it may be gone at the next try.
    pub fn passing(self) -> bool {
        !matches!(self, Self::Offline | Self::NotFound | Self::Refused | Self::Unexpected)
    }

    /// How long the server asks to wait before the next try.
    pub fn wait_asked(self) -> Option<Duration> {
        match self {
            Self::Quota(wait) | Self::Server(wait) => wait,
            _ => None,
        }
    }
}

/// What can go wrong, by what the user can do about it. As text it is one line without control characters, whatever the
/// server, file or path that it tells of holds.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself makes no sense (unknown name, impossible combination, value out of range).
    #[error("{}", printable(.0))]
    Request(String),
    /// A file or folder is missing, unreadable, malformed, or not what it should be.
    #[error("{}. File: {}", printable(.problem), printable(&path.to_string_lossy()))]
    File {
        /// What was found, what was expected, and what to do.
        problem: String,
        /// The file or folder concerned.
        path: PathBuf,
    },
    /// The computation failed (out of memory, numbers not finite).
    #[error("{}", printable(.0))]
    Compute(String),
    /// The device that computes failed, or cannot hold the network; another one may do.
    #[error("{}", printable(.0))]
    Device(String),
    /// A server could not be reached, or did not give what was asked for.
    #[error("{}. Address: {}", printable(.problem), printable(.address))]
    Network {
        /// What kind of failure it is: decides whether it is worth trying again.
        fault: Fault,
        /// What happened, and what to do.
        problem: String,
        /// Where; without the part of an address that may hold secrets.
        address: String,
    },
    /// The user asked to stop; what was finished before is kept.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// An error about the request.
    pub fn request(message: impl Into<String>) -> Self {
        Self::Request(message.into())
    }

    /// An error about a file.
    pub fn file(path: impl AsRef<Path>, problem: impl Into<String>) -> Self {
        Self::File { problem: problem.into(), path: path.as_ref().to_path_buf() }
    }

    /// The same error, told of where a file was to appear (`to`) instead of the hidden folder it is made in (`from`).
    #[must_use]
    pub fn moved(self, from: &Path, to: &Path) -> Self {
        match self {
            Self::File { problem, path } => {
                let seen = path.strip_prefix(from).ok().map(|rest| match rest.as_os_str().is_empty() {
                    true => to.to_path_buf(),
                    false => to.join(rest),
                });
                Self::File { problem, path: seen.unwrap_or(path) }
            }
            other => other,
        }
    }

    /// An operating-system error while doing `action` ("read", "write", "create") to a file.
    pub fn io(path: impl AsRef<Path>, action: &str, error: &std::io::Error) -> Self {
        let advice = match error.kind() {
            std::io::ErrorKind::NotFound if ["create", "write", "write to"].contains(&action) => {
                "no file can be made there; check the path or choose another folder"
            }
            std::io::ErrorKind::NotFound => "it does not exist; check the path",
            std::io::ErrorKind::PermissionDenied => {
                "permission was denied; check its access rights or choose another folder"
            }
            std::io::ErrorKind::StorageFull => "the disk is full; free some space or choose another disk",
            std::io::ErrorKind::InvalidFilename => {
                "its name, or its path with all folders, is too long for the file system; choose shorter names"
            }
            std::io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only; choose another folder",
            _ => "",
        };
        if advice.is_empty() {
            Self::file(path, format!("Cannot {action} it: {error}"))
        } else {
            Self::file(path, format!("Cannot {action} it: {advice}"))
        }
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::Compute(format!("The computation failed: {error}"))
    }
}
