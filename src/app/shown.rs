//! What the gallery and the map show: textures made from what the studio painted.

use super::session::Session;
use super::studio::{PaintOrder, Painted};
use crate::gpu::Samples;
use crate::modality::ModalityTable;
use egui::{ColorImage, TextureHandle, TextureOptions};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The picture on the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// None: the map alone.
    None,
    /// What was observed at the picked place.
    Observed,
    /// Mean (or most frequent class) of the realisations.
    Mean,
    /// One realisation.
    Realisation(u64),
}

/// Where the realisations of one channel disagree.
#[derive(Debug, Clone)]
pub struct Spread {
    /// Identifies the samples, so that the shader runs once for each.
    pub id: u64,
    /// Data.
    pub samples: Samples,
    /// Values at both ends of the legend.
    pub range: [f32; 2],
}

/// See the module.
pub struct Shown {
    /// Modality of the gallery and of the picture on the map.
    pub modality: usize,
    /// Channel whose spread is shown.
    pub channel: usize,
    /// Picture on the map.
    pub base: Base,
    /// Whether the spread lies over it.
    pub spread_wanted: bool,
    /// Opacity of the spread.
    pub opacity: f32,
    /// What was observed at the picked place, by modality, each with its own stretch.
    pub thumbnails: Vec<Option<TextureHandle>>,
    /// What was observed where the run samples, with the gallery's stretch.
    pub observed: Option<TextureHandle>,
    /// Realisations by number.
    pub realisations: BTreeMap<u64, TextureHandle>,
    /// Mean of the realisations.
    pub mean: Option<TextureHandle>,
    /// Their spread.
    pub spread: Option<Spread>,
    /// Latest preview: realisation, modality, picture.
    pub preview: Option<(u64, usize, TextureHandle)>,
    /// Whether no result of the latest run was shown yet.
    pub fresh_run: bool,
    serial: u64,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            modality: 0,
            channel: 0,
            base: Base::Observed,
            spread_wanted: false,
            opacity: 0.75,
            thumbnails: Vec::new(),
            observed: None,
            realisations: BTreeMap::new(),
            mean: None,
            spread: None,
            preview: None,
            fresh_run: false,
            serial: 0,
        }
    }
}

fn texture(ctx: &egui::Context, name: &str, image: Arc<ColorImage>) -> TextureHandle {
    // Pixels are measurements: they stay sharp squares when enlarged.
    let options = TextureOptions { minification: egui::TextureFilter::Linear, ..TextureOptions::NEAREST };
    ctx.load_texture(name, image, options)
}

impl Shown {
    /// Shows another modality; its pictures come with the next [`painted`](Self::painted).
    pub fn show_modality(&mut self, modality: usize) {
        self.modality = modality;
        self.channel = 0;
        self.forget_run();
    }

    /// Drops the pictures of a run.
    pub fn forget_run(&mut self) {
        self.observed = None;
        self.realisations.clear();
        self.mean = None;
        self.spread = None;
    }

    /// The modality a newcomer should see first: surface reflectance at 10 m, else the first image.
    pub fn first_choice(table: &ModalityTable) -> usize {
        table.index("S2L2A_10m").or_else(|| table.iter().position(|m| !m.is_scalar())).unwrap_or(0)
    }

    /// Takes thumbnails of a newly picked place.
    pub fn place(&mut self, ctx: &egui::Context, thumbnails: Vec<Option<Arc<ColorImage>>>) {
        self.thumbnails =
            thumbnails.into_iter().map(|image| image.map(|image| texture(ctx, "thumbnail", image))).collect();
        if !self.thumbnails.get(self.modality).is_some_and(Option::is_some)
            && let Some(first) = self.thumbnails.iter().position(Option::is_some)
        {
            self.show_modality(first);
        }
        self.base = Base::Observed;
    }

    /// What the studio has to paint for the latest run.
    pub fn order(&mut self, session: &Session) -> Option<PaintOrder> {
        let (table, run) = (session.table()?, session.run.as_ref()?);
        let m = table.get(self.modality).filter(|m| !m.is_scalar())?;
        self.serial += 1;
        let observed = run.observed.observation.values[self.modality].as_ref();
        Some(PaintOrder {
            serial: self.serial,
            modality: m.clone(),
            index: self.modality,
            channel: self.channel,
            observed: observed.and_then(|given| given.value.image()).cloned(),
            members: run.realisations.clone(),
        })
    }

    /// Takes what was painted, unless it is out of date.
    pub fn painted(&mut self, ctx: &egui::Context, painted: Painted) {
        if painted.serial != self.serial {
            return;
        }
        self.observed = painted.observed.map(|image| texture(ctx, "observed", image));
        self.mean = painted.mean.map(|image| texture(ctx, "mean", image));
        self.realisations = painted
            .realisations
            .into_iter()
            .map(|(index, image)| (index, texture(ctx, "realisation", image)))
            .collect();
        self.spread = painted.spread.map(|(samples, range)| Spread { id: painted.serial, samples, range });
    }

    /// Takes a preview.
    pub fn previewed(&mut self, ctx: &egui::Context, index: u64, modality: usize, image: Arc<ColorImage>) {
        self.preview = Some((index, modality, texture(ctx, "preview", image)));
    }
}
