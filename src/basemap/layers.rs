//! Which layers there are: the bundled one, servers' (built in and from `layers.toml`), and the user's own files.

use super::archive::MapInfo;
use super::online::{OnlineLayer, openstreetmap};
use crate::error::{Error, Result};
use crate::files::{UserFolder, read_text, read_toml, write_atomically};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// File in that folder that describes further layers.
pub const LAYERS_FILE: &str = "layers.toml";
/// What the bundled layer is called.
const BUNDLED: &str = "Blue Marble (offline)";
/// As many files are remembered.
const FILES: usize = 20;

/// Folders the map reads and writes, apart from the session's.
#[derive(Debug, Clone, Default)]
pub struct Folders {
    /// Holds `layers.toml`.
    pub config: Option<PathBuf>,
    /// Tiles of servers; nothing is kept on disk without one.
    pub cache: Option<PathBuf>,
}

impl Folders {
    /// Those of the user.
    pub fn of_user() -> Self {
        Self { config: UserFolder::Settings.folder(), cache: UserFolder::Tiles.folder() }
    }
}

/// Which layer is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayerId {
    /// Blue Marble from the program's own files.
    #[default]
    Bundled,
    /// A server's, by its name.
    Online(String),
    /// A file of the user's.
    File(PathBuf),
}

/// A file of the user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLayer {
    /// Where it is.
    pub path: PathBuf,
    /// Name for people.
    pub name: String,
}

/// All layers, and which one is shown.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    online: Vec<OnlineLayer>,
    files: Vec<FileLayer>,
    shown: LayerId,
    store: Option<PathBuf>,
}

#[derive(Default, Serialize, Deserialize)]
struct Remembered {
    files: Vec<FileLayer>,
    shown: LayerId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configured {
    #[serde(default)]
    layer: Vec<OnlineLayer>,
}

impl Layers {
    /// Reads what is configured, and what a session remembers; also tells what could not be used. Small files: fit for
    /// the start of the window.
    pub fn open(config: Option<&Path>, session: Option<&Path>) -> (Self, Vec<Error>) {
        let (mut online, mut problems) = (vec![openstreetmap()], Vec::new());
        if let Some(file) = config.map(|dir| dir.join(LAYERS_FILE)).filter(|file| file.exists()) {
            match configured(&file) {
                Ok(found) => {
                    for layer in found {
                        let twice = online.iter().any(|known| known.name == layer.name);
                        let twice =
                            twice.then(|| format!("layer \"{}\": there is another one of this name", layer.name));
                        match layer.problem().or(twice) {
                            Some(problem) => problems.push(Error::file(&file, format!("Left out: {problem}"))),
                            None => online.push(layer),
                        }
                    }
                }
                Err(error) => problems.push(error),
            }
        }
        let store = session.map(|dir| dir.join("layers.json"));
        let text = store.as_ref().and_then(|file| read_text(file).ok());
        // As with the list of recent folders: a damaged one is an empty one.
        let kept: Remembered = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let mut layers = Self { online, files: kept.files, shown: LayerId::Bundled, store };
        if layers.all().contains(&kept.shown) {
            layers.shown = kept.shown;
        }
        (layers, problems)
    }

    /// All of them, in the order of the list.
    pub fn all(&self) -> Vec<LayerId> {
        let online = self.online.iter().map(|layer| LayerId::Online(layer.name.clone()));
        let files = self.files.iter().map(|file| LayerId::File(file.path.clone()));
        std::iter::once(LayerId::Bundled).chain(online).chain(files).collect()
    }

    /// Name for people.
    pub fn name(&self, id: &LayerId) -> String {
        match id {
            LayerId::Bundled => BUNDLED.into(),
            LayerId::Online(name) => format!("{name} (online)"),
            LayerId::File(path) => {
                let known = self.files.iter().find(|file| file.path == *path).map(|file| file.name.clone());
                known.unwrap_or_else(|| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
            }
        }
    }

    /// The description of a server's layer.
    pub fn online(&self, name: &str) -> Option<&OnlineLayer> {
        self.online.iter().find(|layer| layer.name == name)
    }

    /// Which one is shown.
    pub fn shown(&self) -> &LayerId {
        &self.shown
    }

    /// Another one is shown; whether that has to be written.
    pub fn show(&mut self, id: LayerId) -> bool {
        let changed = self.shown != id;
        self.shown = id;
        changed && self.store.is_some()
    }

    /// A file was opened; whether the list has to be written.
    pub fn add(&mut self, path: &Path, info: &MapInfo) -> bool {
        let file = FileLayer { path: path.to_path_buf(), name: info.name.clone() };
        if self.files.contains(&file) {
            return false;
        }
        self.files.retain(|known| known.path != path);
        self.files.push(file);
        let surplus = self.files.len().saturating_sub(FILES);
        self.files.drain(..surplus);
        self.store.is_some()
    }

    /// A file is not to be listed any more; whether the list has to be written.
    pub fn forget(&mut self, path: &Path) -> bool {
        let before = self.files.len();
        self.files.retain(|known| known.path != path);
        before != self.files.len() && self.store.is_some()
    }

    /// Writes list and choice.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self) -> Result<()> {
        let Some(file) = &self.store else { return Ok(()) };
        let kept = Remembered { files: self.files.clone(), shown: self.shown.clone() };
        let text = serde_json::to_vec_pretty(&kept).map_err(|e| Error::file(file, e.to_string()))?;
        write_atomically(file, &text)
    }
}

fn configured(file: &Path) -> Result<Vec<OnlineLayer>> {
    read_toml::<Configured>(file, "a description of map layers").map(|configured| configured.layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "[[layer]]\nname = \"Topo\"\nurl = \"https://{s}.t.org/{z}/{x}/{y}.png\"\nattribution = \"© T\"\n";

    fn open(text: &str) -> (Layers, Vec<String>) {
        let dir = tempfile::tempdir().expect("folder");
        std::fs::write(dir.path().join(LAYERS_FILE), text).expect("written");
        let (layers, problems) = Layers::open(Some(dir.path()), None);
        (layers, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn layers_are_described_in_a_file_and_mistakes_explained() {
        let (layers, problems) = open(GOOD);
        assert!(problems.is_empty(), "{problems:?}");
        let topo = layers.online("Topo").expect("layer");
        assert_eq!((topo.max_zoom, topo.tile_size, topo.servers.len()), (19, 256, 3));
        let change = |from: &str, to: &str| open(&GOOD.replace(from, to));
        for (from, to, problem) in [
            ("{x}", "", "lacks {x}"),
            ("https", "ftp", "begin with https"),
            ("© T", " ", "thank"),
            ("Topo", "OpenStreetMap", "another one"),
            ("attribution", "key_header = \"x-key\"\nattribution", "key_variable"),
            ("attribution", "key_variable = \"A\"\nattribution", "used nowhere"),
            ("attribution", "key_variable = \"A\"\nkey_header = \"a b\"\nattribution", "no name of a header"),
            ("attribution", "max_zoom = 30\nattribution", "zoom levels"),
            ("attribution", "tile_size = 100\nattribution", "256 or 512"),
            ("attribution", "servers = []\nattribution", "servers is empty"),
            ("attribution", "colour = 3\nattribution", "line 4: unknown field"),
            ("[[layer]]", "[[layer", "line 1: "),
        ] {
            let (layers, problems) = change(from, to);
            assert!(problems.len() == 1 && problems[0].contains(problem), "{problem}: {problems:?}");
            assert!(problems[0].contains(LAYERS_FILE), "{problems:?}");
            assert_eq!(layers.all().len(), 2, "the others stay");
        }
    }

    #[test]
    fn the_example_is_right() {
        let (layers, problems) = open(include_str!("../../assets/layers.example.toml"));
        assert!(problems.is_empty() && layers.online("OpenTopoMap").is_some(), "{problems:?}");
    }

    #[test]
    fn files_and_the_choice_survive_a_restart() {
        let dir = tempfile::tempdir().expect("folder");
        let (mut layers, _) = Layers::open(None, Some(dir.path()));
        let info =
            |name: &str| MapInfo { name: name.into(), credit: String::new(), zooms: 0..=3, side: 256, bounds: None };
        let path = |i: usize| PathBuf::from(format!("/maps/{i}.mbtiles"));
        for i in 0..FILES + 5 {
            assert!(layers.add(&path(i), &info(&format!("map {i}"))));
        }
        assert!(!layers.add(&path(10), &info("map 10")));
        assert!(layers.forget(&path(11)) && !layers.forget(&path(11)));
        assert!(layers.show(LayerId::File(path(10))));
        layers.write().expect("written");
        let (again, _) = Layers::open(None, Some(dir.path()));
        assert_eq!((again.all(), again.shown()), (layers.all(), layers.shown()));
        assert_eq!(again.name(again.shown()), "map 10");
        assert_eq!(again.all().len(), 2 + FILES - 1);
        // What is gone from the configuration is not shown.
        layers.show(LayerId::Online("gone".into()));
        layers.write().expect("written");
        assert_eq!(*Layers::open(None, Some(dir.path())).0.shown(), LayerId::Bundled);
        std::fs::write(dir.path().join("layers.json"), "{").expect("damage");
        assert_eq!(Layers::open(None, Some(dir.path())).0.all().len(), 2);
    }
}
