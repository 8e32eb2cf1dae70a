//! `scene.json`: what is known about a scene besides its pixels. Every field may be missing.

use crate::error::{Error, Result};
use crate::text::printable;
use jiff::civil::Date;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The fields this program uses.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Metadata {
    /// Licence and origin in one line.
    #[serde(default)]
    pub attribution: Option<String>,
    /// By modality: rasters that lie elsewhere; relative paths start at the folder.
    #[serde(default)]
    pub files: BTreeMap<String, PathBuf>,
    /// By family: where it comes from and what was done to it, in one sentence.
    #[serde(default)]
    pub origins: BTreeMap<String, String>,
    /// By family or modality: ISO 8601 instant, day, month, or year.
    #[serde(default)]
    pub dates: BTreeMap<String, Option<String>>,
    /// Whether each raster keeps the pixel grid of its source, so that they lie up to a pixel beside each other, as in
    /// Major TOM.
    #[serde(default)]
    pub own_grids: bool,
    /// What a careful reader should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What was done to the numbers, in sentences; anything else in their place says nothing.
    #[serde(default)]
    conversions: serde_json::Value,
}

impl Metadata {
    /// Reads `DIR/scene.json`; a folder without one has no metadata.
    pub(super) fn read(dir: &Path) -> Result<Self> {
        if dir.is_file() {
            return Err(Error::file(dir, "A scene is a folder of GeoTIFFs; name the folder, not a file in it"));
        }
        if !dir.is_dir() {
            return Err(Error::file(dir, "There is no such scene folder; check the path"));
        }
        let path = dir.join("scene.json");
        match crate::files::read_text(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Self::made_printable)
                .map_err(|e| Error::file(&path, format!("This is no scene description: {e}"))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(Error::io(&path, "read", &e)),
        }
    }

    /// Texts are shown on terminals too, which must not obey them.
    fn made_printable(mut self) -> Self {
        let texts = self.notes.iter_mut().chain(self.origins.values_mut()).chain(self.attribution.as_mut());
        let texts = texts.chain(self.dates.values_mut().flatten());
        texts.for_each(|text| *text = printable(text).into_owned());
        self
    }

    /// Whether the scene says itself that its numbers are without the offset of newer Sentinel-2 baselines: that there was none,
    /// or that it was removed.
    pub(super) fn settles_offset(&self, family: &str) -> bool {
        let conversions = self.conversions.as_array().into_iter().flatten().filter_map(|text| text.as_str());
        let said = conversions.chain(self.origins.get(family).map(String::as_str)).map(str::to_lowercase);
        said.filter(|text| text.contains("offset")).any(|text| text.contains("no offset") || text.contains("removed"))
    }

    /// Date text of a family.
    pub(super) fn date(&self, family: &str) -> Option<&str> {
        self.dates.get(family)?.as_deref()
    }

    /// Day of a family; the 15th where only the month is known, none where only the year is.
    pub(super) fn day(&self, family: &str) -> Option<Date> {
        let text = self.date(family)?;
        let day = text.get(..10).unwrap_or(text);
        day.parse().ok().or_else(|| format!("{day}-15").parse().ok())
    }
}
