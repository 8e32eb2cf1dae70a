//! Reading of files that the user names: ordinary files only, and of descriptions no more than a description can have.
//!
//! Whoever opens a pipe waits until somebody writes into it, and devices such as `/dev/zero` never end.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// No description (TOML, JSON, a table) is longer, bytes.
pub const LONGEST_TEXT: u64 = 64 << 20;

/// Makes sure that a path leads to an ordinary file, for those who open it by its name; its length, bytes.
///
/// # Errors
/// When there is nothing, or a folder, pipe, socket or device.
pub fn check(path: &Path) -> io::Result<u64> {
    ordinary(&std::fs::metadata(path)?)
}

/// Opens an ordinary file for reading.
///
/// # Errors
/// As [`check`], or when the system refuses.
pub fn open(path: &Path) -> io::Result<File> {
    check(path)?;
    let mut options = std::fs::OpenOptions::new();
    options.read(true);
    // Should a pipe have taken its place meanwhile, nobody waits for it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    ordinary(&file.metadata()?)?;
    Ok(file)
}

/// All bytes of an ordinary file.
///
/// # Errors
/// As [`open`], and when it has more than `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    let too_large = || io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {most} bytes"));
    if length > most {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // Files of the kernel have no length, and others may grow.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(bytes) }
}

/// The text of an ordinary file of at most [`LONGEST_TEXT`].
///
/// # Errors
/// As [`read`], and when it is no UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path, LONGEST_TEXT)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8"))
}

/// What a TOML file describes; `what` says what it should be, such as "a training recipe".
///
/// # Errors
/// When it cannot be read, or where in it something else stands.
pub fn read_toml<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T> {
    let text = read_text(path).map_err(|e| Error::io(path, "read", &e))?;
    toml::from_str(&text).map_err(|e| Error::file(path, format!("This is not {what}: {}", toml_problem(&text, &e))))
}

/// What is wrong with a TOML text, on one line that begins with the number of the line it is about.
pub fn toml_problem(text: &str, error: &toml::de::Error) -> String {
    let message: Vec<&str> = error.message().lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let message = message.join("; ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", 1 + before.matches('\n').count()),
        None => message,
    }
}

fn ordinary(about: &Metadata) -> io::Result<u64> {
    let refused = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    match strange(about) {
        None => Ok(about.len()),
        Some("a folder") => refused("it is a folder; a file is expected".into()),
        Some(what) => refused(format!("it is {what}, and only ordinary files are read; save what it gives as a file")),
    }
}

/// What something is that is no ordinary file.
fn strange(about: &Metadata) -> Option<&'static str> {
    let kind = about.file_type();
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return Some("a pipe");
        }
        if kind.is_socket() {
            return Some("a socket");
        }
        if kind.is_char_device() || kind.is_block_device() {
            return Some("a device");
        }
    }
    match (kind.is_file(), kind.is_dir()) {
        (true, _) => None,
        (_, true) => Some("a folder"),
        _ => Some("no file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_files_are_read_within_limits() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a.txt");
        std::fs::write(&path, "four").expect("file");
        assert_eq!(check(&path).expect("ordinary"), 4);
        assert_eq!(read(&path, 4).expect("bytes"), b"four");
        assert_eq!(read_text(&path).expect("text"), "four");
        assert!(read(&path, 3).expect_err("too large").to_string().contains("more than 3 bytes"));
        std::fs::write(&path, [0xff]).expect("file");
        assert!(read_text(&path).expect_err("no text").to_string().contains("UTF-8"));
        assert_eq!(read(&dir.path().join("b"), 9).expect_err("none").kind(), io::ErrorKind::NotFound);
        assert!(open(dir.path()).expect_err("folder").to_string().contains("a folder"));
    }

    #[cfg(unix)]
    #[test]
    fn pipes_sockets_and_devices_are_told_and_not_waited_for() {
        let dir = tempfile::tempdir().expect("folder");
        let (pipe, socket) = (dir.path().join("pipe"), dir.path().join("socket"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        let _listening = std::os::unix::net::UnixListener::bind(&socket).expect("socket");
        for (path, what) in [(&*pipe, "a pipe"), (&*socket, "a socket"), (Path::new("/dev/zero"), "a device")] {
            for outcome in [check(path).map(drop), open(path).map(drop), read(path, 9).map(drop)] {
                assert!(outcome.expect_err("refused").to_string().contains(what), "{what}");
            }
        }
    }

    #[test]
    fn mistakes_in_toml_are_told_by_their_line() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Described {
            #[serde(rename = "size")]
            _size: u8,
        }
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a.toml");
        for (text, problem) in [
            ("# one\n\nsize = \"x\"\n", "line 3: "),
            ("size = 3\ncolour = 4\n", "line 2: unknown field"),
            ("size = 3\n[[", "line 2: "),
            ("\r\n\r\nsize = 300", "line 3: "),
            ("# ü\nsize ==", "line 2: "),
        ] {
            std::fs::write(&path, text).expect("file");
            let error = read_toml::<Described>(&path, "a thing").expect_err("wrong").to_string();
            assert!(error.starts_with(&format!("This is not a thing: {problem}")), "{text}: {error}");
            assert!(error.ends_with("a.toml") && !error.contains("\\n"), "{error}");
        }
    }
}
