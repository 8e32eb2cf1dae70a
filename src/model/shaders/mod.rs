//! The published kind's networks, and the refiner of a cascade, on any graphics adapter, through wgpu and the compute shaders of `shaders/`.
//!
//! A network is recorded once for each batch size as a list of dispatches ([`program::Program`]) and then only replayed.
//! Every sum has one order, whatever lies beside it in a batch: a realisation is the same bit for bit in any batch.

mod autoencoder;
mod denoiser;
mod gpu;
mod kernel;
mod operations;
mod picture;
mod program;
mod refiner;
#[cfg(test)]
mod tests;

pub use autoencoder::ShaderAutoencoder;
pub use denoiser::ShaderDenoiser;
pub use gpu::{Adapters, Gpu};
pub(super) use operations::product_alone;
pub(super) use refiner::ShaderRefiner;
