//! The networks and their weights.

mod autoencoder;
mod denoiser;
mod folder;
mod layers;
mod manifest;
mod order;
mod pth;
mod save;
mod weights;

pub use autoencoder::{Autoencoder, Moments};
pub use denoiser::Denoiser;
pub use folder::Model;
pub use manifest::{
    AutoencoderEntry, AutoencoderSizes, DenoiserSizes, MANIFEST_FILE, Manifest, Prediction, WeightFile,
};
pub use order::network_order;
pub use save::{DENOISER_FILE, autoencoder_file, import, weight_file, write_manifest, write_weights};
pub use weights::{Init, LoadedWeights, Parameters, TensorData, read_weights, sha256_of};
