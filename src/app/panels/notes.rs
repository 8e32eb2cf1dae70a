//! Notes that stay until they are read.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::state::session::Session;
use egui::{Align2, Frame, Stroke, vec2};

const WIDTH: f32 = 360.0;

/// Draws the newest few at the lower left of the map.
pub(crate) fn show(ctx: &egui::Context, map: egui::Rect, session: &Session, commands: &mut Vec<Command>) {
    const SHOWN: usize = 4;
    let skipped = session.notes.len().saturating_sub(SHOWN);
    let area = egui::Area::new(egui::Id::unique("notes"))
        .pivot(Align2::LEFT_BOTTOM)
        .fixed_pos(map.left_bottom() + vec2(12.0, -52.0))
        .constrain_to(map);
    area.show(ctx, |ui| {
        for (i, note) in session.notes.iter().enumerate().skip(skipped) {
            let colour = if note.problem { theme::ALERT } else { theme::OBSERVED };
            let frame = Frame::popup(ui.style()).stroke(Stroke::new(1.0, colour)).inner_margin(8.0);
            frame.show(ui, |ui| {
                ui.set_width(WIDTH);
                ui.horizontal_top(|ui| {
                    ui.colored_label(colour, if note.problem { "Problem" } else { "Note" });
                    ui.scope(|ui| {
                        ui.set_width(WIDTH - 110.0);
                        ui.add(egui::Label::new(egui::RichText::new(&note.text).small()).wrap());
                    });
                    let button = ui.small_button("OK").on_hover_text("Dismiss");
                    widgets::named(&button, egui::Role::Button, format!("Dismiss note {}", i + 1));
                    if button.clicked() {
                        commands.push(Command::Dismiss(i));
                    }
                });
            });
        }
    });
}
