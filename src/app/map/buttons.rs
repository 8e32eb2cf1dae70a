//! Buttons over the map: zoom, tools, and what the brush paints with.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::state::session::Session;
use crate::app::state::tools::{Brush, Tool};
use crate::app::view::shown::Shown;
use egui::{Area, Color32, Frame, Painter, Pos2, Rect, Response, RichText, Sense, Shape, Stroke, Ui, pos2, vec2};

/// Side of a button, points.
const SIDE: f32 = 24.0;

/// Draws them.
pub(crate) fn show(ui: &Ui, map: Rect, session: &Session, shown: &Shown, commands: &mut Vec<Command>) {
    let at = map.left_top() + vec2(12.0, 12.0);
    Area::new(egui::Id::unique("zoom")).fixed_pos(at).constrain_to(map).show(ui.ctx(), |ui| {
        ui.spacing_mut().item_spacing.y = 4.0;
        Frame::popup(ui.style()).inner_margin(3.0).show(ui, |ui| {
            for (text, name, levels) in [("+", "Zoom in", 1.0), ("−", "Zoom out", -1.0)] {
                let button = ui.add_sized(vec2(SIDE, SIDE), egui::Button::new(text)).on_hover_text(name);
                widgets::named(&button, egui::Role::Button, name);
                if button.clicked() {
                    commands.push(Command::Zoom(levels));
                }
            }
        });
        Frame::popup(ui.style()).inner_margin(3.0).show(ui, |ui| {
            let tools: [(&str, &str, Tool, Icon); 3] = [
                ("Pointer", "Pick places, inspect spots", Tool::Pointer, pointer),
                ("Ruler", "Measure distances, click by click", Tool::Ruler, ruler),
                ("Area", "Drag over the window for a histogram and mean spectra", Tool::Area, area),
            ];
            for (name, hover, tool, icon) in tools {
                let on = shown.tool == tool;
                let response = tool_button(ui, on, icon);
                widgets::choice(&response, egui::Role::RadioButton, true, on, name);
                if response.on_hover_text(format!("{name}: {hover}")).clicked() {
                    commands.push(Command::Tool(tool));
                }
            }
        });
    });
    let at = map.left_top() + vec2(56.0, 12.0);
    match shown.tool {
        Tool::Brush(with) => {
            Area::new(egui::Id::unique("brush")).fixed_pos(at).constrain_to(map).show(ui.ctx(), |ui| {
                Frame::popup(ui.style()).inner_margin(10.0).show(ui, |ui| brush(ui, with, session, commands));
            });
        }
        Tool::Place(i) => {
            let name = session.table().and_then(|table| table.get(i)).map_or("place", |m| &m.name);
            Area::new(egui::Id::unique("brush")).fixed_pos(at).constrain_to(map).show(ui.ctx(), |ui| {
                Frame::popup(ui.style()).inner_margin(10.0).show(ui, |ui| {
                    ui.label(format!("Click on the map to set the {name}."));
                    if ui.button("Cancel").clicked() {
                        commands.push(Command::Tool(Tool::Pointer));
                    }
                });
            });
        }
        _ => {}
    }
}

fn brush(ui: &mut Ui, with: Brush, session: &Session, commands: &mut Vec<Command>) {
    ui.set_width(190.0);
    let Some(m) = session.table().and_then(|table| table.get(with.modality)) else { return };
    let mask = [(0u8, "sampled", theme::SYNTHETIC), (1, "kept as observed", theme::OBSERVED)];
    let mask = mask.map(|(code, name, colour)| (code, name.to_owned(), [colour.r(), colour.g(), colour.b()]));
    let classes = m.classes().unwrap_or_default().iter().map(|class| (class.code, class.name.clone(), class.color));
    let choices: Vec<(u8, String, [u8; 3])> = if with.keeps { mask.into() } else { classes.collect() };
    let what = if with.keeps { format!("What is kept of {}", m.name) } else { format!("Paint {}", m.name) };
    ui.label(RichText::new(what).strong());
    for (code, name, [r, g, b]) in choices {
        let on = code == with.code;
        let response = ui.selectable_label(on, format!("      {name}"));
        let swatch = Rect::from_center_size(response.rect.left_center() + vec2(12.0, 0.0), vec2(11.0, 11.0));
        ui.painter().rect(swatch, 1.0, Color32::from_rgb(r, g, b), (0.5, theme::IGNORED), egui::StrokeKind::Inside);
        widgets::choice(&response, egui::Role::RadioButton, true, on, &format!("Paint {name}"));
        if response.clicked() {
            commands.push(Command::Tool(Tool::Brush(Brush { code, ..with })));
        }
    }
    let mut radius = with.radius_m;
    let mut outline = with.outline;
    let hover = "Draw round an area with the pointer held down: all of it is painted when it is let go";
    if ui.checkbox(&mut outline, "outline an area").on_hover_text(hover).changed() {
        commands.push(Command::Tool(Tool::Brush(Brush { outline, ..with })));
    }
    let slider = egui::Slider::new(&mut radius, m.ground_m..=300.0).suffix(" m").text("radius").max_decimals(0);
    if ui.add_enabled(!outline, slider).changed() {
        commands.push(Command::Tool(Tool::Brush(Brush { radius_m: radius, ..with })));
    }
    ui.horizontal(|ui| {
        if ui.add_enabled(session.choices.can_undo(), egui::Button::new("Undo stroke")).clicked() {
            commands.push(Command::Undo);
        }
        if ui.button("As read").on_hover_text("Forget what was painted").clicked() {
            match session.usual_keep(with.modality).filter(|_| with.keeps) {
                Some(keep) => commands.push(Command::Keep(session.kept_together(with.modality), keep)),
                None => commands.push(Command::Typed(with.modality, String::new())),
            }
            commands.push(Command::EndUndoStep);
        }
        if ui.button("Done").clicked() {
            commands.push(Command::Tool(Tool::Pointer));
        }
    });
}

/// Draws a picture around a point.
type Icon = fn(&Painter, Pos2, Stroke);

fn tool_button(ui: &mut Ui, on: bool, icon: Icon) -> Response {
    let (rect, response) = ui.allocate_exact_size(vec2(SIDE, SIDE), Sense::click());
    let visuals = ui.style().interact_selectable(&response, on);
    ui.painter().rect_filled(rect, 5.0, visuals.weak_bg_fill);
    icon(ui.painter(), rect.center(), Stroke::new(1.5, visuals.text_color()));
    response
}

fn pointer(painter: &Painter, at: Pos2, stroke: Stroke) {
    let points = [(-4.0, -7.0), (-4.0, 5.0), (-1.0, 2.0), (2.0, 7.0), (4.0, 6.0), (1.5, 1.0), (5.0, 1.0)];
    painter.add(Shape::closed_line(points.map(|(x, y)| at + vec2(x, y)).to_vec(), stroke));
}

fn ruler(painter: &Painter, at: Pos2, stroke: Stroke) {
    painter.rect_stroke(Rect::from_center_size(at, vec2(18.0, 8.0)), 1.0, stroke, egui::StrokeKind::Middle);
    for x in [-5.0, 0.0, 5.0] {
        painter.line_segment([at + vec2(x, -4.0), at + vec2(x, 0.0)], stroke);
    }
}

fn area(painter: &Painter, at: Pos2, stroke: Stroke) {
    let [left, right, top, bottom] = [at.x - 7.0, at.x + 7.0, at.y - 6.0, at.y + 6.0];
    let ring = [pos2(left, top), pos2(right, top), pos2(right, bottom), pos2(left, bottom), pos2(left, top)];
    painter.extend(Shape::dashed_line(&ring, stroke, 3.0, 2.5));
}
