//! The bundled model's kind: a cascade of two networks that work on the images themselves, without autoencoders.
//!
//! The *coarse* network samples what every modality is at cells of 40 m, their means and how much they vary within ([`Cells`]),
//! as the published denoiser samples latents. It predicts the data, not the noise: what a small network is asked for
//! has to be something a small network can hold. The *refiner* then draws the pixels: once, from what is broad in these cells,
//! from everything that is given at full resolution, and from noise of its own. Pixels larger than its own (elevation, bands
//! of 60 m) are made of the cells.
//!
//! Not in the published model. What is decided by the whole window (colours, fields, where the water lies) has few numbers at
//! 40 m and is worth many evaluations; what is finer depends on its surroundings alone (arXiv 2303.02984) and needs one.

mod cells;
mod coarse;
mod drawing;
#[cfg(test)]
mod exemplar_tests;
mod exemplars;
mod first_guess;
mod layers;
mod matching;
mod mixture;
mod mosaic;
mod network;
mod pairs;
mod pieces;
mod refiner;
#[cfg(test)]
mod tests;

pub use cells::{Cells, Level, Part, SMOOTH, Standard};
pub use coarse::{Coarse, CoarseInputs, CoarseSizes, KnownCells};
pub use drawing::{Cascade, CascadeEntry, Drawing};
pub use exemplars::{Exemplar, Exemplars};
pub use first_guess::FirstGuess;
pub(super) use layers::groups;
pub use mixture::{Kind, Mixture, Seen};
pub use refiner::{
    Layer, NOISE_CHANNELS, Refiner, RefinerChannels, RefinerInput, RefinerInputs, RefinerNetwork, RefinerSizes, Usage,
};
