//! All modalities with their roles, and ready-made questions.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::panels::role_row;
use crate::app::state::questions::Question;
use crate::app::state::session::Session;
use crate::app::view::shown::Shown;
use crate::modality::Modality;
use egui::{RichText, Ui};

/// Draws the rows.
pub(crate) fn show(ui: &mut Ui, session: &Session, shown: &Shown, commands: &mut Vec<Command>) {
    ui.horizontal(|ui| {
        ui.heading("Modalities");
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| head(ui, session, commands));
    });
    let Some(table) = session.table() else {
        ui.label("Loading the model …");
        return;
    };
    if table.iter().all(|m| m.is_scalar() || m.is_picture()) {
        let text = "This model makes pictures: colours without units, no measurements.";
        ui.label(RichText::new(text).small().color(theme::ink(ui.visuals(), theme::SYNTHETIC)));
    }
    if session.observed.is_none() {
        let text = match session.selection {
            Some(_) => "Reading the place …",
            None => "Pick a scene (dot) on the map, or zoom in and pick a grid cell.",
        };
        ui.label(RichText::new(text).weak());
    }
    // Band groups of one sensor lie next to each other in the table.
    let all: Vec<(usize, &Modality)> = table.iter().enumerate().collect();
    for family in all.chunk_by(|a, b| a.1.family == b.1.family) {
        match family {
            [(i, m)] => {
                ui.push_id(i, |ui| role_row::row(ui, session, shown, *i, m, commands));
            }
            groups => role_row::family(ui, session, shown, groups, commands),
        }
    }
}

/// Ready-made questions, and the way back.
fn head(ui: &mut Ui, session: &Session, commands: &mut Vec<Command>) {
    for (name, can, command) in
        [("Redo", session.choices.can_redo(), Command::Redo), ("Undo", session.choices.can_undo(), Command::Undo)]
    {
        let response = ui.add_enabled(can, egui::Button::new(RichText::new(name).small()));
        if response.on_hover_text(format!("{name} changes of roles and values")).clicked() {
            commands.push(command);
        }
    }
    ui.menu_button("Questions", |ui| {
        for question in Question::ALL {
            let choices = session.choices_for(question);
            let response = ui.add_enabled(choices.is_ok(), egui::Button::new(question.name()));
            let response = response.on_hover_text(question.text());
            if let Err(reason) = choices {
                response.on_disabled_hover_text(reason);
            } else if response.clicked() {
                commands.push(Command::Ask(question));
                ui.close();
            }
        }
    })
    .response
    .on_hover_text("Ready-made choices of what is given and what is generated");
}
