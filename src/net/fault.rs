//! What can go wrong on the network, in sentences.

use crate::error::{Error, Fault};
use crate::text::address_without_secrets;
use std::time::Duration;

fn error(fault: Fault, url: &str, problem: impl Into<String>) -> Error {
    Error::Network { fault, problem: problem.into(), address: address_without_secrets(url) }
}

pub(super) fn offline(url: &str) -> Error {
    error(Fault::Offline, url, "The program works offline; switch the network on to fetch this")
}

pub(super) fn page(url: &str) -> Error {
    let text = "The answer is a page for people, not data: a login page of the network may stand in between, or the address is wrong";
    error(Fault::Unexpected, url, text)
}

pub(super) fn slow(url: &str) -> Error {
    error(Fault::Slow, url, "The server answers too slowly; try again later")
}

/// An answer that is not what it should be: `what` says what it is.
pub fn unexpected(url: &str, what: &str) -> Error {
    error(Fault::Unexpected, url, format!("The answer is {what}; the address may be wrong, or the server has changed"))
}

/// A body shorter than what was asked for.
pub(super) fn short(url: &str) -> Error {
    error(Fault::Broken, url, "The connection broke off before all of it had arrived; try again")
}

/// A whole, where a part was asked for.
pub(super) fn no_parts(url: &str) -> Error {
    let text = "The server sends whole files only, and this one may be very large; download the file and open it from the disk, or use another server";
    error(Fault::Unexpected, url, text)
}

/// A body that ended early, or did not arrive.
pub(super) fn reading(url: &str, e: &std::io::Error) -> Error {
    match e.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
        Some(inner) => of(url, inner),
        None if e.kind() == std::io::ErrorKind::TimedOut => slow(url),
        None => error(Fault::Broken, url, format!("The connection broke off ({e}); try again")),
    }
}

/// When a server wants to be asked again.
fn when(wait: Option<Duration>) -> String {
    wait.map_or("later".into(), |wait| format!("in {} s", wait.as_secs()))
}

pub(super) fn status(url: &str, status: u16, wait: Option<Duration>) -> Error {
    let (fault, text) = match status {
        401 | 403 | 407 => {
            (Fault::Refused, "access was refused; it may need an account or a key that is not set up".into())
        }
        404 | 410 => (Fault::NotFound, "there is nothing at this address".into()),
        429 => (Fault::Quota(wait), format!("too much was asked for lately; try again {}", when(wait))),
        // It cannot do this, and will not be able to at the next try.
        501 | 505 => (Fault::Unexpected, "it does not understand the request".into()),
        408 | 500..=599 => {
            (Fault::Server(wait), format!("the server has a problem of its own; try again {}", when(wait)))
        }
        _ => (Fault::Unexpected, "it does not understand the request".into()),
    };
    error(fault, url, format!("The server answers {status}: {text}"))
}

pub(super) fn of(url: &str, e: &ureq::Error) -> Error {
    use ureq::Error as E;
    match e {
        E::HostNotFound => error(
            Fault::Unreachable,
            url,
            "The server's name was not found: there may be no network; check the connection",
        ),
        E::ConnectionFailed => error(Fault::Unreachable, url, "The server cannot be reached; check the connection"),
        E::Io(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
            error(Fault::Unreachable, url, "The server takes no connection; check the address and the connection")
        }
        E::Io(e) => match e.get_ref().and_then(|inner| inner.downcast_ref::<E>()) {
            Some(inner) => of(url, inner),
            // The system has no kind of its own for it.
            None if e.to_string().contains("failed to lookup address") => of(url, &E::HostNotFound),
            None => error(Fault::Broken, url, format!("The connection broke off ({e}); try again")),
        },
        E::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
            error(Fault::Unreachable, url, "The server does not answer; check the connection")
        }
        E::Timeout(_) => slow(url),
        E::TooManyRedirects | E::RedirectFailed => error(
            Fault::Unexpected,
            url,
            "The server sends from one address to the next without end; the address may be wrong",
        ),
        E::Protocol(e) => error(Fault::Broken, url, format!("The connection broke off ({e}); try again")),
        E::BadUri(_) | E::Http(_) => error(Fault::Unexpected, url, "This is no address of the web (https://…)"),
        E::StatusCode(code) => status(url, *code, None),
        E::Tls(_) | E::Rustls(_) => error(
            Fault::Refused,
            url,
            format!(
                "The connection cannot be made safe ({e}); check the date of this machine and the network it is in"
            ),
        ),
        other => error(Fault::Unexpected, url, format!("The request failed: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_errors_hold_no_secrets() {
        assert!(!status("https://h/a?key=secret", 403, None).to_string().contains("secret"));
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let fault = |code| match status("https://h/", code, None) {
            Error::Network { fault, .. } => fault,
            other => panic!("{other}"),
        };
        for code in [408, 429, 500, 502, 503, 504] {
            assert!(fault(code).passing(), "{code}");
        }
        for code in [400, 401, 403, 404, 405, 410, 418, 501] {
            assert!(!fault(code).passing(), "{code}");
        }
    }
}
