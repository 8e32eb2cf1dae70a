//! A line that asks for a folder or file.

use crate::app::command::{Command, FileChoice};
use egui::Response;
use std::path::PathBuf;

/// Draws it: typed or chosen in a dialog; the field's response.
pub(crate) fn folder(
    ui: &mut egui::Ui,
    label: &str,
    dir: &mut String,
    width: f32,
    purpose: FileChoice,
    commands: &mut Vec<Command>,
) -> Response {
    let label = ui.label(label);
    let response = ui.add(egui::TextEdit::singleline(dir).desired_width(width)).labelled_by(label.id);
    if ui.button("Choose …").clicked() {
        commands.push(Command::ChooseFolder(purpose));
    }
    response
}

/// A folder of this name among the user's documents.
pub(crate) fn documents(name: &str) -> String {
    let documents = directories::UserDirs::new().and_then(|dirs| dirs.document_dir().map(PathBuf::from));
    documents.unwrap_or_else(|| ".".into()).join(name).display().to_string()
}
