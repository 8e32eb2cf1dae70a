//! The modality table of a model: which rasters of the catalogue it takes, and what belongs to its network alone.
//!
//! The order of the table is the order inside the network (specification A.1). A model folder carries its own table, so
//! that other window sizes, fewer modalities, or COP-GEN-Beta (J.1) run without new code.

use super::rows::with;
use super::{Catalogue, Class, Family, Group, Normalisation, Subject, ValueForm};
use crate::error::{Error, Result};
use std::sync::Arc;

/// One row of the table. Name, channels, units and legend are those of the raster it takes ([`Group`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Modality {
    /// Key in the published weights and data, e.g. `S2L2A_B02_B03_B04_B08`. Not the channel order.
    pub key: String,
    /// The raster, place or date that it is.
    pub group: Arc<Group>,
    /// Pixels per side of the window; 0 for scalars.
    pub pixels: usize,
    /// Latent shape (channels, rows, columns); (1,1,3) for scalars.
    pub latent: [usize; 3],
    /// Side of a patch in the latent.
    pub patch: usize,
    /// Latents are multiplied by this after encoding and divided by it before decoding; 1 for scalars.
    pub scale_factor: f64,
    /// Stored values to network values and back.
    pub normalisation: Normalisation,
}

/// A modality is a raster of the catalogue first, and what a network does with it second.
impl std::ops::Deref for Modality {
    type Target = Group;
    fn deref(&self) -> &Group {
        &self.group
    }
}

impl Modality {
    /// A raster of its pixels that says yes (anything but 0) or no.
    #[must_use]
    pub fn as_mask(&self) -> Self {
        let about = Arc::new(Family::unknown("mask", ValueForm::Number));
        let (name, channels) = (format!("{} mask", self.name), vec!["mask".to_owned()]);
        let group = Group { name, family: "mask".into(), channels, files: Vec::new(), about, ..(*self.group).clone() };
        Self { group: Arc::new(group), ..self.clone() }
    }

    /// Channels that enter the autoencoder: one per class, else one per band; 0 for scalars.
    pub fn network_channels(&self) -> usize {
        match self.about.form {
            ValueForm::Location | ValueForm::Date => 0,
            ValueForm::Class => self.about.legend.len(),
            ValueForm::Number | ValueForm::Picture => self.channels.len(),
        }
    }

    /// Patch tokens of this modality in the sequence.
    pub fn tokens(&self) -> usize {
        self.latent[1] / self.patch * (self.latent[2] / self.patch)
    }

    /// Side of the window on the ground in metres; 0 for scalars.
    pub fn window_m(&self) -> f64 {
        self.pixels as f64 * self.ground_m
    }
}

/// The modalities of one model, in network order.
#[derive(Debug, Clone)]
pub struct ModalityTable {
    rows: Vec<Modality>,
    catalogue: Arc<Catalogue>,
}

impl PartialEq for ModalityTable {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl std::ops::Deref for ModalityTable {
    type Target = [Modality];
    fn deref(&self) -> &[Modality] {
        &self.rows
    }
}

impl ModalityTable {
    /// A table, checked: unique keys and names, latents that patches divide, one window for all images. Its catalogue is
    /// the user's, with the families of the rows.
    ///
    /// # Errors
    /// A sentence naming the first offending modality.
    pub fn new(rows: Vec<Modality>) -> Result<Self> {
        let catalogue = rows.iter().fold(Catalogue::of_user(), |all, m| with(all, &m.about));
        Self::of(rows, catalogue)
    }

    pub(super) fn of(rows: Vec<Modality>, catalogue: Arc<Catalogue>) -> Result<Self> {
        let bad = |m: &Modality, what: &str| Err(Error::request(format!("Modality table: {} {what}.", m.key)));
        if rows.is_empty() {
            return Err(Error::request("The modality table is empty."));
        }
        for (i, m) in rows.iter().enumerate() {
            if rows[..i].iter().any(|o| o.key == m.key || o.name == m.name) {
                return bad(m, "occurs twice");
            }
            if m.patch == 0 || m.latent.contains(&0) || m.latent[1] % m.patch != 0 || m.latent[2] % m.patch != 0 {
                return bad(m, "has a latent that its patch size does not divide");
            }
            if m.latent.iter().any(|&n| n > 4096) || m.pixels > 16_384 || m.channels.len() > 4096 {
                return bad(m, "is larger than anything this program can hold");
            }
            if !(m.scale_factor.is_finite() && m.scale_factor > 0.0) {
                return bad(m, "has a scale factor that is not a positive number");
            }
            if m.normalisation.form() != m.about.form {
                return bad(m, "has a normalisation that does not suit its values");
            }
            if !m.normalisation.has_range() {
                return bad(m, "has a normalisation whose range does not go from a smaller to a greater number");
            }
            if m.is_scalar() {
                if m.latent != [1, 1, 3] || m.patch != 1 {
                    return bad(m, "is a scalar and needs latent (1,1,3) and patch 1");
                }
            } else if m.pixels == 0 || m.channels.is_empty() || !(m.ground_m > 0.0 && m.ground_m.is_finite()) {
                return bad(m, "has no pixels, no channels, or no ground resolution");
            } else if m.latent[1] != m.latent[2] {
                return bad(m, "has a latent that is not square");
            }
            if m.classes().is_some_and(<[Class]>::is_empty) {
                return bad(m, "has no classes");
            }
        }
        let table = Self { rows, catalogue };
        if let Some(m) = table.iter().find(|m| !m.is_scalar() && (m.window_m() - table.window_m()).abs() > 1e-6) {
            return bad(m, "covers another ground square than the first image modality");
        }
        Ok(table)
    }

    /// The table of the published model (A.1, A.4, B.7).
    pub fn published() -> Self {
        let text = include_str!("published.json");
        // The file is part of the program and covered by a test.
        serde_json::from_str(text).unwrap_or_else(|error| unreachable!("published.json: {error}"))
    }

    /// What can be read where this table is used: the user's catalogue and the model's own families.
    pub fn catalogue(&self) -> &Arc<Catalogue> {
        &self.catalogue
    }

    /// The same rows in ASCII order of their keys.
    pub fn sorted_by_key(&self) -> Self {
        let mut rows = self.rows.clone();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        Self { rows, catalogue: self.catalogue.clone() }
    }

    /// Side of the window on the ground in metres, the same for all images; 0 if there are none.
    pub fn window_m(&self) -> f64 {
        self.iter().find(|m| !m.is_scalar()).map_or(0.0, Modality::window_m)
    }

    /// Tokens of the whole sequence: one time token per modality plus all patches.
    pub fn tokens(&self) -> usize {
        self.len() + self.iter().map(Modality::tokens).sum::<usize>()
    }

    /// Index of a modality by published key or short name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.iter().position(|m| m.key == name || m.name.eq_ignore_ascii_case(name))
    }

    /// Indices of all modalities that tell of a subject, in network order.
    pub fn telling_of(&self, subject: Subject) -> Vec<usize> {
        (0..self.len()).filter(|&i| self[i].about.subject == subject).collect()
    }

    /// Index of the modality that tells most finely of a subject; of equals the first.
    pub fn finest(&self, subject: Subject) -> Option<usize> {
        let all = self.telling_of(subject).into_iter();
        all.min_by(|&a, &b| self[a].ground_m.total_cmp(&self[b].ground_m))
    }

    /// Index of the modality that stands for all of a place: the finest one of surface reflectance, else the first raster.
    pub fn leading(&self) -> Option<usize> {
        self.finest(Subject::SurfaceReflectance).or_else(|| self.iter().position(|m| !m.is_scalar()))
    }

    /// All modalities meant by a name: a published key, a short name, a family (`S2L2A`) or one of its synonyms
    /// (`lat_lon`, `timestamps`). Network order.
    ///
    /// # Errors
    /// When nothing matches; the message lists what there is.
    pub fn select(&self, name: &str) -> Result<Vec<usize>> {
        let wanted = name.trim();
        if let Some(i) = self.index(wanted) {
            return Ok(vec![i]);
        }
        let found: Vec<usize> = (0..self.len()).filter(|&i| self[i].about.is_called(wanted)).collect();
        if found.is_empty() {
            let known: Vec<&str> = self.iter().map(|m| m.name.as_str()).collect();
            return Err(Error::request(format!("There is no modality \"{name}\". Known: {}.", known.join(", "))));
        }
        Ok(found)
    }

    /// Indices of a comma-separated list of names.
    ///
    /// # Errors
    /// As [`select`](Self::select).
    pub fn select_list(&self, names: &str) -> Result<Vec<usize>> {
        let mut found = Vec::new();
        for name in names.split(',').filter(|name| !name.trim().is_empty()) {
            found.extend(self.select(name)?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

impl From<ModalityTable> for Vec<Modality> {
    fn from(table: ModalityTable) -> Self {
        table.rows
    }
}
