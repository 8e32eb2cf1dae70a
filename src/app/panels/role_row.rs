//! One modality, or the band groups of one sensor: what is known of it here, its role, and values set by hand.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::state::session::Session;
use crate::app::state::tools::{Brush, Tool};
use crate::app::view::shown::{Base, Shown};
use crate::modality::{Class, Modality, Value, ValueForm};
use crate::sampler::Role;
use crate::view;
use egui::collapsing_header::CollapsingState;
use egui::{Color32, RichText, Sense, Ui, vec2};
use egui_extras::DatePickerButton;

const THUMBNAIL: f32 = 40.0;
/// Room for the four buttons of a row.
const BUTTONS: f32 = 152.0;
/// Room for three: places and dates are not given in part.
const THREE_BUTTONS: f32 = 116.0;

fn name(role: Role) -> &'static str {
    match role {
        Role::Given => "given",
        Role::Generated => "generated",
        Role::Ignored => "ignored",
    }
}

fn role_of(session: &Session, i: usize) -> Role {
    session.choices.now().roles.get(i).copied().unwrap_or(Role::Generated)
}

/// Several band groups of one sensor: their common role, and each behind a fold.
pub(crate) fn family(
    ui: &mut Ui,
    session: &Session,
    shown: &Shown,
    groups: &[(usize, &Modality)],
    commands: &mut Vec<Command>,
) {
    let [(first, m), ..] = groups else { return };
    let id = ui.make_persistent_id(("family", &m.family));
    let mut fold = CollapsingState::load_with_default_open(ui.ctx(), id, false);
    let selected = !fold.is_open() && groups.iter().any(|(i, _)| *i == shown.modality);
    let role = Some(role_of(session, *first)).filter(|role| groups.iter().all(|(i, _)| role_of(session, *i) == *role));
    frame(ui, selected).show(ui, |ui| {
        ui.horizontal(|ui| {
            thumbnail(ui, shown, *first, m, role.unwrap_or(Role::Ignored), commands);
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.y = 1.0;
                ui.set_width((ui.available_width() - BUTTONS).max(60.0));
                ui.label(RichText::new(&m.family).strong());
                ui.horizontal(|ui| {
                    ui.spacing_mut().item_spacing.x = 3.0;
                    let toggle = fold.show_toggle_button(ui, egui::collapsing_header::paint_default_icon);
                    widgets::named(&toggle, egui::Role::Button, format!("Band groups of {}", m.family));
                    let ground: Vec<String> = groups.iter().map(|(_, m)| format!("{:.0}", m.ground_m)).collect();
                    let mixed = if role.is_none() { ", mixed" } else { "" };
                    let text = format!("{} m{mixed}", ground.join(", "));
                    ui.add(egui::Label::new(RichText::new(text).small().weak()).truncate());
                });
            });
            buttons(ui, |ui, choice| {
                let known = || groups.iter().any(|(i, _)| session.can_be_given(*i));
                let enabled = session.observed.is_some() && (choice != Role::Given || known());
                let partly = groups.iter().any(|(i, _)| session.choices.now().keep.contains_key(i));
                if role_button(ui, &m.family, enabled, role == Some(choice) && !partly, choice) {
                    let can = |i: &usize| choice != Role::Given || session.can_be_given(*i);
                    let all: Vec<usize> = groups.iter().map(|(i, _)| *i).filter(can).collect();
                    commands.push(Command::Roles(all, choice));
                }
                if choice == Role::Generated {
                    let all: Vec<usize> = groups.iter().map(|(i, _)| *i).collect();
                    let on = all.iter().any(|i| session.choices.now().keep.contains_key(i));
                    part_button(ui, session, &m.family, &all, on, commands);
                }
            });
        });
    });
    fold.show_body_unindented(ui, |ui| {
        for (i, m) in groups {
            ui.push_id(i, |ui| row(ui, session, shown, *i, m, commands));
        }
    });
}

fn frame(ui: &Ui, selected: bool) -> egui::Frame {
    let fill = if selected { ui.visuals().selection.bg_fill.gamma_multiply(0.45) } else { Color32::TRANSPARENT };
    egui::Frame::new().fill(fill).corner_radius(6.0).inner_margin(egui::Margin::symmetric(4, 2))
}

fn buttons(ui: &mut Ui, mut add: impl FnMut(&mut Ui, Role)) {
    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        ui.spacing_mut().button_padding.x = 4.0;
        for choice in [Role::Ignored, Role::Generated, Role::Given] {
            add(ui, choice);
        }
    });
}

/// One modality.
pub(crate) fn row(ui: &mut Ui, session: &Session, shown: &Shown, i: usize, m: &Modality, commands: &mut Vec<Command>) {
    let role = role_of(session, i);
    frame(ui, shown.modality == i).show(ui, |ui| {
        ui.horizontal(|ui| {
            thumbnail(ui, shown, i, m, role, commands);
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.y = 1.0;
                ui.set_width((ui.available_width() - if m.is_scalar() { THREE_BUTTONS } else { BUTTONS }).max(60.0));
                ui.label(RichText::new(&m.name).strong());
                if let Some(keep) = session.choices.now().keep.get(&i) {
                    super::partly::show(ui, session, shown, (i, m), keep, commands);
                } else if m.is_scalar() && role == Role::Given {
                    typed(ui, session, shown, (i, m), commands);
                } else if let (Some(classes), Role::Given) = (m.classes(), role) {
                    one_class(ui, session, shown, (i, m), classes, commands);
                } else {
                    let (text, hover) = source(session, i);
                    ui.add(egui::Label::new(RichText::new(text).small().weak()).truncate()).on_hover_text(hover);
                }
            });
            buttons(ui, |ui, choice| {
                let enabled = session.observed.is_some() && (choice != Role::Given || session.can_be_given(i));
                let partly = session.choices.now().keep.contains_key(&i);
                let on = role == choice && !partly;
                if role_button(ui, &m.name, enabled, on, choice) && !on {
                    commands.push(Command::Role(i, choice));
                }
                if choice == Role::Generated && !m.is_scalar() {
                    part_button(ui, session, &m.name, &[i], partly, commands);
                }
            });
        });
    });
}

/// A click shows the modality in the gallery and on the map.
fn thumbnail(ui: &mut Ui, shown: &Shown, i: usize, m: &Modality, role: Role, commands: &mut Vec<Command>) {
    let size = vec2(THUMBNAIL, if m.is_scalar() { 26.0 } else { THUMBNAIL });
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let colour = theme::role_colour(role);
    match shown.painting(i).or(shown.thumbnails.get(i).and_then(Option::as_ref)) {
        Some(texture) => {
            let full = egui::Rect::from_min_max(egui::pos2(0.0, 0.0), egui::pos2(1.0, 1.0));
            ui.painter().image(texture.id(), rect, full, Color32::WHITE);
            if let Some(hatching) = shown.hatching(i) {
                ui.painter().image(hatching.id(), rect, full, Color32::WHITE);
            }
        }
        None => {
            ui.painter().rect_filled(rect, 3.0, ui.visuals().extreme_bg_color);
            icon(ui.painter(), rect.center(), m.about.form, ui.visuals().weak_text_color());
        }
    }
    ui.painter().rect_stroke(rect, 3.0, (1.5, colour), egui::StrokeKind::Inside);
    let caption = if m.is_scalar() { String::new() } else { format!(" ({})", view::caption(m)) };
    widgets::named(&response, egui::Role::Button, format!("Show {}", m.name));
    let response = response.on_hover_text(format!("Show {}{caption} in the gallery and on the map", m.name));
    if response.clicked() {
        commands.push(Command::Modality(i));
    }
}

/// A crosshair for places, a calendar leaf for dates, a dash for pixels that are not there.
fn icon(painter: &egui::Painter, at: egui::Pos2, form: ValueForm, colour: Color32) {
    let stroke = egui::Stroke::new(1.2, colour);
    let line = |a, b| painter.line_segment([at + a, at + b], stroke);
    match form {
        ValueForm::Location => {
            painter.circle_stroke(at, 5.0, stroke);
            for (x, y) in [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)] {
                line(3.0 * vec2(x, y), 8.0 * vec2(x, y));
            }
        }
        ValueForm::Date => {
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
        Value::Location(at) => (
            format!("{:.2}, {:.2}", at.lat, at.lon),
            format!("{:.6}, {:.6}, from the raster's position", at.lat, at.lon),
        ),
        Value::Date(date) => (
            date.to_string(),
            "From the scene's description; the middle between radar and surface reflectance where both are known"
                .into(),
        ),
        Value::Image(raster) => {
            let date = given.date.as_deref().map_or("no date", |d| d.get(..10).unwrap_or(d));
            let files: Vec<String> = given.sources.iter().map(|p| p.display().to_string()).collect();
            let file = given.sources.first().and_then(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned());
            let missing = (1.0 - raster.valid_share()) * 100.0;
            let missing = if missing > 0.0 { format!(" · {missing:.1} % no data") } else { String::new() };
            (format!("{date} · {}{missing}", file.unwrap_or_default()), files.join("\n"))
        }
    }
}

/// Location and date can be typed, chosen on the map, or in a calendar; left empty, the place's own value is given.
fn typed(ui: &mut Ui, session: &Session, shown: &Shown, (i, m): (usize, &Modality), commands: &mut Vec<Command>) {
    let mut text = session.choices.now().typed.get(&i).cloned().unwrap_or_default();
    let (known, _) = source(session, i);
    let format = if m.is_date() { "2023-04-19" } else { "lat, lon" };
    let hint = if known == "no data here" { format!("type: {format}") } else { known.clone() };
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 3.0;
        let field = egui::TextEdit::singleline(&mut text).hint_text(hint).desired_width(ui.available_width() - 50.0);
        let hover = format!("Leave empty for the place's own {}, or type {format}", m.name);
        let response = ui.add(field).on_hover_text(hover);
        widgets::named(&response, egui::Role::TextInput, format!("{} value", m.name));
        if response.changed() {
            commands.push(Command::Typed(i, text.clone()));
        }
        if m.is_date() {
            let today = || jiff::Zoned::now().date();
            let mut day = text.trim().parse().or_else(|_| known.parse()).unwrap_or_else(|_| today());
            let button = DatePickerButton::new(&mut day).format("Pick").show_icon(false).calendar_week(false);
            let response = ui.add(button).on_hover_text("Choose in a calendar");
            widgets::named(&response, egui::Role::Button, "Choose the date");
            if response.changed() {
                commands.push(Command::Set(i, day.to_string()));
            }
        } else {
            let on = shown.tool == Tool::Place(i);
            let response = ui.selectable_label(on, "Map").on_hover_text("Choose on the map: the next click there");
            widgets::choice(&response, egui::Role::Button, true, on, "Choose the place on the map");
            if response.clicked() {
                commands.push(Command::Tool(if on { Tool::Pointer } else { Tool::Place(i) }));
            }
        }
    });
}

/// Classes can be those that were read, one everywhere, or painted.
fn one_class(
    ui: &mut Ui,
    session: &Session,
    shown: &Shown,
    (i, m): (usize, &Modality),
    classes: &[Class],
    commands: &mut Vec<Command>,
) {
    let set = session.choices.now().text(i);
    let read = source(session, i).0;
    let painted = session.choices.now().painted.contains_key(&i);
    let text = match set {
        _ if painted => "painted".into(),
        "" => read.clone(),
        class => format!("{class} everywhere"),
    };
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 3.0;
        let list = egui::ComboBox::from_id_salt("class").selected_text(RichText::new(text).small());
        // Wider text than this is cut.
        let room = ui.available_width() - 56.0;
        let response = ui.scope(|ui| {
            ui.set_max_width(room);
            list.width(room).truncate().show_ui(ui, |ui| {
                let read = ui.add_enabled(
                    session.known(i).is_some(),
                    egui::Button::selectable(set.is_empty() && !painted, read),
                );
                if read.clicked() {
                    commands.push(Command::Typed(i, String::new()));
                }
                for class in classes {
                    let label = format!("{} everywhere", class.name);
                    if ui.selectable_label(set == class.name, label).clicked() {
                        commands.push(Command::Typed(i, class.name.clone()));
                    }
                }
            })
        });
        widgets::named(&response.inner.response, egui::Role::ComboBox, format!("{} value", m.name));
        let brush = match shown.tool {
            Tool::Brush(brush) if brush.modality == i => Some(brush),
            _ => None,
        };
        let response = ui.selectable_label(brush.is_some(), "Paint").on_hover_text("Paint classes on the map");
        widgets::choice(&response, egui::Role::Button, true, brush.is_some(), &format!("Paint {}", m.name));
        if response.clicked() {
            let code = classes.get(1).or(classes.first()).map_or(0, |class| class.code);
            let first = Brush { modality: i, code, keeps: false, radius_m: 60.0, outline: false };
            commands.push(Command::Modality(i));
            commands.push(Command::Base(Base::Observed));
            commands.push(Command::Tool(if brush.is_some() { Tool::Pointer } else { Tool::Brush(first) }));
        }
    });
}

/// Keeps some of these modalities and has the rest generated.
fn part_button(ui: &mut Ui, session: &Session, of: &str, groups: &[usize], on: bool, commands: &mut Vec<Command>) {
    let known: Vec<usize> = groups.iter().copied().filter(|i| session.usual_keep(*i).is_some()).collect();
    let enabled = session.observed.is_some() && !known.is_empty();
    let ink = theme::ink(ui.visuals(), theme::PARTLY);
    let text = RichText::new("part").size(11.5).color(if on { Color32::BLACK } else { ink });
    let fill = if on { theme::PARTLY } else { ui.visuals().widgets.inactive.weak_bg_fill };
    let response = ui.add_enabled(enabled, egui::Button::new(text).fill(fill).min_size(vec2(30.0, 22.0)));
    widgets::choice(&response, egui::Role::RadioButton, enabled, on, &format!("{of} partly given"));
    let response =
        response.on_hover_text(format!("{of} partly given: what is clear or marked is kept, the rest generated"));
    if response.on_disabled_hover_text(format!("{of} is not known here")).clicked() && !on {
        // What is kept already lends its mask.
        let first = session.choices.now().keep.values().next().cloned();
        if let Some(keep) = first.or_else(|| session.usual_keep(known[0])) {
            commands.push(Command::Keep(known, keep));
        }
    }
}

fn role_button(ui: &mut Ui, of: &str, enabled: bool, on: bool, choice: Role) -> bool {
    let (text, what) = match choice {
        Role::Given => ("given", "given: the realisations keep to it"),
        Role::Generated => ("gen", "generated: each realisation has its own"),
        Role::Ignored => ("off", "ignored: neither given nor kept"),
    };
    let colour = theme::role_colour(choice);
    let text = RichText::new(text).size(11.5).color(if on { Color32::BLACK } else { theme::ink(ui.visuals(), colour) });
    let fill = if on { colour } else { ui.visuals().widgets.inactive.weak_bg_fill };
    let button = egui::Button::new(text).fill(fill).min_size(vec2(30.0, 22.0));
    let response = ui.add_enabled(enabled, button);
    widgets::choice(&response, egui::Role::RadioButton, enabled, on, &format!("{of} {}", name(choice)));
    let response = response.on_hover_text(format!("{of} {what}"));
    response.on_disabled_hover_text(format!("{of} is not known here")).clicked()
}
