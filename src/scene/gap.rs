//! What is missing of a modality in a window.

use crate::error::{Error, Result};
use crate::modality::{MOST_MISSING, Modality, Raster};
use crate::text::percent;
use std::path::PathBuf;

/// The band of which most is no data.
#[derive(Debug, Clone, PartialEq)]
pub struct Gap {
    /// Its file.
    pub file: PathBuf,
    /// Its name.
    pub band: String,
    /// Share of its pixels, 0…1.
    pub share: f64,
}

impl Gap {
    /// What a reader should know.
    pub(super) fn note(&self, m: &Modality, raster: &Raster) -> String {
        let file = self.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        format!("{file}: {} of {} in the window is no data.", percent(1.0 - raster.valid_share()), m.name)
    }

    /// Whether what is left of a raster is enough to be given, and what a reader should know about that.
    ///
    /// # Errors
    /// When more than half of it is missing: which file and band, and how much.
    pub fn suits(&self, m: &Modality, raster: &Raster) -> Result<String> {
        let missing = 1.0 - raster.valid_share();
        if missing > MOST_MISSING {
            return Err(Error::file(
                &self.file,
                format!(
                    "{} of {} in the window is no data, of its band {} {}; choose another window, or do not give it",
                    percent(missing),
                    m.name,
                    self.band,
                    percent(self.share)
                ),
            ));
        }
        let how = if m.classes().is_some() {
            "from the nearest valid pixels"
        } else {
            "smoothly from the valid pixels around"
        };
        Ok(format!("{} of {} is no data; for the network it was filled {how}.", percent(missing), m.name))
    }
}
