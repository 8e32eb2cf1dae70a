//! What each scene is for: one file that training, evaluation and calibration read, so that no place serves two of them.

use crate::error::{Error, Result};
use crate::files::read_text;
use std::collections::BTreeMap;
use std::path::Path;

/// What a scene is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Weights and baselines are fitted to it.
    Train,
    /// Choices are made by it while training.
    Validation,
    /// Spread is calibrated by it.
    Calibration,
    /// Figures come from it.
    Test,
}

/// Uses by name of the scene: a table (CSV) with the columns `scene` and `use`.
#[derive(Debug, Clone, Default)]
pub struct Split(BTreeMap<String, Use>);

impl Split {
    /// Reads the table.
    ///
    /// # Errors
    /// When the file cannot be read, lacks a column, or a line has another use or names a scene twice.
    pub fn read(path: &Path) -> Result<Self> {
        let text = read_text(path).map_err(|e| Error::io(path, "read", &e))?;
        let bad = |line: usize, what: &str| Error::file(path, format!("Line {}: {what}", line + 1));
        let mut lines = text.lines().enumerate();
        let columns: Vec<&str> = lines.next().map_or("", |(_, line)| line).split(',').map(str::trim).collect();
        let column = |name: &str| {
            let found = columns.iter().position(|column| *column == name);
            found.ok_or_else(|| bad(0, &format!("there is no column \"{name}\"")))
        };
        let (scene, purpose) = (column("scene")?, column("use")?);
        let mut uses = BTreeMap::new();
        for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            let (Some(scene), Some(text)) = (cells.get(scene), cells.get(purpose)) else {
                return Err(bad(number, "there are too few columns"));
            };
            let purpose = match *text {
                "train" => Use::Train,
                "validation" => Use::Validation,
                "calibration" => Use::Calibration,
                "test" => Use::Test,
                _ => return Err(bad(number, "the use is none of train, validation, calibration and test")),
            };
            if uses.insert((*scene).to_owned(), purpose).is_some() {
                return Err(bad(number, "the scene stands there twice"));
            }
        }
        Ok(Self(uses))
    }

    /// What a scene is for; scenes that are not named are for training.
    pub fn of(&self, scene: &str) -> Use {
        self.0.get(scene).copied().unwrap_or(Use::Train)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_have_one_use_each_and_mistakes_have_a_line() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("split.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("file");
            Split::read(&path)
        };
        let split = read("scene,place,use\na,here,train\nb,there,test\n\nc,there,calibration\n").expect("split");
        assert_eq!(
            ["a", "b", "c", "d"].map(|name| split.of(name)),
            [Use::Train, Use::Test, Use::Calibration, Use::Train]
        );
        for (text, expected) in [
            ("scene,place\na,b\n", "Line 1: there is no column \"use\""),
            ("scene,use\na,train\nb,guess\n", "Line 3: the use is none of"),
            ("scene,use\na,train\na,test\n", "Line 3: the scene stands there twice"),
            ("scene,use\na\n", "Line 2: there are too few columns"),
        ] {
            let error = read(text).expect_err(expected).to_string();
            assert!(error.contains(expected) && error.contains("split.csv"), "{error}");
        }
    }

    #[test]
    fn no_place_of_the_bundled_recipe_serves_two_uses() {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/models/recipes/split.csv"));
        let mut places: BTreeMap<String, String> = BTreeMap::new();
        for line in text.expect("split").lines().skip(1) {
            let [_, place, purpose] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let first = places.entry(place.to_owned()).or_insert_with(|| purpose.to_owned());
            assert_eq!(first, purpose, "{place}");
        }
        assert!(places.values().filter(|purpose| *purpose == "test").count() > 10);
    }
}
