//! Offers open data where a cell is picked of which nothing is known.

use crate::app::command::Command;
use crate::app::state::place::Selection;
use crate::app::state::session::Session;
use egui::vec2;

/// Draws the card over the map.
pub(crate) fn show(ctx: &egui::Context, map: egui::Rect, session: &Session, commands: &mut Vec<Command>) {
    let Some(Selection::Cell(cell)) = session.selection else { return };
    let area = egui::Area::new(egui::Id::unique("offer")).pivot(egui::Align2::CENTER_TOP);
    area.fixed_pos(map.center_top() + vec2(0.0, 12.0)).constrain_to(map).show(ctx, |ui| {
        egui::Frame::popup(ui.style()).inner_margin(8.0).show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.label(format!("Cell {cell}: only its place is known."));
                if ui.button("Get open data …").clicked() {
                    commands.push(Command::DataWindow(true));
                }
            });
        });
    });
}
