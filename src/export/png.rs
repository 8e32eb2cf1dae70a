//! Pictures for reports and slides, with their lineage inside.

use super::Exporter;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::modality::Modality;
use image::RgbImage;
use std::path::PathBuf;

impl Exporter<'_> {
    /// Writes a picture of a modality as PNG; `part` says which (`r003`, `mean`), `look` how it is looked at. Lineage
    /// goes into text chunks; a picture of what was observed (`synthetic` false) says only what and where it is.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn picture(
        &self,
        part: &str,
        m: &Modality,
        look: &str,
        picture: &RgbImage,
        synthetic: bool,
    ) -> Result<PathBuf> {
        let plain: String = look.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let words: Vec<&str> = plain.split('-').filter(|word| !word.is_empty()).collect();
        let path = self.path(&format!("{part}_"), &format!("{}_{}.png", m.name, words.join("-")));
        self.refuse(&path)?;
        let bytes =
            self.encoded(picture, synthetic).map_err(|e| Error::file(&path, format!("Cannot be encoded: {e}")))?;
        write_atomically(&path, &bytes)?;
        Ok(path)
    }

    fn encoded(&self, picture: &RgbImage, synthetic: bool) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let told = |key: &str| synthetic || ["tile", "program"].contains(&key);
        for (key, value) in self.lineage.metadata.iter().filter(|(key, _)| told(key)) {
            encoder.add_itxt_chunk(key.clone(), value.clone())?;
        }
        if !synthetic {
            encoder.add_itxt_chunk("synthetic".into(), "no".into())?;
        }
        let mut writer = encoder.write_header()?;
        writer.write_image_data(picture.as_raw())?;
        writer.finish()?;
        Ok(bytes)
    }
}
