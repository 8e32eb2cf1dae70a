//! What is kept of a partly given modality: where, how far from what is not, how much; and a brush for it.

use crate::app::command::Command;
use crate::app::kit::widgets;
use crate::app::state::session::Session;
use crate::app::state::tools::{Brush, Tool};
use crate::app::view::shown::{Base, Shown};
use crate::job::{Keep, KnownWhere};
use crate::modality::{ClassMap, Modality};
use crate::text::percent;
use egui::{RichText, Ui};

/// In a word, and in a sentence.
fn named(known: &KnownWhere) -> (&'static str, String) {
    let word = match known {
        KnownWhere::Clear { .. } => "where clear",
        KnownWhere::Valid => "where valid",
        KnownWhere::File(_) => "by a file",
        KnownWhere::Painted(_) => "as painted",
    };
    (word, format!("Kept where {}", known.describe()))
}

/// Choice of the mask, buffer, share and brush.
pub(super) fn show(
    ui: &mut Ui,
    session: &Session,
    shown: &Shown,
    (i, m): (usize, &Modality),
    keep: &Keep,
    commands: &mut Vec<Command>,
) {
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 3.0;
        let share = shown.kept_share(i).map_or_else(String::new, |share| format!("{:.0} % ", 100.0 * share));
        let (word, sentence) = named(&keep.known);
        let text = RichText::new(format!("{share}{word}")).small();
        let room = ui.available_width() - 44.0;
        let list = egui::ComboBox::from_id_salt("kept").selected_text(text).width(room).truncate();
        let response = ui.scope(|ui| {
            ui.set_max_width(room);
            list.show_ui(ui, |ui| {
                let mut choices = vec![KnownWhere::Clear { also: Vec::new() }, KnownWhere::Valid];
                if let Some(mask) = session.mask_of(i, keep) {
                    let (rows, columns) = mask.size();
                    choices.push(KnownWhere::Painted(ClassMap::constant((rows, columns), 1)));
                }
                for known in choices {
                    let alike = std::mem::discriminant(&known) == std::mem::discriminant(&keep.known);
                    if ui.selectable_label(alike, named(&known).0).clicked() && !alike {
                        commands.push(Command::Keep(session.kept_together(i), Keep { known, ..keep.clone() }));
                    }
                }
                let mut buffer = keep.buffer_m;
                let value = egui::DragValue::new(&mut buffer).range(0.0..=2000.0).speed(10.0).suffix(" m buffer");
                let response = ui.add(value).on_hover_text("What lies closer to what is not kept is sampled, too");
                widgets::named(&response, egui::Role::SpinButton, format!("Buffer of {}", m.name));
                if response.changed() {
                    let buffer_m = (buffer / 10.0).round() * 10.0;
                    commands.push(Command::Keep(session.kept_together(i), Keep { buffer_m, ..keep.clone() }));
                }
            })
        });
        widgets::named(&response.inner.response, egui::Role::ComboBox, format!("{} kept", m.name));
        let share = shown.kept_share(i).map_or_else(String::new, |share| format!(": {} of the pixels", percent(share)));
        response.inner.response.on_hover_text(format!("{sentence}{share}"));
        let on = matches!(shown.tool, Tool::Brush(brush) if brush.keeps && brush.modality == i);
        let response =
            ui.selectable_label(on, "Paint").on_hover_text("Paint on the map what is kept and what is sampled");
        widgets::choice(&response, egui::Role::Button, true, on, &format!("Paint what is kept of {}", m.name));
        if response.clicked() {
            let brush = Brush { modality: i, code: 0, keeps: true, radius_m: 60.0, outline: false };
            commands.push(Command::Modality(i));
            commands.push(Command::Base(Base::Observed));
            commands.push(Command::Tool(if on { Tool::Pointer } else { Tool::Brush(brush) }));
        }
    });
}
