//! A denoiser that is exact in its first part: the images of a window as one stationary Gaussian random field over all
//! channels (the model behind cokriging), of one of several regimes (snow, cloud, forest, water …), and two small networks for what is not Gaussian: a transformer over places,
//! and convolutions for edges and texture.
//!
//! Not in the published model. With few scenes a network has to spend most of its training on what is linear: which
//! band follows which, at what scale, how level goes with level. A Gaussian field has that in closed form, at every
//! noise level and for every choice of given modalities, from a few thousand numbers.
//!
//! Latents are the images themselves, whitened ([`Statistics::whiten`]): each channel divided by its mean spectrum and
//! given the same one. Nothing is lost and no autoencoder is needed.

mod denoiser;
mod layout;
mod local;
mod places;
mod posterior;
mod statistics;
#[cfg(test)]
mod tests;

pub use denoiser::{FieldDenoiser, Inputs, LocalInputs};
pub use layout::{FrequencyGroup, Layout, Part};
pub use local::{Block, CellGrid, Local, LocalSizes};
pub use places::Places;
pub use posterior::{Estimate, Level, Posterior};
pub use statistics::{Regime, Statistics};
