//! Asks where to save the project.

use crate::app::command::Command;
use crate::app::command::FileChoice;
use crate::app::dialogs::folder_line;
use crate::app::kit::widgets;
use egui::RichText;

/// The form.
pub(crate) struct ProjectForm {
    /// Whether the window is open.
    pub open: bool,
    /// Folder, as typed.
    pub dir: String,
}

impl Default for ProjectForm {
    fn default() -> Self {
        Self { open: false, dir: folder_line::documents("copgen-project") }
    }
}

impl ProjectForm {
    /// Draws the window.
    pub(crate) fn show(&mut self, ctx: &egui::Context, commands: &mut Vec<Command>) {
        if !self.open {
            return;
        }
        let mut open = !widgets::escaped(ctx);
        let window = egui::Window::new("Save the project").open(&mut open).resizable(false).collapsible(false);
        window.anchor(egui::Align2::CENTER_CENTER, egui::Vec2::ZERO).show(ctx, |ui| {
            ui.horizontal(|ui| {
                folder_line::folder(ui, "Project folder", &mut self.dir, 320.0, FileChoice::Project, commands);
                let named = !self.dir.trim().is_empty();
                if ui.add_enabled(named, egui::Button::new("Save")).clicked() {
                    commands.push(Command::SaveProject(self.dir.trim().into()));
                }
            });
            let text = "Place, choices, seed and all finished realisations. A project of the same folder is replaced. \
                        Open it like a scene.";
            ui.label(RichText::new(text).small().weak());
        });
        if !open {
            commands.push(Command::ProjectWindow(false));
        }
    }
}
