//! Training recipes: what to train, on which scenes, how.

use super::split::{Split, Use};
use crate::error::{Error, Result};
use crate::files::{read_text, read_toml};
use crate::modality::ModalityTable;
use crate::model::cascade::{CoarseSizes, RefinerSizes};
use crate::model::{AutoencoderSizes, DenoiserSizes, Precision};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A recipe file (TOML). Paths are relative to where the command runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the model.
    pub name: String,
    /// What it is and is not, for people.
    pub description: String,
    /// Licence of the weights.
    pub licence: String,
    /// Attribution of the data.
    pub attribution: String,
    /// File of the modality table (JSON), beside the recipe; the published table if left out.
    pub modalities: Option<PathBuf>,
    /// Seed of everything random.
    pub seed: u64,
    /// Which windows.
    pub data: DataRecipe,
    /// Autoencoder settings; for models with autoencoders.
    pub autoencoder: Option<AutoencoderRecipe>,
    /// Sizes of a cascade ([`crate::model::cascade`]); for models of that kind.
    pub cascade: Option<CascadeRecipe>,
    /// Denoiser settings; of a cascade those of its coarse network.
    pub denoiser: DenoiserRecipe,
}

/// A cascade.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CascadeRecipe {
    /// The coarse network.
    pub coarse: CoarseSizes,
    /// The regression that exemplars add to.
    pub first_guess: FirstGuessRecipe,
    /// The refiner.
    pub refiner: RefinerRecipe,
}

/// The first guess of a cascade.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstGuessRecipe {
    /// Numbers of its two inner layers.
    pub width: usize,
    /// Optimiser.
    pub optimiser: OptimiserRecipe,
}

/// The refiner of a cascade.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefinerRecipe {
    /// Its sizes.
    pub sizes: RefinerSizes,
    /// Channels of the judge's first layer; twice as many in the others.
    pub judge_width: usize,
    /// Weight of the difference to the true pixels.
    pub difference: f64,
    /// Weight of the difference in how much pixels vary within cells.
    pub spread: f64,
    /// Weight of what the judge says; without it textures are smooth.
    pub judged: f64,
    /// Optimiser of both.
    pub optimiser: OptimiserRecipe,
}

/// Windows and augmentation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// How often scenes whose name begins so are drawn, relative to 1 for all others.
    #[serde(default)]
    pub weights: BTreeMap<String, f64>,
    /// Scenes whose name begins so are never trained on; validation and evaluation use them. For recipes without `split`.
    #[serde(default)]
    pub held_out: Vec<String>,
    /// File beside the recipe that says what each scene is for ([`Split`]).
    pub split: Option<PathBuf>,
    /// That file, once it has been read.
    #[serde(skip)]
    pub uses: Option<Split>,
    /// Random flips and quarter turns, the same for all modalities of a window.
    pub turns: bool,
    /// Scenes whose name begins so are known to be free of clouds, though they have no cloud mask: they get a clear one.
    #[serde(default)]
    pub clear: Vec<String>,
    /// Chance that clouds and their shadows are simulated over a window that is wholly clear, with the matching mask.
    #[serde(default)]
    pub clouds: f64,
    /// Chance that a clear window with one level of Sentinel-2 gets the other one, as a plausible atmosphere would have it;
    /// for cascades.
    #[serde(default)]
    pub other_level: f64,
    /// Chance of another time of day: slopes are lit anew through the elevation model.
    #[serde(default)]
    pub sun: f64,
    /// Chance of a slightly different calibration of the optical bands.
    #[serde(default)]
    pub radiometry: f64,
    /// Take terrain-corrected sigma0 (S1GRD) for radar where no RTC exists.
    pub accept_grd_as_rtc: bool,
}

impl DataRecipe {
    /// Whether a scene is for this use. Without a split what is held out is for everything but training.
    pub fn is_for(&self, scene: &str, wanted: Use) -> bool {
        match &self.uses {
            Some(split) => split.of(scene) == wanted,
            None => self.held_out.iter().any(|prefix| scene.starts_with(prefix)) == (wanted != Use::Train),
        }
    }
}

/// One optimiser setting.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimiserRecipe {
    /// Steps.
    pub steps: u64,
    /// Items per part of a step.
    pub batch: usize,
    /// Parts of a step whose gradients are added before the weights move: memory for one batch, statistics of many.
    #[serde(default = "one")]
    pub accumulation: usize,
    /// Learning rate after warm-up.
    pub learning_rate: f64,
    /// Steps of linear warm-up.
    pub warm_up: u64,
    /// Share of the steps at the end over which the rate falls linearly to zero.
    #[serde(default)]
    pub cool_down: f64,
    /// AdamW's two averages.
    pub betas: [f64; 2],
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Decay of the exponential moving average of the weights, which is what is saved.
    pub ema: f64,
    /// Gradients are scaled down to this norm.
    pub clip: f64,
    /// Of products on a CPU: `f32`, or `bf16`, whose weights and sums stay in float32; faster where there is a matrix unit.
    #[serde(default)]
    pub precision: Precision,
}

/// Autoencoders (specification F.2, the simple part).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderRecipe {
    /// Sizes of all autoencoders.
    pub sizes: AutoencoderSizes,
    /// Weight of the KL term.
    pub kl_weight: f64,
    /// Weight of the cross-entropy of class rasters beside L1 and L2, whose minimum blurs borders; 0 as published.
    #[serde(default)]
    pub cross_entropy: f64,
    /// Windows from which the linear path is fitted by patch PCA.
    pub pca_windows: usize,
    /// How far the linear path's latents are brought to one variance: 1 wholly, 0 not at all.
    pub whitening: f64,
    /// Optimiser.
    pub optimiser: OptimiserRecipe,
}

/// Denoiser (specification F.1).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenoiserRecipe {
    /// Sizes; a cascade has its own.
    pub sizes: Option<DenoiserSizes>,
    /// Optimiser.
    pub optimiser: OptimiserRecipe,
    /// Draws of windows kept in memory; with autoencoders encoded once, as moments: a new latent is drawn at every use.
    pub cached_windows: usize,
    /// Share of items whose modalities all have the same time (sampling looks like that); the others have
    /// independent times as published.
    #[serde(default)]
    pub shared_time: f64,
    /// Share of times drawn from the middle (logit-normal) instead of uniformly as published: near both ends there is
    /// little to learn.
    #[serde(default)]
    pub central_times: f64,
    /// Share of items whose times are drawn evenly in the logarithm of signal over noise: half of what an image is made of
    /// is decided in the last quarter of the times.
    #[serde(default)]
    pub even_levels: f64,
    /// Chance that a modality enters clean at time 0, as a condition does when sampling; 0 as published. It varies from
    /// item to item between nothing and twice this.
    #[serde(default)]
    pub given: f64,
    /// Chance that a modality is withheld: pure noise at time 1000 and no loss.
    #[serde(default)]
    pub withheld: f64,
    /// The same for location and date: with few places they are too easily learned by heart.
    #[serde(default)]
    pub scalars_withheld: f64,
    /// Share of items in which all groups of a product are given, withheld or generated together.
    #[serde(default)]
    pub by_family: f64,
    /// Share of items in which nothing is known of what is generated but what is given: the first guess of a sampling.
    #[serde(default)]
    pub from_noise: f64,
    /// Share of items that are as users ask: optical bands from what is not optical, one level from the other, or what is
    /// not optical from optical bands.
    #[serde(default)]
    pub questions: f64,
    /// Share of items in which some pixels of what is generated are known; for cascades.
    #[serde(default)]
    pub partly: f64,
}

impl Recipe {
    /// Reads a recipe and its modality table.
    ///
    /// # Errors
    /// When a file is missing or a field is unknown, missing or out of range.
    pub fn open(path: &Path) -> Result<(Self, ModalityTable)> {
        let mut recipe: Self = read_toml(path, "a training recipe")?;
        recipe.check().map_err(|e| Error::file(path, e.to_string()))?;
        let beside = |name: &Path| path.parent().unwrap_or(Path::new(".")).join(name);
        recipe.data.uses = recipe.data.split.as_deref().map(|name| Split::read(&beside(name))).transpose()?;
        let Some(table) = &recipe.modalities else { return Ok((recipe, ModalityTable::published())) };
        let table_path = beside(table);
        let text = read_text(&table_path).map_err(|e| Error::io(&table_path, "read", &e))?;
        let table: ModalityTable = serde_json::from_str(&text)
            .map_err(|e| Error::file(&table_path, format!("This is not a modality table: {e}")))?;
        Ok((recipe, table))
    }

    fn check(&self) -> Result<()> {
        let d = &self.data;
        if [d.clouds, d.sun, d.radiometry, d.other_level].iter().any(|p| !(0.0..=1.0).contains(p)) {
            return Err(Error::request("Chances of augmentation must lie in 0…1."));
        }
        self.denoiser.sizes.as_ref().map_or(Ok(()), DenoiserSizes::check)?;
        self.denoiser.optimiser.check()?;
        if let Some(a) = &self.autoencoder {
            a.sizes.check()?;
            a.optimiser.check()?;
            if !(0.0..=1.0).contains(&a.whitening) {
                return Err(Error::request("The whitening of the autoencoders must lie in 0…1."));
            }
        }
        if let Some(c) = &self.cascade {
            c.coarse.check()?;
            c.refiner.sizes.check()?;
            c.first_guess.optimiser.check()?;
            if !(1..=4096).contains(&c.first_guess.width) {
                return Err(Error::request("The width of a first guess must lie in 1…4096."));
            }
            c.refiner.optimiser.check()?;
            let weights = [c.refiner.difference, c.refiner.spread, c.refiner.judged];
            if weights.iter().any(|w| !(0.0..=1e3).contains(w)) || !(1..=1024).contains(&c.refiner.judge_width) {
                return Err(Error::request(
                    "A refiner's weights must lie in 0…1000, and the width of its judge in 1…1024.",
                ));
            }
        }
        let d = &self.denoiser;
        if [
            d.shared_time,
            d.central_times,
            d.even_levels,
            d.given,
            d.withheld,
            d.scalars_withheld,
            d.by_family,
            d.from_noise,
            d.partly,
            d.questions,
        ]
        .iter()
        .any(|p| !(0.0..=1.0).contains(p))
            || d.cached_windows == 0
        {
            return Err(Error::request("Chances must lie in 0…1 and numbers of windows must be positive."));
        }
        Ok(())
    }
}

impl OptimiserRecipe {
    /// Items of a step.
    pub fn items(&self) -> usize {
        self.batch * self.accumulation
    }

    fn check(&self) -> Result<()> {
        let shares = [self.betas[0], self.betas[1], self.ema, self.cool_down];
        let positive = [self.learning_rate, self.clip];
        if self.batch == 0
            || self.accumulation == 0
            || shares.iter().any(|s| !(0.0..1.0).contains(s))
            || positive.iter().any(|v| v.is_nan() || *v <= 0.0)
        {
            return Err(Error::request(
                "An optimiser needs batch and accumulation ≥ 1, betas, ema and cool_down in 0…1, and positive learning rate and clip.",
            ));
        }
        if ![Precision::F32, Precision::Bf16].contains(&self.precision) {
            return Err(Error::request("Training is in f32 or bf16: set an optimiser's precision to one of them."));
        }
        Ok(())
    }
}

fn one() -> usize {
    1
}
