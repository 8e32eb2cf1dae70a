//! What to export, and where to.

use super::command::Command;
use super::session::Session;
use super::studio::{ExportOrder, Purpose};
use super::{theme, widgets};
use egui::RichText;

/// The form.
pub struct ExportForm {
    /// Whether the window is open.
    pub open: bool,
    /// Folder, as typed.
    pub dir: String,
    /// Write the ticked realisations.
    pub realisations: bool,
    /// Write mean and variance of the ticked ones.
    pub statistics: bool,
    /// Replace files that exist.
    pub overwrite: bool,
    /// Whether files are being written.
    pub writing: bool,
    /// Why the last attempt failed.
    pub problem: Option<String>,
}

impl Default for ExportForm {
    fn default() -> Self {
        let dir = widgets::documents("copgen");
        Self { open: false, dir, realisations: true, statistics: true, overwrite: false, writing: false, problem: None }
    }
}

impl ExportForm {
    /// Draws the window.
    pub fn show(&mut self, ctx: &egui::Context, session: &Session, commands: &mut Vec<Command>) {
        let Some(run) = session.run.as_ref().filter(|_| self.open) else { return };
        let mut open = !ctx.input(|input| input.key_pressed(egui::Key::Escape));
        let window = egui::Window::new("Export GeoTIFF").open(&mut open).resizable(false).collapsible(false);
        window.anchor(egui::Align2::CENTER_CENTER, egui::Vec2::ZERO).default_width(440.0).show(ctx, |ui| {
            let ticked = run.chosen.len();
            ui.label(format!(
                "{ticked} of {} realisations are ticked in the gallery. One file is written per realisation and modality.",
                run.realisations.len()
            ));
            ui.checkbox(&mut self.realisations, "The realisations");
            ui.checkbox(&mut self.statistics, "Their mean and variance (classes: most frequent and disagreement)");
            ui.checkbox(&mut self.overwrite, "Replace files that exist");
            ui.horizontal(|ui| {
                widgets::folder(ui, "Folder", &mut self.dir, 300.0, Purpose::Export, commands);
            });
            ui.label(
                RichText::new("Every file says that it is synthetic, and names model, seed and what was given.")
                    .small()
                    .color(theme::ink(ui.visuals(), theme::SYNTHETIC)),
            );
            if let Some(problem) = &self.problem {
                ui.colored_label(theme::ALERT, problem);
            }
            let reason = self.reason(ticked);
            ui.horizontal(|ui| {
                if ui.add_enabled(reason.is_none(), egui::Button::new("Write files")).clicked() {
                    commands.push(Command::Export);
                }
                if let Some(reason) = reason {
                    ui.label(RichText::new(reason).small().weak());
                }
            });
        });
        if !open {
            commands.push(Command::ExportWindow(false));
        }
    }

    /// Why nothing can be written now.
    fn reason(&self, ticked: usize) -> Option<&'static str> {
        match () {
            () if self.writing => Some("Files are being written …"),
            () if ticked == 0 => Some("Tick at least one realisation in the gallery."),
            () if !self.realisations && !self.statistics => Some("Choose what to write."),
            () if self.dir.trim().is_empty() => Some("Name a folder."),
            () => None,
        }
    }

    /// What the studio has to write.
    pub fn order(&self, session: &Session) -> Option<ExportOrder> {
        let run = session.run.as_ref()?;
        Some(ExportOrder {
            dir: self.dir.trim().into(),
            lineage: run.lineage.clone()?,
            members: run.realisations.iter().filter(|r| run.chosen.contains(&r.index)).cloned().collect(),
            realisations: self.realisations,
            statistics: self.statistics,
            overwrite: self.overwrite,
        })
    }
}
