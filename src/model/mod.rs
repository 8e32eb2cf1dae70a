//! The networks and their weights.

mod autoencoder;
mod cost;
mod denoiser;
mod device;
mod engine;
pub mod field;
mod folder;
mod identity;
mod import;
pub mod kernels;
mod layers;
mod manifest;
mod order;
mod precision;
mod pth;
mod save;
mod schedule;
mod shaders;
mod weights;

pub use autoencoder::{Autoencoder, Codec, Moments};
pub use cost::about_memory;
pub use denoiser::{Denoiser, NoisePredictor};
pub use device::{Computing, DeviceChoice};
pub use engine::Engine;
pub use folder::Model;
pub use identity::ModelIdentity;
pub use import::{check_autoencoder, check_denoiser, convert};
pub use layers::{Conv3, LowRank, Sampling};
pub use manifest::{
    AutoencoderEntry, AutoencoderSizes, DenoiserSizes, MANIFEST_FILE, Manifest, Origin, Published, WeightFile,
};
pub use order::network_order;
pub use precision::Precision;
pub use save::{
    DENOISER_FILE, FIELD_FILE, autoencoder_file, weight_file, write_manifest, write_tensors, write_weights,
};
pub use schedule::{Schedule, TRAIN_STEPS};
pub use shaders::{Adapters, Gpu, ShaderAutoencoder, ShaderDenoiser};
pub use weights::{
    Init, LoadedWeights, MadeUp, Parameters, Scope, TensorData, read_weights, safetensors_in, sha256_of,
};
