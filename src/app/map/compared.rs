//! The part of the card over the map that compares a run with another scene of the same ground, such as a clear date.

use crate::app::command::Command;
use crate::app::kit::widgets;
use crate::app::state::session::Session;
use crate::app::view::shown::Shown;
use crate::ensemble::{Agreement, Quantity};
use crate::modality::{Modality, measured_unit};
use crate::view::short;
use egui::{RichText, Ui, vec2};

/// One figure of an agreement, if it has it.
type OneFigure = fn(&Agreement) -> Option<f32>;

/// Which scene is compared, and how near everything comes to it.
pub(super) fn show(ui: &mut Ui, m: &Modality, session: &Session, shown: &Shown, commands: &mut Vec<Command>) {
    if session.references().next().is_none() {
        return;
    }
    let chosen = session.reference.as_ref();
    let text = chosen.map_or("compared with nothing else", |reference| reference.name.as_str());
    let list = egui::ComboBox::from_id_salt("reference").selected_text(text).width(220.0).truncate();
    let response = list.show_ui(ui, |ui| {
        if ui.selectable_label(chosen.is_none(), "nothing else").clicked() {
            commands.push(Command::Compare(None));
        }
        for known in session.references() {
            let on = chosen.is_some_and(|reference| reference.dir == known.scene.dir());
            if ui.selectable_label(on, known.scene.name()).clicked() {
                commands.push(Command::Compare(Some(known.scene.dir().to_owned())));
            }
        }
    });
    widgets::named(&response.response, egui::Role::ComboBox, "Reference");
    let hover = "Another scene on the map that shows the same ground: another date, opened or fetched";
    response.response.on_hover_text(hover);
    if chosen.is_some() {
        figures(ui, m, shown);
    }
}

fn figures(ui: &mut Ui, m: &Modality, shown: &Shown) {
    let small = |text: String| RichText::new(text).small();
    let [Some(sampled), kept] = shown.agreement else {
        ui.label(small(format!("It shows nothing of {} here, or that is still being read.", m.name)).weak());
        return;
    };
    let sides: Vec<(&str, Agreement)> = [("sampled", Some(sampled)), ("kept", kept)]
        .into_iter()
        .filter_map(|(name, side)| Some((name, side?)))
        .collect();
    let all: usize = sides.iter().map(|(_, side)| side.pixels).sum();
    egui::Grid::new("agreement").num_columns(3).spacing(vec2(12.0, 2.0)).show(ui, |ui| {
        ui.label("");
        for (name, side) in &sides {
            let title = match sides.len() {
                1 => String::new(),
                _ => format!("{name} ({:.0} %)", 100.0 * side.pixels as f64 / all as f64),
            };
            ui.label(small(title).weak());
        }
        ui.end_row();
        let value = |value: f32| if m.classes().is_some() { format!("{:.0} %", 100.0 * value) } else { short(value) };
        let middle = if m.classes().is_some() { "most frequent" } else { "mean" };
        let rows: [(&str, OneFigure); 3] = [
            (middle, |side| Some(side.mean)),
            ("one realisation", |side| Some(side.single)),
            ("observed", |side| side.observed),
        ];
        for (name, of) in rows {
            if sides.iter().all(|(_, side)| of(side).is_none()) {
                continue;
            }
            ui.label(small(name.into()));
            for (_, side) in &sides {
                ui.label(small(of(side).map_or("–".into(), value)));
            }
            ui.end_row();
        }
    });
    let quantity = shown.compared(m);
    let name =
        Quantity::of(m).into_iter().find(|(_, other)| *other == quantity).map_or(String::new(), |(name, _)| name);
    let what = match (m.classes(), quantity) {
        (Some(_), _) => "pixels of another class than the reference".into(),
        (None, Quantity::Index(_)) => format!("mean absolute difference from the reference, {name}"),
        (None, Quantity::Channel(_)) => {
            format!("mean absolute difference from the reference, {name}, {}", measured_unit(m))
        }
    };
    ui.label(small(what).weak());
}
