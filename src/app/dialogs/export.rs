//! What to export, and where to.

use crate::app::command::Command;
use crate::app::command::FileChoice;
use crate::app::dialogs::folder_line;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::state::runs::Run;
use crate::app::state::session::Session;
use crate::app::view::inspected;
use crate::app::view::shown::Shown;
use crate::app::work::export::ExportOrder;
use crate::export::{ChosenLook, ExportRequest, Pictures};
use crate::modality::Modality;
use crate::sampler::Role;
use egui::{RichText, Ui};
use std::collections::BTreeSet;

/// The form.
pub(crate) struct ExportForm {
    /// Whether the window is open.
    pub open: bool,
    /// Folder, as typed.
    pub dir: String,
    /// Write the ticked realisations.
    pub realisations: bool,
    /// Write mean and variance of the ticked ones.
    pub statistics: bool,
    /// Lay GeoTIFFs out for reading over a network.
    pub cloud_optimised: bool,
    /// Write pictures.
    pub pictures: bool,
    /// With a legend.
    pub legend: bool,
    /// Write the inspector's table.
    pub inspected: bool,
    /// Write a STAC item.
    pub stac: bool,
    /// Replace files that exist.
    pub overwrite: bool,
    /// Modalities that are not wanted.
    left_out: BTreeSet<usize>,
    /// Whether files are being written.
    pub writing: bool,
    /// Why the last attempt failed.
    pub problem: Option<String>,
}

impl Default for ExportForm {
    fn default() -> Self {
        Self {
            open: false,
            dir: folder_line::documents("copgen"),
            realisations: true,
            statistics: true,
            cloud_optimised: false,
            pictures: false,
            legend: true,
            inspected: false,
            stac: false,
            overwrite: false,
            left_out: BTreeSet::new(),
            writing: false,
            problem: None,
        }
    }
}

impl ExportForm {
    /// Draws the window.
    pub(crate) fn show(&mut self, ctx: &egui::Context, session: &Session, shown: &Shown, commands: &mut Vec<Command>) {
        let (Some(run), Some(table)) = (session.run().filter(|_| self.open), session.table()) else { return };
        let mut open = !widgets::escaped(ctx);
        let window = egui::Window::new("Export").open(&mut open).resizable(false).collapsible(false);
        window.anchor(egui::Align2::CENTER_CENTER, egui::Vec2::ZERO).default_width(470.0).show(ctx, |ui| {
            let ticked = run.chosen.len();
            ui.label(format!("{ticked} of {} realisations are ticked in the gallery.", run.realisations.len()));
            let generated = run.request.roles.with(Role::Generated);
            self.modalities(ui, &generated, |i| &table[i]);
            ui.separator();
            self.what(ui, shown.spot.is_some() && session.run_is_here());
            ui.horizontal(|ui| {
                folder_line::folder(ui, "Folder", &mut self.dir, 300.0, FileChoice::Export, commands);
            });
            ui.checkbox(&mut self.overwrite, "Replace files that exist");
            ui.label(
                RichText::new("Every file says that it is synthetic, and names model, seed and what was given.")
                    .small()
                    .color(theme::ink(ui.visuals(), theme::SYNTHETIC)),
            );
            if let Some(problem) = &self.problem {
                ui.colored_label(theme::ink(ui.visuals(), theme::ALERT), problem);
            }
            let reason = self.reason(run);
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

    fn modalities<'a>(&mut self, ui: &mut Ui, generated: &[usize], name: impl Fn(usize) -> &'a Modality) {
        ui.horizontal_wrapped(|ui| {
            for &i in generated {
                let mut wanted = !self.left_out.contains(&i);
                let name = &name(i).name;
                let response = ui.checkbox(&mut wanted, RichText::new(name).small());
                widgets::choice(&response, egui::Role::CheckBox, true, wanted, &format!("Write {name}"));
                if response.changed() {
                    if wanted {
                        self.left_out.remove(&i)
                    } else {
                        self.left_out.insert(i)
                    };
                }
            }
        });
    }

    fn what(&mut self, ui: &mut Ui, spot: bool) {
        ui.checkbox(&mut self.realisations, "GeoTIFF of each realisation and modality, tables of places and dates");
        ui.checkbox(&mut self.statistics, "GeoTIFF of mean and variance (classes: most frequent and disagreement)");
        ui.indent("tiff", |ui| {
            let tiff = self.realisations || self.statistics;
            let hover = "Cloud-optimised GeoTIFF: tiles and overviews, so that parts can be read over a network";
            ui.add_enabled(tiff, egui::Checkbox::new(&mut self.cloud_optimised, "cloud-optimised"))
                .on_hover_text(hover);
        });
        let hover =
            "PNG of what was observed, of each realisation, of mean and spread, marked as synthetic where they are";
        ui.checkbox(&mut self.pictures, "Pictures (PNG), as they are shown").on_hover_text(hover);
        ui.indent("png", |ui| {
            ui.add_enabled(self.pictures, egui::Checkbox::new(&mut self.legend, "with legend"));
        });
        let hover = "Values of all bands at the spot that is inspected, over realisations";
        ui.add_enabled(spot, egui::Checkbox::new(&mut self.inspected, "Table of the inspected spot (CSV)"))
            .on_hover_text(hover)
            .on_disabled_hover_text("Click into the window on the map to inspect a spot");
        let hover = "A description of all files for catalogues: place, date, model, seed, what was given. Each band then has a file of its own";
        ui.checkbox(&mut self.stac, "STAC item").on_hover_text(hover);
    }

    /// Why nothing can be written now.
    fn reason(&self, run: &Run) -> Option<&'static str> {
        let wanted = || run.request.roles.with(Role::Generated).into_iter().any(|i| !self.left_out.contains(&i));
        match () {
            () if self.writing => Some("Files are being written …"),
            () if run.chosen.is_empty() => Some("Tick at least one realisation in the gallery."),
            () if !wanted() => Some("Tick at least one modality."),
            () if !self.realisations && !self.statistics && !self.pictures => Some("Choose what to write."),
            () if !self.realisations && !self.pictures && run.chosen.len() < 2 => {
                Some("Mean and variance need two realisations.")
            }
            () if self.dir.trim().is_empty() => Some("Name a folder."),
            () => None,
        }
    }

    /// What the queue has to write.
    pub(crate) fn order(&self, session: &Session, shown: &Shown) -> Option<ExportOrder> {
        let (run, table) = (session.run()?, session.table()?);
        let m = table.get(shown.modality)?;
        let observed = || {
            let values = run.observed.observation.values.iter();
            values.map(|given| given.as_ref().and_then(|given| given.value.image()).cloned()).collect()
        };
        let pictures = self.pictures.then(|| Pictures {
            legend: self.legend,
            own_stretch: shown.own_stretch,
            chosen: Some(ChosenLook {
                modality: shown.modality,
                look: shown.look,
                quantity: shown.compared(m),
                measure: shown.measure(m),
                range: shown.fixed_range,
            }),
            observed: observed(),
        });
        let wanted = |i: &usize| !self.left_out.contains(i);
        let spot = shown.spot.filter(|_| self.inspected && session.run_is_here());
        let request = ExportRequest {
            dir: self.dir.trim().into(),
            modalities: run.request.roles.with(Role::Generated).into_iter().filter(wanted).collect(),
            realisations: self.realisations,
            statistics: self.statistics,
            cloud_optimised: self.cloud_optimised,
            pictures,
            inspected: spot.map(|spot| inspected::table(session, spot)),
            stac: self.stac,
            overwrite: self.overwrite,
            created: None,
            collection: None,
        };
        let realisations = run.realisations.iter().filter(|r| run.chosen.contains(&r.index)).cloned().collect();
        Some(ExportOrder { request, lineage: run.lineage.clone()?, realisations })
    }
}
