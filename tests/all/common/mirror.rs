//! A hub on loopback with small models, and the program beside it.

use crate::common::published::{FOLDERS, write_autoencoder, write_denoiser, write_layout};
use crate::common::server::{Reply, Server};
use crate::common::{copgen, files};
use copgen::Result;
use copgen::hub::{Hub, InstallRequest, Library, Progress, Source, install};
use copgen::model::{Manifest, sha256_of};
use copgen::net::{Network, RetryPolicy};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Never stops.
pub static GO_ON: AtomicBool = AtomicBool::new(false);

/// A hub, and the other server that it sends to for the files themselves, as the real one does.
pub struct Mirror {
    pub hub: Server,
    pub storage: Server,
}

impl Mirror {
    pub fn new() -> Self {
        Self { hub: Server::start(), storage: Server::start() }
    }

    /// Publishes a file.
    pub fn put(&self, repository: &str, file: &str, path: &Path) {
        let bytes = std::fs::metadata(path).expect("file").len();
        self.put_as(repository, file, path, &sha256_of(path).expect("hash"), bytes);
    }

    /// Publishes a file with a hash and a size that may be lies.
    pub fn put_as(&self, repository: &str, file: &str, path: &Path, sha256: &str, bytes: u64) {
        let at = format!("/{repository}/{file}");
        let to = format!("{}{at}?signature=secret", self.storage.url);
        let reply = Reply::new("text/plain", "moved").status(302).header("location", &to);
        let reply = reply.header("x-linked-etag", &format!("\"{sha256}\"")).header("x-linked-size", &bytes.to_string());
        self.hub.put(&format!("/{repository}/resolve/main/{file}"), reply);
        self.storage.put(&at, Reply::file(path));
    }

    /// Publishes the small model of the published layout.
    pub fn published(dir: &Path) -> Self {
        let own = Self::new();
        let (denoiser, autoencoders) = write_layout(dir);
        own.put("mespinosami/copgen-base", "500000_nnet_ema.pth", &denoiser);
        for folder in FOLDERS {
            let file = format!("{folder}/model-50-ema.pth");
            own.put("mespinosami/copgen-vaes", &file, &autoencoders.join(&file));
        }
        own
    }

    /// Bytes sent of a file.
    pub fn sent(&self, file: &str) -> u64 {
        let at = |repository: &str| self.storage.sent(&format!("/mespinosami/{repository}/{file}"));
        at("copgen-base") + at("copgen-vaes")
    }

    pub fn command(&self, models: &Path) -> assert_cmd::Command {
        let mut command = on(models);
        command.env("HF_ENDPOINT", &self.hub.url);
        command
    }
}

/// The program with models in this folder, and nothing of this machine's user.
pub fn on(models: &Path) -> assert_cmd::Command {
    let mut command = copgen();
    command.env("COPGEN_MODELS", models).env("HF_HOME", models.join("no cache"));
    for name in ["HF_ENDPOINT", "HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "COPGEN_OFFLINE"] {
        command.env_remove(name);
    }
    command
}

/// A model of two modalities of pictures that share an autoencoder, in a user's own catalogue.
pub const TINY: &str = r#"
[[model]]
id = "tiny"
name = "Tiny"
description = "Two pictures."
licence = "CC0"
licence_url = "https://creativecommons.org/publicdomain/zero/1.0/"
attribution = "Nobody"
heads = 2
modalities = [
  { key = "before", name = "DEM", family = "DEM", channels = ["red", "green", "blue"], pixels = 64, ground_m = 10.0, latent = [4, 8, 8], patch = 2, scale_factor = 0.18215, values = { kind = "picture" } },
  { key = "after", name = "S2L2A", family = "S2L2A", channels = ["red", "green", "blue"], pixels = 64, ground_m = 10.0, latent = [4, 8, 8], patch = 2, scale_factor = 0.18215, values = { kind = "picture" } },
]
[model.denoiser]
repository = "some/where"
file = "denoiser.pth"
about_bytes = 300_000
[[model.autoencoder]]
modalities = ["DEM", "S2L2A"]
repository = "some/where"
file = "shared.pth"
about_bytes = 1_000_000
"#;

/// A folder for models whose catalogue has the tiny one; its published files; a hub that has them.
pub fn tiny(dir: &Path) -> (PathBuf, PathBuf, Mirror) {
    let (models, files) = (dir.join("models"), dir.join("published"));
    std::fs::create_dir_all(&models).expect("folder");
    std::fs::write(models.join("catalog.toml"), TINY).expect("catalogue");
    let library = Library::at(models.clone()).expect("library");
    write_denoiser(&files.join("denoiser.pth"), &library.catalogue.get("tiny").expect("entry").modalities);
    write_autoencoder(&files.join("shared.pth"), 3, 4);
    let mirror = Mirror::new();
    for file in ["denoiser.pth", "shared.pth"] {
        mirror.put("some/where", file, &files.join(file));
    }
    (models, files, mirror)
}

/// Patient with busy machines.
pub fn network() -> Network {
    network_with(Duration::from_secs(10))
}

/// Gives a server up that is silent for so long.
pub fn network_with(silence: Duration) -> Network {
    let (first_wait, longest_wait) = (Duration::from_millis(5), Duration::from_millis(20));
    Network::new(RetryPolicy { tries: 3, first_wait, longest_wait, silence })
}

pub fn fetch_with(
    models: &Path,
    mirror: &Mirror,
    network: &Network,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(&Progress),
) -> Result<Manifest> {
    let library = Library::at(models.to_path_buf())?;
    let wish = InstallRequest { id: "tiny".into(), ..InstallRequest::default() };
    install(&library, &wish, &Source::Hub(&Hub::at(&mirror.hub.url), network), stop, tell)
}

pub fn fetch(models: &Path, mirror: &Mirror) -> Result<Manifest> {
    fetch_with(models, mirror, &network(), &GO_ON, &mut |_| {})
}

/// Everything in an installed model folder: name and hash.
pub fn hashes(dir: &Path) -> Vec<(String, String)> {
    let names = files(dir).into_iter().filter(|name| name != "lock");
    names.map(|name| (name.clone(), sha256_of(&dir.join(&name)).expect("hash"))).collect()
}

/// A scene of thumbnails as Major TOM has them.
pub fn thumbnails(dir: &Path, endings: [&str; 2]) -> PathBuf {
    let scene = dir.join("thumbnails");
    std::fs::create_dir_all(&scene).expect("folder");
    for (name, ending) in ["DEM", "S2L2A"].into_iter().zip(endings) {
        let pixel = |x: u32, y: u32| image::Rgb([(x % 256) as u8, (y % 256) as u8, ((x + y) / 9 % 256) as u8]);
        image::RgbImage::from_fn(1068, 1068, pixel).save(scene.join(format!("{name}.{ending}"))).expect("picture");
    }
    scene
}
