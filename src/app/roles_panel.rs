//! One row per modality: what is known of it here, and its role.

use super::command::Command;
use super::presets::Preset;
use super::session::Session;
use super::shown::Shown;
use super::{theme, widgets};
use crate::modality::{Class, Modality, Value, ValueKind};
use crate::sampler::Role;
use crate::view;
use egui::{Color32, RichText, Sense, Ui, vec2};

const THUMBNAIL: f32 = 40.0;

/// Draws the rows.
pub fn show(ui: &mut Ui, session: &Session, shown: &Shown, commands: &mut Vec<Command>) {
    ui.horizontal(|ui| {
        ui.heading("Modalities");
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| head(ui, session, commands));
    });
    let Some(table) = session.table() else {
        ui.label("Loading the model …");
        return;
    };
    if session.observed.is_none() {
        let text = match session.selection {
            Some(_) => "Reading the place …",
            None => "Pick a scene (dot) on the map, or zoom in and pick a grid cell.",
        };
        ui.label(RichText::new(text).weak());
    }
    for (i, m) in table.iter().enumerate() {
        ui.push_id(i, |ui| row(ui, session, shown, i, m, commands));
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
        for preset in Preset::ALL {
            let choices = session.preset(preset);
            let response = ui.add_enabled(choices.is_ok(), egui::Button::new(preset.name()));
            let response = response.on_hover_text(preset.question());
            if let Err(reason) = choices {
                response.on_disabled_hover_text(reason);
            } else if response.clicked() {
                commands.push(Command::Preset(preset));
                ui.close();
            }
        }
    })
    .response
    .on_hover_text("Ready-made choices of what is given and what is generated");
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Given => "given",
        Role::Generated => "generated",
        Role::Ignored => "ignored",
    }
}

fn row(ui: &mut Ui, session: &Session, shown: &Shown, i: usize, m: &Modality, commands: &mut Vec<Command>) {
    let role = session.choices.now().roles.get(i).copied().unwrap_or(Role::Generated);
    let selected = shown.modality == i;
    let fill = if selected { ui.visuals().selection.bg_fill.gamma_multiply(0.45) } else { Color32::TRANSPARENT };
    let frame = egui::Frame::new().fill(fill).corner_radius(6.0).inner_margin(egui::Margin::symmetric(4, 2));
    frame.show(ui, |ui| {
        ui.horizontal(|ui| {
            thumbnail(ui, shown, i, m, role, commands);
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.y = 1.0;
                ui.set_width((ui.available_width() - 134.0).max(60.0));
                ui.label(RichText::new(&m.name).strong());
                if m.is_scalar() && role == Role::Given {
                    typed(ui, session, i, m, commands);
                } else if let (Some(classes), Role::Given) = (m.classes(), role) {
                    one_class(ui, session, i, m, classes, commands);
                } else {
                    let (text, hover) = source(session, i);
                    ui.add(egui::Label::new(RichText::new(text).small().weak()).truncate()).on_hover_text(hover);
                }
            });
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                ui.spacing_mut().item_spacing.x = 2.0;
                ui.spacing_mut().button_padding.x = 4.0;
                for choice in [Role::Ignored, Role::Generated, Role::Given] {
                    role_button(ui, session, i, m, role, choice, commands);
                }
            });
        });
    });
}

/// A click shows the modality in the gallery and on the map.
fn thumbnail(ui: &mut Ui, shown: &Shown, i: usize, m: &Modality, role: Role, commands: &mut Vec<Command>) {
    let size = vec2(THUMBNAIL, if m.is_scalar() { 26.0 } else { THUMBNAIL });
    let (rect, response) = ui.allocate_exact_size(size, if m.is_scalar() { Sense::hover() } else { Sense::click() });
    let colour = theme::role_colour(role);
    match shown.thumbnails.get(i).and_then(Option::as_ref) {
        Some(texture) => {
            let full = egui::Rect::from_min_max(egui::pos2(0.0, 0.0), egui::pos2(1.0, 1.0));
            ui.painter().image(texture.id(), rect, full, Color32::WHITE);
        }
        None => {
            ui.painter().rect_filled(rect, 3.0, ui.visuals().extreme_bg_color);
            icon(ui.painter(), rect.center(), &m.values, ui.visuals().weak_text_color());
        }
    }
    ui.painter().rect_stroke(rect, 3.0, (1.5, colour), egui::StrokeKind::Inside);
    if m.is_scalar() {
        return;
    }
    let caption = view::caption(m);
    widgets::named(&response, egui::Role::Button, format!("Show {}", m.name));
    let response = response.on_hover_text(format!("Show {} ({caption}) in the gallery and on the map", m.name));
    if response.clicked() {
        commands.push(Command::Modality(i));
    }
}

/// A crosshair for places, a calendar leaf for dates, a dash for pixels that are not there.
fn icon(painter: &egui::Painter, at: egui::Pos2, values: &ValueKind, colour: Color32) {
    let stroke = egui::Stroke::new(1.2, colour);
    let line = |a, b| painter.line_segment([at + a, at + b], stroke);
    match values {
        ValueKind::Location => {
            painter.circle_stroke(at, 5.0, stroke);
            for (x, y) in [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)] {
                line(3.0 * vec2(x, y), 8.0 * vec2(x, y));
            }
        }
        ValueKind::Date => {
            let leaf = egui::Rect::from_center_size(at, vec2(14.0, 13.0));
            painter.rect_stroke(leaf, 1.5, stroke, egui::StrokeKind::Middle);
            line(vec2(-7.0, -2.5), vec2(7.0, -2.5));
            line(vec2(-3.5, -8.5), vec2(-3.5, -5.0));
            line(vec2(3.5, -8.5), vec2(3.5, -5.0));
        }
        _ => {
            line(vec2(-5.0, 0.0), vec2(5.0, 0.0));
        }
    }
}

/// Date and file of what is known here.
fn source(session: &Session, i: usize) -> (String, String) {
    let given = session.observed.as_ref().and_then(|o| o.observation.values.get(i)?.as_ref());
    let Some(given) = given else { return ("no data here".into(), "Nothing is known of it at this place.".into()) };
    match &given.value {
        Value::Location(at) => (format!("{:.4}, {:.4}", at.lat, at.lon), "From the raster's position".into()),
        Value::Date(date) => (
            date.to_string(),
            "From the scene's description; the middle between radar and surface reflectance where both are known"
                .into(),
        ),
        Value::Image(_) => {
            let date = given.date.as_deref().map_or("no date", |d| d.get(..10).unwrap_or(d));
            let files: Vec<String> = given.sources.iter().map(|p| p.display().to_string()).collect();
            let file = given.sources.first().and_then(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned());
            (format!("{date} · {}", file.unwrap_or_default()), files.join("\n"))
        }
    }
}

/// Location and date can be typed; left empty, the place's own value is given.
fn typed(ui: &mut Ui, session: &Session, i: usize, m: &Modality, commands: &mut Vec<Command>) {
    let mut text = session.choices.now().typed.get(&i).cloned().unwrap_or_default();
    let (known, _) = source(session, i);
    let format = if m.values == ValueKind::Date { "2023-04-19" } else { "lat, lon" };
    let hint = if known == "no data here" { format!("type: {format}") } else { known };
    let field = egui::TextEdit::singleline(&mut text).hint_text(hint).desired_width(f32::INFINITY);
    let response = ui.add(field).on_hover_text(format!("Leave empty for the place's own {}, or type {format}", m.name));
    widgets::named(&response, egui::Role::TextInput, format!("{} value", m.name));
    if response.changed() {
        commands.push(Command::Typed(i, text));
    }
}

/// Classes can be those that were read, or one everywhere.
fn one_class(ui: &mut Ui, session: &Session, i: usize, m: &Modality, classes: &[Class], commands: &mut Vec<Command>) {
    let set = session.choices.now().text(i);
    let read = source(session, i).0;
    let shown = if set.is_empty() { read.clone() } else { format!("{set} everywhere") };
    let list = egui::ComboBox::from_id_salt("class").selected_text(RichText::new(shown).small());
    let response = list.width(ui.available_width()).truncate().show_ui(ui, |ui| {
        let read = ui.add_enabled(session.known(i).is_some(), egui::Button::selectable(set.is_empty(), read));
        if read.clicked() {
            commands.push(Command::Typed(i, String::new()));
        }
        for class in classes {
            let label = format!("{} everywhere", class.name);
            if ui.selectable_label(set == class.name, label).clicked() {
                commands.push(Command::Typed(i, class.name.clone()));
            }
        }
    });
    widgets::named(&response.response, egui::Role::ComboBox, format!("{} value", m.name));
}

fn role_button(
    ui: &mut Ui,
    session: &Session,
    i: usize,
    m: &Modality,
    role: Role,
    choice: Role,
    commands: &mut Vec<Command>,
) {
    let (text, what) = match choice {
        Role::Given => ("given", "given: the realisations keep to it"),
        Role::Generated => ("gen", "generated: each realisation has its own"),
        Role::Ignored => ("off", "ignored: neither given nor kept"),
    };
    let enabled = session.observed.is_some() && (choice != Role::Given || session.can_be_given(i));
    let on = role == choice;
    let colour = theme::role_colour(choice);
    let text = RichText::new(text).size(11.5).color(if on { Color32::BLACK } else { theme::ink(ui.visuals(), colour) });
    let fill = if on { colour } else { ui.visuals().widgets.inactive.weak_bg_fill };
    let button = egui::Button::new(text).fill(fill).min_size(vec2(30.0, 22.0));
    let response = ui.add_enabled(enabled, button);
    let label = format!("{} {}", m.name, name(choice));
    widgets::choice(&response, egui::Role::RadioButton, enabled, on, &label);
    let response = response
        .on_hover_text(format!("{} {what}", m.name))
        .on_disabled_hover_text(format!("{} is not known here", m.name));
    if response.clicked() && !on {
        commands.push(Command::Role(i, choice));
    }
}
