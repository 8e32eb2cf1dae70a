//! The networks and their weights.

mod autoencoder;
pub mod cascade;
mod cosines;
mod cost;
mod denoiser;
mod device;
mod engine;
mod folder;
mod identity;
mod import;
pub mod kernels;
mod known;
mod layers;
mod manifest;
mod order;
mod parameters;
mod pickle;
mod precision;
mod pth;
mod safetensors_file;
mod save;
mod schedule;
mod shaders;
mod tensor_data;
mod weights;

pub use autoencoder::{Autoencoder, Codec, Moments};
pub use cosines::Cosines;
pub use cost::about_memory;
pub use denoiser::{Denoiser, NoisePredictor};
pub use device::{Computing, DeviceChoice};
pub use engine::Engine;
pub use folder::Model;
pub use identity::ModelIdentity;
pub use import::{check_autoencoder, check_denoiser, convert};
pub use known::Known;
pub use layers::{Conv3, GroupNorm, LayerNorm, Projection, Sampling};
pub use manifest::{
    AutoencoderEntry, AutoencoderSizes, DenoiserSizes, MANIFEST_FILE, Manifest, Origin, Published, WeightFile,
};
pub use order::network_order;
pub use parameters::{Init, LowRank, MadeUp, Parameters, Scope};
pub use precision::Precision;
pub use safetensors_file::{Content as SafetensorsContent, read as read_safetensors};
pub use save::{DENOISER_FILE, autoencoder_file, weight_file, write_manifest, write_tensors, write_weights};
pub use schedule::{Schedule, TRAIN_STEPS};
pub use shaders::{Adapters, Gpu, ShaderAutoencoder, ShaderDenoiser};
pub use tensor_data::TensorData;
pub use weights::{LoadedWeights, count_values, read_weights, sha256_of};
