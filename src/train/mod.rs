//! Training of autoencoders and denoiser, with the losses of the published system (specification F).

mod autoencoder;
mod denoiser;
mod parameters;
mod pca;
mod recipe;
mod windows;

pub use autoencoder::{AutoencoderReport, train_autoencoder};
pub use denoiser::train_denoiser;
pub use recipe::{AutoencoderRecipe, DataRecipe, DenoiserRecipe, OptimiserRecipe, Recipe};

/// One training step, for a progress bar.
#[derive(Debug, Clone)]
pub struct Progress {
    /// What is being trained.
    pub what: String,
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Loss of this step; NaN where there is none.
    pub loss: f64,
}
