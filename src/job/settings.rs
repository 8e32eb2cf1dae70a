//! The part of a request that files may carry: what was asked, without where things lie on a disk.

use super::{Keep, KnownWhere, Request, SetValue};
use crate::error::{Error, Result};
use crate::modality::{ModalityTable, PostOptions};
use crate::sampler::{Role, SamplerOptions};
use gdal::Metadata;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Under this name in the metadata of exported files.
pub const SETTINGS_KEY: &str = "settings";
/// No settings are longer, bytes.
const LONGEST: usize = 16 << 20;

/// Roles and values by name of the modality, switches and seed. Rasters set by hand are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Roles.
    pub roles: BTreeMap<String, Role>,
    /// Values set by hand.
    pub set: BTreeMap<String, SetValue>,
    /// What is kept of modalities that are generated otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keep: BTreeMap<String, Keep>,
    /// Sampling switches.
    pub options: SamplerOptions,
    /// Post-processing switches.
    pub post: PostOptions,
    /// Seed.
    pub seed: u64,
}

impl Settings {
    /// Of a request.
    pub fn of(table: &ModalityTable, request: &Request) -> Self {
        let roles = table.iter().enumerate().map(|(i, m)| (m.name.clone(), request.roles[i])).collect();
        let kept = request.set.iter().filter(|(_, value)| !matches!(value, SetValue::File(_)));
        let set = kept.map(|(&i, value)| (table[i].name.clone(), value.clone())).collect();
        let keep = request.keep.iter().filter(|(_, keep)| !matches!(keep.known, KnownWhere::File(_)));
        let keep = keep.filter_map(|(&i, keep)| Some((table.get(i)?.name.clone(), keep.clone()))).collect();
        Self { roles, set, keep, options: request.options.clone(), post: request.post, seed: request.seed }
    }

    /// Reads those that an exported GeoTIFF or PNG carries; `None` if it carries none.
    ///
    /// # Errors
    /// When the file cannot be read, or its settings are damaged.
    pub fn in_file(path: &Path) -> Result<Option<Self>> {
        crate::scene::quiet_gdal();
        let text = if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png")) {
            let bad = |e: png::DecodingError| Error::file(path, format!("This PNG cannot be read: {e}"));
            let file = crate::files::open(path).map_err(|e| Error::io(path, "open", &e))?;
            let reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().map_err(bad)?;
            let chunks = &reader.info().utf8_text;
            chunks.iter().find(|c| c.keyword == SETTINGS_KEY).and_then(|c| {
                // A few bytes may be packed so that they claim gigabytes.
                let mut chunk = c.clone();
                chunk.decompress_text_with_limit(LONGEST).ok()?;
                chunk.get_text().ok()
            })
        } else {
            crate::files::check(path).map_err(|e| Error::io(path, "open", &e))?;
            // Exported rasters are GeoTIFFs; descriptions of others are not followed.
            let options = gdal::DatasetOptions { allowed_drivers: Some(&["GTiff"]), ..Default::default() };
            gdal::Dataset::open_ex(path, options).ok().and_then(|dataset| dataset.metadata_item(SETTINGS_KEY, ""))
        };
        let Some(text) = text else { return Ok(None) };
        let damaged = |e: serde_json::Error| Error::file(path, format!("Its settings are damaged: {e}"));
        serde_json::from_str(&text).map(Some).map_err(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_in_a_picture_are_unpacked_as_far_as_settings_go() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("picture.png");
        let (roles, set, keep) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let settings =
            Settings { roles, set, keep, options: SamplerOptions::default(), post: PostOptions::default(), seed: 7 };
        let text = serde_json::to_string(&settings).expect("text");
        // Blanks after it change nothing but the length.
        let read = |length: usize| {
            let file = std::fs::File::create(&path).expect("file");
            let mut writer = png::Encoder::new(file, 1, 1).write_header().expect("picture");
            let mut chunk = png::text_metadata::ITXtChunk::new(SETTINGS_KEY, text.clone() + &" ".repeat(length));
            chunk.compressed = true;
            writer.write_text_chunk(&chunk).and_then(|()| writer.write_image_data(&[0])).expect("picture");
            drop(writer);
            assert!(std::fs::metadata(&path).expect("file").len() < 1 << 20);
            Settings::in_file(&path).expect("a picture")
        };
        assert_eq!(read(2000), Some(settings.clone()));
        assert_eq!(read(LONGEST), None);
    }
}
