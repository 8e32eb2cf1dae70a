//! Asks what to open: typed, chosen in a dialog, dropped on the window, or opened lately.

use crate::app::command::Command;
use crate::app::command::FileChoice;
use crate::app::dialogs::folder_line;
use crate::app::kit::widgets;
use crate::app::state::recent::Recent;
use egui::{Key, RichText};

/// The form.
#[derive(Default)]
pub(crate) struct SceneForm {
    /// Whether the window is open.
    pub open: bool,
    dir: String,
}

impl SceneForm {
    /// Draws the window.
    pub(crate) fn show(&mut self, ctx: &egui::Context, recent: &Recent, commands: &mut Vec<Command>) {
        if !self.open {
            return;
        }
        let mut open = !widgets::escaped(ctx);
        let window = egui::Window::new("Open").open(&mut open).resizable(false).collapsible(false);
        window.anchor(egui::Align2::CENTER_CENTER, egui::Vec2::ZERO).show(ctx, |ui| {
            ui.horizontal(|ui| {
                let field = folder_line::folder(ui, "Folder, file or address", &mut self.dir, 320.0, FileChoice::OpenScene, commands);
                let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
                let named = !self.dir.trim().is_empty();
                if (ui.add_enabled(named, egui::Button::new("Open")).clicked() || entered) && named {
                    commands.push(Command::OpenPaths(vec![self.dir.trim().into()]));
                }
            });
            let text = "A scene (folder of GeoTIFFs named by modality: S2L2A_10m.tif, S1RTC.tif, DEM.tif …), a project, \
                        a GeoTIFF, a data set in the Major TOM layout (Core-S2L2A/618U/618U_30L/…), or a parquet file of \
                        Major TOM Core or its address, of which one cell is taken. Base maps (.pmtiles, .mbtiles) too. All \
                        can also be dropped on the window, several GeoTIFFs or parquet files together as one scene.";
            ui.label(RichText::new(text).small().weak());
            if !recent.folders.is_empty() {
                ui.separator();
                ui.label(RichText::new("Opened lately").small());
                for dir in &recent.folders {
                    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    if ui.link(name).on_hover_text(dir.display().to_string()).clicked() {
                        commands.push(Command::OpenPaths(vec![dir.clone()]));
                    }
                }
            }
        });
        if !open {
            commands.push(Command::SceneWindow(false));
        }
    }
}
