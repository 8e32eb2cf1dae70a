//! Asks where to save the project.

use super::command::Command;
use super::studio::Purpose;
use egui::{Key, RichText};
use std::path::PathBuf;

/// The form.
pub struct ProjectForm {
    /// Whether the window is open.
    pub open: bool,
    /// Folder, as typed.
    pub dir: String,
}

impl Default for ProjectForm {
    fn default() -> Self {
        let documents = directories::UserDirs::new().and_then(|dirs| dirs.document_dir().map(PathBuf::from));
        let dir = documents.unwrap_or_else(|| ".".into()).join("copgen-project").display().to_string();
        Self { open: false, dir }
    }
}

impl ProjectForm {
    /// Draws the window.
    pub fn show(&mut self, ctx: &egui::Context, commands: &mut Vec<Command>) {
        if !self.open {
            return;
        }
        let mut open = !ctx.input(|input| input.key_pressed(Key::Escape));
        let window = egui::Window::new("Save the project").open(&mut open).resizable(false).collapsible(false);
        window.anchor(egui::Align2::CENTER_CENTER, egui::Vec2::ZERO).show(ctx, |ui| {
            ui.horizontal(|ui| {
                let label = ui.label("Project folder");
                ui.add(egui::TextEdit::singleline(&mut self.dir).desired_width(320.0)).labelled_by(label.id);
                if ui.button("Choose …").clicked() {
                    commands.push(Command::ChooseFolder(Purpose::Project));
                }
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
