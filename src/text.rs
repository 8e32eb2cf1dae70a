//! Text that others wrote, made fit to be shown: without control characters, and without secrets.

use std::borrow::Cow;

/// Text that others wrote (a server, a file, a name of a file) on one line and without anything that a terminal would
/// obey: control characters, line and paragraph separators, and marks that turn the direction of writing are shown as
/// their escapes, such as `\n` and `\u{1b}`. Everything else stays as it is.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_obeyed(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// As [`printable`], for text whose lines are meant.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| c != '\n' && is_obeyed(c)) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<Cow<str>> = text.split('\n').map(printable).collect();
    Cow::Owned(lines.join("\n"))
}

/// Control characters (Unicode's category Cc), separators of lines and paragraphs, and the marks of Unicode's
/// bidirectional algorithm that change the order of what follows (UAX 9, section 2).
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An address for people and logs: without what may hold signatures and keys, the query and what stands before the host.
pub fn address_without_secrets(url: &str) -> String {
    let short = url.split(['?', '#']).next().unwrap_or_default();
    match short.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}/{path}")
        }
        None => short.to_owned(),
    }
}

/// Headers whose values are secrets, in lower case.
const SECRET_HEADERS: [&str; 4] = ["authorization:", "x-amz-security-token:", "cookie:", "ocp-apim-subscription-key:"];

/// A message without its secrets: addresses lose their queries, where signatures stand, and lines that hold a header such
/// as `Authorization` end at its name.
pub fn without_secrets(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(line_without_secrets).collect();
    lines.join("\n")
}

fn line_without_secrets(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let header = SECRET_HEADERS.iter().filter_map(|name| lower.find(name).map(|at| at + name.len())).min();
    // Lower case of ASCII has the same length.
    let (line, ending) = header.map_or((line, ""), |end| (&line[..end], " (hidden)"));
    let mut out = String::with_capacity(line.len());
    let mut query = false;
    for c in line.chars() {
        query = match c {
            '?' => true,
            ' ' | '\t' | '\r' | '"' | '\'' | ')' | '<' => false,
            _ => query,
        };
        if !query {
            out.push(c);
        }
    }
    out + ending
}

/// A share (0…1) for people: never 0 or 100 % unless it is.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        least if least > 0.0 && least < 0.05 => "less than 0.1 %".into(),
        most if most > 99.95 && most < 100.0 => "more than 99.9 %".into(),
        percent => format!("{percent:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        for (text, shown) in [
            ("Grüße, 火星 – \"a\\b\" e\u{301}", "Grüße, 火星 – \"a\\b\" e\u{301}"),
            ("red \u{1b}[31m", "red \\u{1b}[31m"),
            ("one\nnote: two\r", "one\\nnote: two\\r"),
            ("\u{9b}2J \u{7f}\0", "\\u{9b}2J \\u{7f}\\u{0}"),
            ("a\u{202e}fdp.exe\u{2028}b", "a\\u{202e}fdp.exe\\u{2028}b"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert!(matches!(printable("plain"), Cow::Borrowed(_)));
        assert_eq!(printable_lines("a\nb\u{1b}c\n"), "a\nb\\u{1b}c\n");
    }

    #[test]
    fn addresses_and_messages_are_shown_without_secrets() {
        let shown = address_without_secrets;
        assert_eq!(shown("https://user:word@host.org/a/b?sig=secret#x"), "https://host.org/a/b");
        assert_eq!(shown("https://host.org"), "https://host.org/");
        let message =
            "HTTP 403 for /vsicurl?url=https%3A%2F%2Fh%2Fa%3Fsig%3Dsecret and 'https://h/a?key=secret' (secret? no)";
        assert_eq!(without_secrets(message), "HTTP 403 for /vsicurl and 'https://h/a' (secret no)");
        let headers = "> GET /a?sig=secret HTTP/1.1\nauthorization: Bearer secret\nAccept: */*";
        assert_eq!(without_secrets(headers), "> GET /a HTTP/1.1\nauthorization: (hidden)\nAccept: */*");
    }
}
