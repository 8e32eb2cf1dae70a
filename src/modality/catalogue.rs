//! The catalogue: all families of rasters that can be read, as data. It comes with the program (`families.toml`); the
//! user's own file of the same name and a model's table add to it.

use super::{Family, Group, GroupEntry, Subject};
use crate::error::{Error, Result};
use crate::files::UserFolder;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// File in the user's configuration folder that adds families.
pub const FAMILIES_FILE: &str = "families.toml";

/// All families, those that lead first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalogue {
    families: Vec<Arc<Family>>,
    groups: Vec<Arc<Group>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    family: Vec<Family>,
}

/// The user's own catalogue, and what was wrong with which file.
type Read = (Arc<Catalogue>, Option<(PathBuf, String)>);

impl Catalogue {
    /// What comes with the program.
    pub fn bundled() -> Arc<Self> {
        static BUNDLED: OnceLock<Arc<Catalogue>> = OnceLock::new();
        let read = || {
            let text = include_str!("families.toml");
            // The file is part of the program and covered by a test.
            let made = Self::parse(text).and_then(|families| Self::default().with(families));
            Arc::new(made.unwrap_or_else(|problem| unreachable!("families.toml: {problem}")))
        };
        BUNDLED.get_or_init(read).clone()
    }

    /// What comes with the program and what the file `families.toml` of a folder adds; the same without such a file.
    ///
    /// # Errors
    /// When that file cannot be read or is no such description.
    pub fn with_own(dir: &Path) -> Result<Arc<Self>> {
        let path = dir.join(FAMILIES_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::bundled()),
            Err(e) => return Err(Error::io(&path, "read", &e)),
        };
        let bundled = Self::bundled();
        let made = Self::parse(&text).and_then(|families| {
            let known = |family: &&Family| bundled.family(&family.name).is_some_and(|known| !family.keeps(known));
            match families.iter().find(known) {
                Some(family) => Err(format!(
                    "The family {} comes with the program; another one of that name must keep its groups, its classes and \
                     its units, because models rely on them",
                    family.name
                )),
                None => bundled.with(families),
            }
        });
        made.map(Arc::new).map_err(|problem| Error::file(&path, problem))
    }

    /// The user's: what comes with the program and the `families.toml` of the configuration folder, read once per process.
    /// A file that cannot be used adds nothing; [`checked`](Self::checked) says why.
    pub fn of_user() -> Arc<Self> {
        Self::read().0.clone()
    }

    /// As [`of_user`](Self::of_user).
    ///
    /// # Errors
    /// When the user's file cannot be used.
    pub fn checked() -> Result<Arc<Self>> {
        match Self::read() {
            (_, Some((path, problem))) => Err(Error::file(path, problem)),
            (all, None) => Ok(all.clone()),
        }
    }

    fn read() -> &'static Read {
        static OWN: OnceLock<Read> = OnceLock::new();
        OWN.get_or_init(|| match UserFolder::Settings.folder().map(|dir| Self::with_own(&dir)) {
            Some(Ok(all)) => (all, None),
            Some(Err(Error::File { path, problem })) => (Self::bundled(), Some((path, problem))),
            Some(Err(other)) => (Self::bundled(), Some((PathBuf::from(FAMILIES_FILE), other.to_string()))),
            None => (Self::bundled(), None),
        })
    }

    fn parse(text: &str) -> Result<Vec<Family>, String> {
        let file: File = toml::from_str(text).map_err(|e| format!("This is no description of families: {e}"))?;
        Ok(file.family)
    }

    /// The same with further families; one with a name that is there replaces it.
    ///
    /// # Errors
    /// What is wrong with one of them, or that two claim the same name.
    pub fn with(&self, families: impl IntoIterator<Item = Family>) -> Result<Self, String> {
        let mut all = self.families.clone();
        for family in families {
            family.check().map_err(|what| format!("The family \"{}\" {what}", family.name))?;
            match all.iter_mut().find(|other| other.name == family.name) {
                Some(other) => *other = Arc::new(family),
                None => all.push(Arc::new(family)),
            }
        }
        let groups: Vec<Arc<Group>> =
            all.iter().flat_map(|about| about.groups.iter().map(|entry| Arc::new(group(about, entry)))).collect();
        let mut files: BTreeMap<String, &str> = BTreeMap::new();
        for group in &groups {
            for stem in std::iter::once(&group.name).chain(&group.files) {
                if let Some(other) = files.insert(stem.to_lowercase(), &group.family) {
                    return Err(format!("The families {other} and {} both have a raster called {stem}", group.family));
                }
            }
        }
        let mut names: BTreeMap<String, &str> = BTreeMap::new();
        for family in &all {
            for name in std::iter::once(&family.name).chain(&family.synonyms) {
                if let Some(other) = names.insert(name.to_lowercase(), &family.name) {
                    return Err(format!("The families {other} and {} are both called {name}", family.name));
                }
            }
        }
        Ok(Self { families: all, groups })
    }

    /// All families.
    pub fn families(&self) -> impl Iterator<Item = &Arc<Family>> {
        self.families.iter()
    }

    /// Families of rasters that are products of their own: what can be searched, fetched and filed.
    pub fn products(&self) -> impl DoubleEndedIterator<Item = &Arc<Family>> {
        self.families.iter().filter(|family| family.is_product())
    }

    /// Names of the products, in the order in which they lead.
    pub fn product_names(&self) -> Vec<String> {
        self.products().map(|family| family.name.clone()).collect()
    }

    /// A product by its own name.
    pub fn product(&self, name: &str) -> Option<&Arc<Family>> {
        self.products().find(|family| family.name == name)
    }

    /// A family by its own name.
    pub fn family(&self, name: &str) -> Option<&Arc<Family>> {
        self.families.iter().find(|family| family.name == name)
    }

    /// Families that tell of a subject.
    pub fn of(&self, subject: Subject) -> impl Iterator<Item = &Arc<Family>> {
        self.families.iter().filter(move |family| family.subject == subject)
    }

    /// Rasters that can be read, apart from those that only stand in for another family's.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.iter().filter(|group| group.about.is_raster() && group.about.stands_in_for.is_none())
    }

    /// A raster that can be read, place and date included, by its name or one of its file's.
    pub fn group(&self, name: &str) -> Option<&Arc<Group>> {
        let called = |group: &&Arc<Group>| {
            std::iter::once(&group.name).chain(&group.files).any(|own| own.eq_ignore_ascii_case(name))
        };
        self.groups.iter().find(called)
    }

    /// All rasters of a family.
    pub fn groups_of(&self, family: &str) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.iter().filter(move |group| group.family == family)
    }

    /// Families that may be taken for another one, if the user says so.
    pub fn stand_ins(&self, family: &str) -> impl Iterator<Item = &Arc<Family>> {
        self.families.iter().filter(move |other| other.stands_in_for.as_deref() == Some(family))
    }
}

/// A raster of a family.
pub(super) fn group(about: &Arc<Family>, entry: &GroupEntry) -> Group {
    Group {
        name: entry.name.clone(),
        family: about.name.clone(),
        channels: entry.channels.clone(),
        ground_m: entry.ground_m,
        files: entry.files.clone(),
        about: about.clone(),
    }
}
