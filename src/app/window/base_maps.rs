//! What happens when another layer is asked for below everything.

use crate::app::map::map_view::LayerInfo;
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::queue::Lane;
use crate::app::work::read;
use crate::basemap::{Archive, LayerId, Online, TileSource};
use crate::error::Result;
use std::path::Path;
use std::sync::Arc;

impl ExplorerWindow {
    /// Shows a layer, once it is opened.
    pub(super) fn base_map(&mut self, layer: LayerId) {
        match &layer {
            LayerId::Bundled => {
                self.wanted_layer = LayerId::Bundled;
                self.map.set_layer(None);
                self.layer_shown(layer);
            }
            LayerId::Online(name) => {
                let Some(described) = self.session.layers.online(name).cloned() else { return };
                self.wanted_layer = layer.clone();
                let info = LayerInfo::online(&described);
                let source = Online::new(described, self.network.clone(), self.tiles.as_deref());
                self.map.set_layer(Some((Arc::new(source), info, &self.ctx)));
                self.layer_shown(layer);
            }
            LayerId::File(_) => self.open_map(layer),
        }
    }

    /// Opens a map file; it is shown when it has been, unless another layer is asked for by then.
    pub(super) fn open_map(&mut self, layer: LayerId) {
        self.wanted_layer = layer.clone();
        self.read_map(layer);
    }

    /// Reads a map file, or the bundled one.
    pub(super) fn read_map(&self, layer: LayerId) {
        let file = layer.clone();
        self.queue.run(
            Lane::Read,
            move || read::map_file(&file),
            move |window: &mut Self, opened| {
                window.map_opened(layer, opened);
            },
        );
    }

    /// A map file was opened, or could not be.
    fn map_opened(&mut self, layer: LayerId, opened: Result<Archive>) {
        match (opened, &layer) {
            (Ok(archive), LayerId::File(path)) => {
                let fresh = !self.session.layers.all().contains(&layer);
                let changed = self.session.layers.add(path, &archive.info);
                if self.wanted_layer == layer {
                    let info = LayerInfo::file(&archive.info);
                    let bounds = archive.info.bounds;
                    let source: Arc<dyn TileSource> = Arc::new(archive);
                    self.map.set_layer(Some((source, info, &self.ctx)));
                    // Who opens a map wants to see it.
                    if let Some(bounds) = bounds.filter(|_| fresh) {
                        self.map.bring_into_view(bounds);
                    }
                    self.layer_shown(layer);
                }
                if changed {
                    self.write_layers();
                }
            }
            (Ok(archive), _) => self.map.set_bundled(Arc::new(archive), &self.ctx),
            (Err(error), _) => {
                self.session.note(error.to_string(), true);
                self.layer_gone(&layer);
            }
        }
    }

    /// A layer is not to be had: the bundled one is shown in its place, until a newer request is answered.
    fn layer_gone(&mut self, layer: &LayerId) {
        if self.session.layers.shown() == layer {
            self.map.set_layer(None);
            self.layer_shown(LayerId::Bundled);
        }
        if self.wanted_layer == *layer {
            self.wanted_layer = self.session.layers.shown().clone();
        }
    }

    /// Takes a map file off the list.
    pub(super) fn forget_map(&mut self, path: &Path) {
        let changed = self.session.layers.forget(path);
        self.layer_gone(&LayerId::File(path.to_path_buf()));
        if changed {
            self.write_layers();
        }
    }

    fn layer_shown(&mut self, layer: LayerId) {
        if self.session.layers.show(layer) {
            self.write_layers();
        }
    }
}
