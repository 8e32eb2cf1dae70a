//! The catalogue: models that are known, as data (`models/catalog.toml` and the user's own).

use crate::error::{Error, Result};
use crate::files::{read_text, toml_problem};
use crate::modality::ModalityTable;
use serde::Deserialize;
use std::path::{Component, Path, PathBuf};

/// Name of a user's own catalogue beside the installed models.
pub(super) const CATALOGUE_FILE: &str = "catalog.toml";

/// A published file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Modalities that use it, by name; none for the denoiser.
    #[serde(default)]
    pub modalities: Vec<String>,
    /// Repository on the hub, `owner/name`.
    pub repository: String,
    /// File in it.
    pub file: String,
    /// Branch, tag or commit.
    #[serde(default = "main")]
    pub revision: String,
    /// About its length, for people; the server says how long it is.
    pub about_bytes: u64,
    /// SHA-256 of the file, where it is known beforehand.
    #[serde(default)]
    pub sha256: Option<String>,
}

fn main() -> String {
    "main".into()
}

/// A model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name on the command line and of its folder.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// What it is and is not.
    pub description: String,
    /// Licence of the weights.
    pub licence: String,
    /// Where the licence stands.
    #[serde(default)]
    pub licence_url: Option<String>,
    /// What has to be said with it.
    pub attribution: String,
    /// Its page.
    #[serde(default)]
    pub homepage: Option<String>,
    /// Folder that comes with the program; such a model has no parts to fetch.
    #[serde(default)]
    pub bundled: Option<PathBuf>,
    /// Attention heads of the denoiser.
    #[serde(default)]
    pub heads: Option<usize>,
    /// Its modalities; those of the published model (specification A.1) if left out.
    #[serde(default = "ModalityTable::published")]
    pub modalities: ModalityTable,
    /// The denoiser; none in a bundled model.
    #[serde(default)]
    pub denoiser: Option<Part>,
    /// Autoencoders, each of one or more modalities.
    #[serde(default, rename = "autoencoder")]
    pub autoencoders: Vec<Part>,
}

/// All that are known.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// In the order they are shown.
    #[serde(default, rename = "model")]
    pub models: Vec<Entry>,
}

impl Catalogue {
    /// The program's own.
    pub fn bundled() -> Self {
        let text = include_str!("../../models/catalog.toml");
        // The file is part of the program and covered by a test.
        Self::parse(text).unwrap_or_else(|error| unreachable!("catalog.toml: {error}"))
    }

    /// The program's own, and what the user's in a folder adds.
    ///
    /// # Errors
    /// When the user's is no catalogue, or names a model that is there already.
    pub fn with_own(dir: &Path) -> Result<Self> {
        let mut all = Self::bundled();
        let path = dir.join(CATALOGUE_FILE);
        match read_text(&path) {
            Ok(text) => all.models.extend(Self::parse(&text).map_err(|problem| Error::file(&path, problem))?.models),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(all),
            Err(e) => return Err(Error::io(&path, "read", &e)),
        }
        all.check().map_err(|problem| Error::file(&path, problem))?;
        Ok(all)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let all: Self =
            toml::from_str(text).map_err(|e| format!("This is no catalogue of models: {}", toml_problem(text, &e)))?;
        all.check()?;
        Ok(all)
    }

    fn check(&self) -> Result<(), String> {
        for (i, entry) in self.models.iter().enumerate() {
            if self.models[..i].iter().any(|other| other.id == entry.id) {
                return Err(format!("The catalogue names {} twice", entry.id));
            }
            entry.check().map_err(|what| format!("The model {} of the catalogue {what}", entry.id))?;
        }
        Ok(())
    }

    /// A model by its name.
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.models.iter().find(|entry| entry.id == id)
    }
}

impl Entry {
    fn check(&self) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if self.id.is_empty() || self.id.len() > 64 || !self.id.chars().all(plain) || self.id.starts_with('.') {
            return Err("needs a name of small letters, digits, - and _".into());
        }
        if self.bundled.is_some() {
            return Ok(());
        }
        if self.denoiser.is_none() {
            return Err("has neither a denoiser nor a folder of its own".into());
        }
        self.parts().try_for_each(|part| part.check())?;
        for m in self.modalities.iter().filter(|m| !m.is_scalar()) {
            let named = self.autoencoders.iter().flat_map(|part| &part.modalities).filter(|name| **name == m.name);
            match named.count() {
                0 => return Err(format!("has no autoencoder for {}", m.name)),
                1 => {}
                _ => return Err(format!("has several autoencoders for {}", m.name)),
            }
        }
        let known = |name: &&String| self.modalities.iter().any(|m| m.name == **name && !m.is_scalar());
        match self.autoencoders.iter().flat_map(|part| &part.modalities).find(|name| !known(name)) {
            Some(name) => Err(format!("has an autoencoder for {name}, which is none of its image modalities")),
            None if self.autoencoders.iter().any(|part| part.modalities.is_empty()) => {
                Err("has an autoencoder that no modality uses".into())
            }
            None => Ok(()),
        }
    }

    /// Denoiser first, then autoencoders.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.denoiser.iter().chain(&self.autoencoders)
    }

    /// The denoiser, and the autoencoders of these modalities (names, families, keys); of all if none are named.
    ///
    /// # Errors
    /// When a name is none of the model's.
    pub fn wanted(&self, modalities: Option<&[String]>) -> Result<Vec<&Part>> {
        let Some(names) = modalities else { return Ok(self.parts().collect()) };
        let chosen = self.modalities.select_list(&names.join(","))?;
        let uses =
            |part: &&Part| part.modalities.iter().any(|name| chosen.iter().any(|&i| self.modalities[i].name == *name));
        Ok(self.denoiser.iter().chain(self.autoencoders.iter().filter(uses)).collect())
    }
}

impl Part {
    fn check(&self) -> Result<(), String> {
        let path = Path::new(&self.file);
        let plain =
            |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if self.file.is_empty() || !path.components().all(|c| matches!(c, Component::Normal(_))) {
            return Err(format!("names a file that is no path in a repository: {}", self.file));
        }
        let words: Vec<&str> = self.repository.split('/').collect();
        if words.len() != 2 || !words.iter().all(|word| plain(word)) || words.iter().any(|word| word.starts_with('.')) {
            return Err(format!("names a repository that is none, expected owner/name: {}", self.repository));
        }
        if self.revision.is_empty() || self.revision.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("names a revision that is none".into());
        }
        let hash = |text: &String| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match &self.sha256 {
            Some(text) if !hash(text) => Err(format!("names a sha256 that is none: {text}")),
            _ => Ok(()),
        }
    }

    /// What it is, for people.
    pub fn title(&self) -> String {
        match self.modalities.as_slice() {
            [] => "the denoiser".into(),
            [one] => format!("the autoencoder of {one}"),
            several => format!("the autoencoder of {}", several.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_catalogue_covers_every_image_modality() {
        let all = Catalogue::bundled();
        let ids: Vec<&str> = all.models.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["demo", "cop-gen", "cop-gen-beta"]);
        let bytes = |id: &str| all.get(id).into_iter().flat_map(Entry::parts).map(|part| part.about_bytes).sum::<u64>();
        // C.4: all ten autoencoders have 837 121 850 parameters; D.1: the denoiser 286 986 562.
        assert_eq!(bytes("cop-gen"), 4 * (837_121_850 + 286_986_562));
        let beta = all.get("cop-gen-beta").expect("entry");
        // J.1: 256 tokens × 4 and 4 of time.
        assert_eq!((beta.modalities.tokens(), beta.autoencoders.len()), (1028, 1));
    }

    #[test]
    fn what_is_no_catalogue_is_refused_with_a_reason() {
        let whole = "[[model]]\nid = \"x\"\nname = \"X\"\ndescription = \"\"\nlicence = \"\"\nattribution = \"\"\n";
        let part = |what: &str| format!("{whole}[model.denoiser]\nabout_bytes = 1\n{what}");
        for (text, reason) in [
            (whole.to_owned(), "neither a denoiser"),
            (whole.replace("\"x\"", "\"../x\""), "small letters"),
            (part("repository = \"a/b\"\nfile = \"../../etc/passwd\""), "no path in a repository"),
            (part("repository = \"a/b/c\"\nfile = \"f.pth\""), "owner/name"),
            (part("repository = \"a/b\"\nfile = \"f.pth\"\nsha256 = \"12\""), "sha256 that is none"),
            (part("repository = \"a/b\"\nfile = \"f.pth\""), "no autoencoder for DEM"),
            ("model = 3".into(), "no catalogue"),
        ] {
            let problem = Catalogue::parse(&text).expect_err(reason);
            assert!(problem.contains(reason), "{problem}");
        }
    }
}
