//! What the window opens with.

use crate::basemap::Folders;
use crate::error::Result;
use crate::files::{bundled, folders};
use crate::hub::{Hub, Library};
use crate::modality::Catalogue;
use crate::net::Network;
use crate::source::{Kept, Provider, providers};
use std::path::PathBuf;

/// The scene a newcomer sees first.
const FIRST_SCENE: &str = "433D_629L_3_1";

/// See the module.
pub struct Options {
    /// Model folder.
    pub model: PathBuf,
    /// Scenes on the map.
    pub scenes: Vec<PathBuf>,
    /// Whether that model was asked for: then it comes before the one of the session that was kept.
    pub named_model: bool,
    /// Scene that a newcomer sees first, who has kept no session yet.
    pub first: Option<PathBuf>,
    /// Scene that was asked for: it is picked, whatever was picked when the session was kept.
    pub scene: Option<PathBuf>,
    /// Folder that keeps the session for the next start, and what the user chose of the window itself; nothing is kept
    /// without one.
    pub session: Option<PathBuf>,
    /// Folder that models are installed in; none on a system without one.
    pub models: Option<PathBuf>,
    /// Where models are fetched from.
    pub hub: Hub,
    /// The way to servers, and whether it is open.
    pub network: Network,
    /// Providers of open data.
    pub sources: Vec<Provider>,
    /// Where fetched places are kept for offline use.
    pub kept: Option<Kept>,
    /// What to tell at once.
    pub problems: Vec<String>,
    /// Where map layers are described and servers' tiles are kept.
    pub maps: Folders,
}

impl Options {
    /// The bundled scenes with one of them picked, and the bundled model.
    ///
    /// # Errors
    /// When the program's own files are not found.
    pub fn bundled() -> Result<Self> {
        let dir = bundled("assets/scenes")?;
        let scenes = folders(&dir)?;
        let first = Some(dir.join(FIRST_SCENE));
        // Everything but the user's own families works without them.
        let mut problems: Vec<String> = Catalogue::checked().err().iter().map(ToString::to_string).collect();
        let sources = providers().unwrap_or_else(|error| {
            // Everything but open data works without.
            problems.push(error.to_string());
            Vec::new()
        });
        Ok(Self {
            model: bundled("models/demo")?,
            named_model: false,
            first,
            scene: None,
            scenes,
            session: None,
            models: Library::folder().ok(),
            hub: Hub::from_env(),
            network: Network::default(),
            sources,
            kept: Kept::usual(),
            problems,
            maps: Folders::default(),
        })
    }
}
