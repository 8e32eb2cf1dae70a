//! Training of autoencoders, denoisers and cascades (specification F).

mod atmosphere;
mod augment;
mod autoencoder;
mod cascade;
mod cell_moments;
mod checkpoint;
mod clouds;
mod coarse;
mod denoiser;
mod exemplars;
mod first_guess;
mod holes;
mod items;
mod judge;
mod k_means;
mod masks;
mod moments;
mod output;
mod parameters;
mod pca;
mod plot;
mod recipe;
mod record;
mod refiner;
mod split;
mod start;
mod steps;
mod token_denoiser;
mod windows;

pub use autoencoder::{AutoencoderReport, train_autoencoder};
pub use cascade::{finish_cascade, train_coarse, train_first_guess, train_refiner};
pub use checkpoint::checkpoint_file;
pub use denoiser::{Denoising, train_denoiser};
pub use output::OutputFolder;
pub use parameters::{Optimiser, Trainable};
pub use recipe::{
    AutoencoderRecipe, CascadeRecipe, DataRecipe, DenoiserRecipe, FirstGuessRecipe, OptimiserRecipe, Recipe,
    RefinerRecipe,
};
pub use record::Row;
pub use split::{Split, Use};
pub use steps::{Options, Seen, Setting, accumulate};
pub use windows::Windows;

/// What a training tells while it runs.
#[derive(Debug, Clone)]
pub enum Progress {
    /// A step is done.
    Step {
        /// What is being trained.
        what: String,
        /// The step.
        row: Row,
        /// Steps in all.
        steps: u64,
    },
    /// Something else to say.
    Remark(String),
}
