//! Asks what GeoTIFFs are that do not say it themselves.

use crate::app::command::Command;
use crate::app::kit::widgets;
use crate::scene::LooseFile;
use egui::RichText;

/// A file and the choice made for it.
struct Row {
    file: LooseFile,
    /// Which of the candidates; `None` leaves it out.
    choice: Option<usize>,
}

/// The form; open while there are files.
#[derive(Default)]
pub(crate) struct FilesForm {
    rows: Vec<Row>,
}

impl FilesForm {
    /// Asks about these.
    pub(crate) fn ask(&mut self, files: Vec<LooseFile>) {
        let sure = |file: &LooseFile| (file.candidates.len() == 1).then_some(0);
        self.rows = files.into_iter().map(|file| Row { choice: sure(&file), file }).collect();
    }

    /// Asks no longer.
    pub(crate) fn close(&mut self) {
        self.rows.clear();
    }

    /// Draws the window.
    pub(crate) fn show(&mut self, ctx: &egui::Context, commands: &mut Vec<Command>) {
        if self.rows.is_empty() {
            return;
        }
        let mut open = !widgets::escaped(ctx);
        let window = egui::Window::new("What are these files?").open(&mut open).resizable(false).collapsible(false);
        window.anchor(egui::Align2::CENTER_CENTER, egui::Vec2::ZERO).show(ctx, |ui| {
            egui::Grid::new("files").num_columns(2).spacing(egui::vec2(16.0, 6.0)).show(ui, |ui| {
                for (i, row) in self.rows.iter_mut().enumerate() {
                    let name = row.file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    ui.label(&name).on_hover_text(row.file.path.display().to_string());
                    let text = row.choice.map_or("choose …", |choice| &row.file.candidates[choice]);
                    let list = egui::ComboBox::from_id_salt(i).selected_text(text).width(150.0);
                    let response = list.show_ui(ui, |ui| {
                        for (k, candidate) in row.file.candidates.iter().enumerate() {
                            ui.selectable_value(&mut row.choice, Some(k), candidate);
                        }
                        ui.selectable_value(&mut row.choice, None, "leave it out");
                    });
                    widgets::named(&response.response, egui::Role::ComboBox, format!("Modality of {name}"));
                    ui.end_row();
                }
            });
            ui.label(RichText::new("They are opened together, as one scene.").small().weak());
            let files: Vec<_> = self
                .rows
                .iter()
                .filter_map(|row| {
                    Some((row.file.path.clone(), row.file.candidates[row.choice?].clone(), row.file.date))
                })
                .collect();
            if ui.add_enabled(!files.is_empty(), egui::Button::new("Open as a scene")).clicked() {
                commands.push(Command::OpenFiles(Some(files)));
            }
        });
        if !open {
            commands.push(Command::OpenFiles(None));
        }
    }
}
