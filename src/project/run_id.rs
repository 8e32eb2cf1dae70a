//! What a run is called.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// Name of a run, and of the folder of its realisations beside the project file: `run-` and digits. No two runs of a
/// session share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// One of now.
    pub fn now() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(format!("run-{}", now.map_or(0, |since| since.as_millis())))
    }

    /// Another one, for a run that would share this one: two may be asked for within a millisecond, or come from two
    /// projects.
    #[must_use]
    pub fn next(&self) -> Self {
        Self(format!("{}0", self.0))
    }

    /// The folder of the run's realisations in a project's.
    pub fn folder(&self, project: &Path) -> PathBuf {
        project.join(&self.0)
    }
}

impl TryFrom<String> for RunId {
    type Error = &'static str;

    /// The name is joined to a path: no other text is one.
    fn try_from(name: String) -> Result<Self, Self::Error> {
        let digits = name.strip_prefix("run-").unwrap_or_default();
        if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(name))
        } else {
            Err("the name of a run's folder is not one this program gives")
        }
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
