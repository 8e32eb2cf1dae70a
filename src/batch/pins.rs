//! What could change a byte of the results, fixed when a store is begun: workers that have something else decline.

use crate::error::{Error, Result};
use crate::model::Model;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the results of a store are made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pins {
    /// Version of this program.
    pub program: String,
    /// Name of the model.
    pub model: String,
    /// SHA-256 of the model's manifest, which holds those of all its files.
    pub model_sha256: String,
    /// Precision, device and instructions: `f32 on CPU with avx2`.
    pub computed: String,
    /// Version of GDAL, which packs the files.
    pub gdal: String,
    /// When the files are said to be made.
    pub created: Timestamp,
}

impl Pins {
    /// Those of this worker, now or at the moment that `SOURCE_DATE_EPOCH` names (seconds since 1970, as in reproducible builds).
    pub(super) fn here(model: &Model) -> Self {
        let named = crate::files::variable("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok());
        let second = named.unwrap_or_else(|| Timestamp::now().as_second());
        Self {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            model: model.manifest.name.clone(),
            model_sha256: model.sha256.clone(),
            computed: model.engine().describe(),
            gdal: gdal::version::VersionInfo::release_name(),
            created: Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }

    /// Makes sure that a worker with these own pins gives the bytes that are meant.
    ///
    /// # Errors
    /// What it lacks, and where to go on.
    pub(super) fn check(&self, own: &Self) -> Result<()> {
        let pairs = [
            ("version of the program", &self.program, &own.program, "install that version"),
            ("model", &self.model_sha256, &own.model_sha256, "name the same one with --model"),
            ("way of computing", &self.computed, &own.computed, COMPUTING),
            ("version of GDAL", &self.gdal, &own.gdal, "run it where that version is, such as in one container"),
        ];
        match pairs.into_iter().find(|(_, meant, own, _)| meant != own) {
            None => Ok(()),
            Some((what, meant, own, advice)) => Err(Error::Device(format!(
                "This worker declines: the store was begun with another {what} ({meant}) than there is here ({own}), so bytes could differ; {advice}, or begin another store."
            ))),
        }
    }
}

const COMPUTING: &str = "choose --device and --precision, or COPGEN_INSTRUCTIONS, so that they agree";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_lacks_something_says_what() {
        let pins = Pins {
            program: "1".into(),
            model: "m".into(),
            model_sha256: "a".into(),
            computed: "f32 on CPU with avx2".into(),
            gdal: "3.6.2".into(),
            created: Timestamp::UNIX_EPOCH,
        };
        // Another time is no fault: that of the store counts.
        assert!(pins.check(&Pins { created: Timestamp::MAX, ..pins.clone() }).is_ok());
        for (other, said) in [
            (Pins { program: "2".into(), ..pins.clone() }, "version of the program (1)"),
            (Pins { model_sha256: "b".into(), ..pins.clone() }, "another model"),
            (Pins { computed: "f32 on CPU with avx512".into(), ..pins.clone() }, "avx512"),
            (Pins { gdal: "3.10".into(), ..pins.clone() }, "GDAL (3.6.2)"),
        ] {
            let error = pins.check(&other).expect_err("lacks it").to_string();
            assert!(error.contains(said) && error.contains("declines"), "{error}");
        }
    }
}
