//! Where a parquet file is.

use crate::error::{Error, Fault, Result};
use crate::net::resolved;
use crate::text::address_without_secrets;
use std::path::{Component, Path, PathBuf};

/// A file on the disk, or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// On the disk.
    File(PathBuf),
    /// On the web.
    Web(String),
}

impl std::fmt::Display for Origin {
    /// Without the part of an address that may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Web(url) => f.write_str(&address_without_secrets(url)),
        }
    }
}

impl Origin {
    /// What was typed: an address if it begins like one, else a path. A page of a file on Hugging Face stands for the file.
    pub fn of(text: &str) -> Self {
        let text = text.trim();
        if !Self::is_web(text) {
            return Self::File(text.into());
        }
        let page = text.starts_with("https://huggingface.co/datasets/");
        Self::Web(if page { text.replacen("/blob/", "/resolve/", 1) } else { text.to_owned() })
    }

    /// Whether a text is an address.
    pub fn is_web(text: &str) -> bool {
        let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme));
        begins("https://") || begins("http://")
    }

    /// Whether something is meant that this module reads: an address, or a file called `.parquet`.
    pub fn is_meant(path: &Path) -> bool {
        let text = path.to_string_lossy();
        let named = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"));
        Self::is_web(text.trim()) || (named && !path.is_dir())
    }

    /// The last part of its name.
    pub fn name(&self) -> String {
        let text = self.to_string();
        text.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or("the file").to_owned()
    }

    /// What an index beside it names: an address, or a name relative to its own. One on the web leads nowhere but to
    /// the web, and none leads out of its folder by a relative name.
    ///
    /// # Errors
    /// When it would.
    pub fn beside(&self, name: &str) -> Result<Self> {
        if Self::is_web(name) {
            return Ok(Self::of(name));
        }
        let relative = Path::new(name);
        let inside = !name.is_empty() && relative.components().all(|part| matches!(part, Component::Normal(_)));
        match self {
            _ if !inside => {
                Err(self.problem(&format!("It names \"{name}\", which is no address and no file beside it")))
            }
            Self::File(path) => Ok(Self::File(path.parent().unwrap_or(Path::new(".")).join(relative))),
            Self::Web(url) => {
                // The dot keeps a colon in the name from making a scheme of what stands before it.
                let whole = resolved(url, &format!("./{name}"))?;
                match whole.starts_with(&resolved(url, ".")?) {
                    true => Ok(Self::Web(whole)),
                    false => Err(self.problem(&format!("It names \"{name}\", which leads out of its folder"))),
                }
            }
        }
    }

    /// Something is wrong with what is there.
    pub fn problem(&self, problem: &str) -> Error {
        match self {
            Self::File(path) => Error::file(path, problem),
            Self::Web(url) => Error::Network {
                fault: Fault::Unexpected,
                problem: problem.to_owned(),
                address: address_without_secrets(url),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_paths() {
        let page = "https://huggingface.co/datasets/Major-TOM/Core-DEM/blob/main/images/part_00001.parquet";
        assert_eq!(Origin::of(page), Origin::Web(page.replace("/blob/", "/resolve/")));
        assert_eq!(Origin::of(" a/b.parquet "), Origin::File("a/b.parquet".into()));
        assert_eq!(Origin::of("https://h/a.parquet?sig=secret").to_string(), "https://h/a.parquet");
        assert!(Origin::is_meant(Path::new("HTTPS://h/a")) && !Origin::is_meant(Path::new("a.tif")));
    }

    #[test]
    fn an_index_leads_only_where_it_may() {
        let web = Origin::of("https://h/data/metadata.parquet?sig=secret");
        assert_eq!(web.beside("images/a.parquet").expect("beside").to_string(), "https://h/data/images/a.parquet");
        assert_eq!(web.beside("https://k/a.parquet").expect("web").to_string(), "https://k/a.parquet");
        let disk = Origin::of("/data/metadata.parquet");
        assert_eq!(disk.beside("a.parquet").expect("beside"), Origin::File("/data/a.parquet".into()));
        for bad in ["", "/etc/passwd", "../a.parquet", "a/../../b", "file:///etc/passwd/.."] {
            assert!(disk.beside(bad).is_err() && web.beside(bad).is_err(), "{bad}");
        }
        assert_eq!(web.beside("a:b.parquet").expect("beside").to_string(), "https://h/data/a:b.parquet");
        for out in ["%2e%2e/a.parquet", "..\\a.parquet"] {
            assert!(web.beside(out).is_err(), "{out}");
        }
    }
}
