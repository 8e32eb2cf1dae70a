//! Weight files as PyTorch writes them, and small models in the published layouts.

use candle_core::{Device, Tensor};
use copgen::modality::ModalityTable;
use copgen::model::{Autoencoder, AutoencoderSizes, Denoiser, DenoiserSizes, Init, Parameters};
use std::io::Write;
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;

/// A tensor by name.
pub type Entry = (String, Vec<usize>, Vec<f32>);

/// Pickle of a flat state dict, opcode by opcode (protocol 2).
pub fn index(tensors: &[Entry]) -> Vec<u8> {
    let mut p = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    let text = |p: &mut Vec<u8>, text: &str| {
        p.push(b'X');
        p.extend((text.len() as u32).to_le_bytes());
        p.extend(text.bytes());
    };
    let number = |p: &mut Vec<u8>, n: usize| {
        p.push(b'J');
        p.extend((n as i32).to_le_bytes());
    };
    for (key, (name, shape, data)) in tensors.iter().enumerate() {
        text(&mut p, name);
        p.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut p, "storage");
        p.extend(b"ctorch\nFloatStorage\n");
        text(&mut p, &key.to_string());
        text(&mut p, "cpu");
        number(&mut p, data.len());
        p.extend(b"tQ");
        number(&mut p, 0);
        p.push(b'(');
        shape.iter().for_each(|&d| number(&mut p, d));
        p.extend(b"t(");
        (0..shape.len()).for_each(|i| number(&mut p, shape[i + 1..].iter().product()));
        p.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
    }
    p.extend(b"u.");
    p
}

/// A zip container around an index and its storages.
pub fn write_pth(path: &Path, index: &[u8], tensors: &[Entry]) {
    std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).expect("file"));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut add = |name: String, bytes: &[u8]| {
        zip.start_file(name, stored).expect("entry");
        zip.write_all(bytes).expect("write");
    };
    add("archive/data.pkl".into(), index);
    for (key, (_, _, data)) in tensors.iter().enumerate() {
        let bytes: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        add(format!("archive/data/{key}"), &bytes);
    }
    zip.finish().expect("end");
}

/// Makes up every parameter a network asks for, and remembers it.
#[derive(Default)]
struct MadeUp {
    entries: Vec<Entry>,
    state: u32,
}

impl Parameters for MadeUp {
    fn get(&mut self, name: &str, shape: &[usize], init: Init) -> copgen::Result<Tensor> {
        let scale = match init {
            Init::Ones => 1.0,
            Init::FanIn(n) => 1.0 / (n as f32).sqrt(),
            _ => 0.05,
        };
        let mut next = || {
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if matches!(init, Init::Ones) { 1.0 } else { (self.state as f32 / u32::MAX as f32 * 2.0 - 1.0) * scale }
        };
        let data: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
        self.entries.push((name.to_owned(), shape.to_vec(), data.clone()));
        Ok(Tensor::from_vec(data, shape, &Device::Cpu)?)
    }
}

/// Folder names of the published autoencoders, in network order of the images (A.3).
pub const FOLDERS: [&str; 10] = [
    "DEM_64x64_DEM_latent_8",
    "S1RTC_192x192_VV_VH_latent_8",
    "S2L1C_192x192_B4_3_2_8_latent_8",
    "S2L1C_96x96_B5_6_7_8A_11_12_latent_8",
    "S2L1C_32x32_B1_9_10_latent_8",
    "S2L2A_192x192_B4_3_2_8_latent_8",
    "S2L2A_96x96_B5_6_7_8A_11_12_latent_8",
    "S2L2A_32x32_B1_9_latent_8",
    "LULC_192x192_LULC_latent_8",
    "S2L1C_192x192_cloud_mask_latent_8",
];

/// Writes the published file layout with small networks of made-up weights; returns denoiser file and autoencoder
/// folder.
pub fn write_layout(dir: &Path) -> (PathBuf, PathBuf) {
    let table = ModalityTable::published();
    let denoiser = dir.join("500000_nnet_ema.pth");
    write_denoiser(&denoiser, &table);
    for (m, folder) in table.iter().filter(|m| !m.is_scalar()).zip(FOLDERS) {
        let path = dir.join("vae").join(folder).join("model-50-ema.pth");
        write_autoencoder(&path, m.network_channels(), m.latent[0]);
    }
    (denoiser, dir.join("vae"))
}

/// Writes a small denoiser of made-up weights for a table.
pub fn write_denoiser(path: &Path, table: &ModalityTable) {
    let sizes = DenoiserSizes { width: 32, depth: 2, heads: 2, mlp_ratio: 4 };
    let mut source = MadeUp::default();
    Denoiser::new(table, &sizes, &mut source, &Device::Cpu).expect("denoiser");
    write_pth(path, &index(&source.entries), &source.entries);
}

/// Writes a small autoencoder of made-up weights.
pub fn write_autoencoder(path: &Path, channels: usize, latent: usize) {
    let sizes = AutoencoderSizes {
        base_width: 32,
        multipliers: vec![1, 1, 1, 1],
        residual_blocks: 1,
        norm_groups: 32,
        linear_path: false,
    };
    let mut source = MadeUp::default();
    Autoencoder::new(&sizes, channels, latent, &mut source, &Device::Cpu).expect("autoencoder");
    write_pth(path, &index(&source.entries), &source.entries);
}
