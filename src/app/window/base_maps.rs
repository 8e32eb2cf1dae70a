//! What happens when another layer is wished for below everything.

use crate::app::map::map_view::LayerInfo;
use crate::app::window::explorer::ExplorerWindow;
use crate::app::work::queue::{self, Reply};
use crate::basemap::{Archive, LayerId, Online, TileSource};
use crate::error::Result;
use egui::Context;
use std::path::Path;
use std::sync::Arc;

impl ExplorerWindow {
    /// Shows a layer, once it is opened.
    pub(super) fn basemap(&mut self, ctx: &Context, layer: LayerId) {
        match &layer {
            LayerId::Bundled => {
                self.layer_wanted = LayerId::Bundled;
                self.map.set_layer(None);
                self.layer_shown(layer);
            }
            LayerId::Online(name) => {
                let Some(described) = self.session.layers.online(name).cloned() else { return };
                self.layer_wanted = layer.clone();
                let info = LayerInfo::online(&described);
                let source = Online::new(described, self.exchanges.network.clone(), self.tiles.as_deref());
                self.map.set_layer(Some((Arc::new(source), info, ctx)));
                self.layer_shown(layer);
            }
            LayerId::File(_) => self.open_map(layer),
        }
    }

    /// Opens a map file; it is shown when it has been, unless another layer is wished for by then.
    pub(super) fn open_map(&mut self, layer: LayerId) {
        self.layer_wanted = layer.clone();
        self.queue.run(move || queue::open_map(layer));
    }

    /// A map file was opened, or could not be.
    pub(super) fn map_opened(&mut self, ctx: &Context, layer: LayerId, opened: Result<Archive>) {
        match (opened, &layer) {
            (Ok(archive), LayerId::File(path)) => {
                let fresh = !self.session.layers.all().contains(&layer);
                let changed = self.session.layers.add(path, &archive.info);
                if self.layer_wanted == layer {
                    let info = LayerInfo::file(&archive.info);
                    let bounds = archive.info.bounds;
                    let source: Arc<dyn TileSource> = Arc::new(archive);
                    self.map.set_layer(Some((source, info, ctx)));
                    // Who opens a map wants to see it.
                    if let Some(bounds) = bounds.filter(|_| fresh) {
                        self.map.bring_into_view(bounds);
                    }
                    self.layer_shown(layer);
                }
                if changed {
                    self.keep_layers();
                }
            }
            (Ok(archive), _) => self.map.set_bundled(Arc::new(archive), ctx),
            (Err(error), _) => {
                self.session.note(error.to_string(), true);
                self.layer_gone(&layer);
            }
        }
    }

    /// A layer is not to be had: the bundled one is shown in its place, until a newer wish is answered.
    fn layer_gone(&mut self, layer: &LayerId) {
        if self.session.layers.shown() == layer {
            self.map.set_layer(None);
            self.layer_shown(LayerId::Bundled);
        }
        if self.layer_wanted == *layer {
            self.layer_wanted = self.session.layers.shown().clone();
        }
    }

    /// Takes a map file off the list.
    pub(super) fn forget_map(&mut self, path: &Path) {
        let changed = self.session.layers.forget(path);
        self.layer_gone(&LayerId::File(path.to_path_buf()));
        if changed {
            self.keep_layers();
        }
    }

    fn layer_shown(&mut self, layer: LayerId) {
        if self.session.layers.show(layer) {
            self.keep_layers();
        }
    }

    fn keep_layers(&self) {
        let layers = self.session.layers.clone();
        self.queue.run(move || Reply::Kept(layers.write()));
    }
}
