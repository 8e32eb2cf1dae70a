//! Parts of large files.

use super::{HttpRequest, HttpResponse, Network, fault};
use crate::error::Result;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

/// A part of what is at an address.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its bytes; fewer than asked for only where the whole ends.
    pub bytes: Vec<u8>,
    /// Bytes of the whole, if the server says.
    pub total: Option<u64>,
}

impl Network {
    /// These bytes of what is at an address, tried again as [`retry`](Self::retry) does. A server that knows no parts is
    /// an error, found before the body is read.
    ///
    /// # Errors
    /// [`Error::Network`](crate::Error::Network) or [`Error::Cancelled`](crate::Error::Cancelled).
    pub fn part(&self, url: &str, range: Range<u64>, stop: &AtomicBool) -> Result<Part> {
        self.retry(stop, &mut || {
            let mut answer =
                self.open(&HttpRequest { from: range.start, to: Some(range.end), ..HttpRequest::get(url) })?;
            if !answer.partial || answer.from != range.start {
                return Err(fault::no_parts(url));
            }
            let total = answer.total;
            let end = total.map_or(range.end, |total| total.min(range.end));
            let wanted = usize::try_from(end.saturating_sub(range.start)).unwrap_or(usize::MAX);
            // What a server promises is not yet there.
            let mut bytes = Vec::with_capacity(wanted.min(1 << 20));
            self.copy(url, &mut answer, stop, &mut |piece| {
                bytes.extend_from_slice(piece);
                match bytes.len() > wanted {
                    true => Err(fault::unexpected(url, "more than the part that was asked for")),
                    false => Ok(()),
                }
            })?;
            if bytes.len() < wanted { Err(fault::short(url)) } else { Ok(Part { bytes, total }) }
        })
    }

    /// The whole that a server sends which was asked for a part and knows none, if it is no larger than `most` bytes.
    ///
    /// # Errors
    /// [`Error::Network`](crate::Error::Network), also when it is larger, or [`Error::Cancelled`](crate::Error::Cancelled).
    pub fn whole_instead(&self, url: &str, answer: &mut HttpResponse, most: u64, stop: &AtomicBool) -> Result<Vec<u8>> {
        let too_large = |bytes: u64| bytes > most;
        if answer.total.is_some_and(too_large) {
            return Err(fault::no_parts(url));
        }
        let mut all = Vec::new();
        self.copy(url, answer, stop, &mut |piece| {
            all.extend_from_slice(piece);
            if too_large(all.len() as u64) { Err(fault::no_parts(url)) } else { Ok(()) }
        })?;
        Ok(all)
    }
}
