//! Asks for a scene folder: typed, chosen in a dialog, or dropped on the window.

use super::command::Command;
use super::studio::Purpose;
use super::widgets;
use egui::{Key, RichText};

/// The form.
#[derive(Default)]
pub struct SceneForm {
    /// Whether the window is open.
    pub open: bool,
    dir: String,
}

impl SceneForm {
    /// Draws the window.
    pub fn show(&mut self, ctx: &egui::Context, commands: &mut Vec<Command>) {
        if !self.open {
            return;
        }
        let mut open = !ctx.input(|input| input.key_pressed(Key::Escape));
        let window = egui::Window::new("Open a scene").open(&mut open).resizable(false).collapsible(false);
        window.anchor(egui::Align2::CENTER_CENTER, egui::Vec2::ZERO).show(ctx, |ui| {
            ui.horizontal(|ui| {
                let field = widgets::folder(ui, "Scene folder", &mut self.dir, 320.0, Purpose::OpenScene, commands);
                let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
                let named = !self.dir.trim().is_empty();
                if (ui.add_enabled(named, egui::Button::new("Open")).clicked() || entered) && named {
                    commands.push(Command::OpenScene(self.dir.trim().into()));
                }
            });
            let text = "GeoTIFFs named by modality (S2L2A_10m.tif, S1RTC.tif, DEM.tif, LULC.tif …). \
                        A folder can also be dropped on the window.";
            ui.label(RichText::new(text).small().weak());
        });
        if !open {
            commands.push(Command::SceneWindow(false));
        }
    }
}
