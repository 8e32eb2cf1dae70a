//! The realisations of one modality beside what was observed; a click shows one on the map.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::panels::scalar_gallery;
use crate::app::state::runs::{Run, RunState};
use crate::app::state::session::Session;
use crate::app::view::gallery_zoom::GalleryZoom;
use crate::app::view::shown::{Base, Shown, Sort};
use crate::ensemble::Realisation;
use crate::modality::{Modality, Value, measured_unit};
use crate::sampler::Role;
use crate::view;
use egui::{Align2, Color32, FontId, Rect, RichText, Sense, TextureHandle, Ui, pos2, vec2};

/// Height of a card's title.
const TITLE: f32 = 18.0;
/// Room for the scroll bar.
const BAR: f32 = 14.0;

/// Draws it.
pub(crate) fn show(ui: &mut Ui, session: &Session, shown: &Shown, commands: &mut Vec<Command>) {
    let (Some(table), Some(run)) = (session.table(), session.run()) else {
        ui.horizontal(|ui| {
            ui.heading("Realisations");
            ui.label(RichText::new("choose what is given and what is generated, then press Generate").weak());
        });
        return;
    };
    let Some(m) = table.get(shown.modality) else { return };
    header(ui, session, run, m, shown, commands);
    // The panel keeps the size that was dragged, whatever lies in it.
    ui.set_min_height(ui.available_height());
    let side = (ui.available_height() - TITLE - BAR).max(60.0);
    egui::ScrollArea::horizontal().auto_shrink([false, true]).show(ui, |ui| {
        ui.horizontal_top(|ui| {
            ui.spacing_mut().item_spacing.x = 10.0;
            if run.request.roles[shown.modality] != Role::Generated {
                let what = if run.request.roles[shown.modality] == Role::Given { "given" } else { "ignored" };
                card(ui, "observed", shown.observed.as_ref(), Kind::Observed, false, (side, shown.gallery_zoom));
                ui.label(
                    RichText::new(format!("{} was {what} in this run, so there is nothing generated.", m.name)).weak(),
                );
            } else if m.is_scalar() {
                scalar_gallery::show(ui, run, m, shown.modality);
            } else {
                cards(ui, session, (run, m, shown), side, commands);
            }
        });
    });
}

fn header(ui: &mut Ui, session: &Session, run: &Run, m: &Modality, shown: &Shown, commands: &mut Vec<Command>) {
    ui.horizontal(|ui| {
        ui.heading("Realisations");
        let response = egui::ComboBox::from_id_salt("gallery modality").selected_text(&m.name).show_ui(ui, |ui| {
            for (i, other) in session.table().into_iter().flat_map(|t| t.iter().enumerate()) {
                if run.request.roles[i] == Role::Generated
                    && ui.selectable_label(i == shown.modality, &other.name).clicked()
                {
                    commands.push(Command::Modality(i));
                }
            }
        });
        widgets::named(&response.response, egui::Role::ComboBox, "Modality of the gallery");
        look(ui, m, shown, commands);
        if !m.is_scalar() {
            sort(ui, shown, commands);
        }
        runs(ui, session, run, commands);
        if !session.run_is_here() {
            let colour = theme::ink(ui.visuals(), theme::ALERT);
            ui.label(RichText::new("of another place than the picked one").small().color(colour));
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let some = !run.realisations.is_empty();
            if ui.add_enabled(some, egui::Button::new("Export …")).clicked() {
                commands.push(Command::ExportWindow(true));
            }
            let button = ui.add_enabled(session.can_add_to(run), egui::Button::new("More"));
            let hover = format!("Add {} realisations of the same choices and seed", session.samples);
            if button.on_hover_text(hover).clicked() {
                commands.push(Command::More);
            }
            if ui.button("Recall").on_hover_text("Take roles, values, steps and seed of this run").clicked() {
                commands.push(Command::Recall);
            }
            let many = run.realisations.len() > 1 && !m.is_scalar();
            let button = ui.add_enabled(many, egui::Button::selectable(shown.playing.is_some(), "Play"));
            if button.on_hover_text("One realisation after another on the map").clicked() {
                commands.push(Command::Play(shown.playing.is_none()));
            }
        });
    });
}

/// Which run is looked at, and how it stands.
fn runs(ui: &mut Ui, session: &Session, run: &Run, commands: &mut Vec<Command>) {
    let state = |run: &Run| match run.state {
        RunState::Waiting => "waiting",
        RunState::Running | RunState::Stopping => "sampling",
        RunState::Finished => "finished",
        RunState::Cancelled => "stopped",
        RunState::Failed => "failed",
    };
    let text = |run: &Run| {
        let place = &run.observed.observation.tile;
        let (seed, steps) = (run.request.seed, run.request.options.steps);
        let made = format!("{} of {} {}", run.realisations.len(), run.request.samples, state(run));
        format!("{place} · seed {seed} · {steps} steps · {made}")
    };
    // Room for the buttons at the right.
    let width = (ui.available_width() - 290.0).clamp(60.0, 380.0);
    let now = text(run);
    let list = egui::ComboBox::from_id_salt("runs").selected_text(RichText::new(&now).small()).width(width).truncate();
    let response = ui.scope(|ui| {
        ui.set_max_width(width);
        list.show_ui(ui, |ui| {
            for (at, other) in session.runs.all().iter().enumerate().rev() {
                ui.horizontal(|ui| {
                    let button = ui.add_enabled(!other.active(), egui::Button::new("×").small());
                    widgets::named(&button, egui::Role::Button, format!("Forget run {}", at + 1));
                    if button.on_hover_text("Forget this run and its realisations").clicked() {
                        commands.push(Command::ForgetRun(at));
                    }
                    if ui.selectable_label(at == session.runs.shown_at(), text(other)).clicked() {
                        commands.push(Command::ShowRun(at));
                    }
                });
            }
        })
    });
    widgets::named(&response.inner.response, egui::Role::ComboBox, "Run");
    response.inner.response.on_hover_text(now);
}

fn sort(ui: &mut Ui, shown: &Shown, commands: &mut Vec<Command>) {
    let name = |sort: Sort| match sort {
        Sort::Number => "by number",
        Sort::Mean => "nearest to the mean",
        Sort::Observed if shown.reference.is_some() => "nearest to reference",
        Sort::Observed => "nearest to observed",
    };
    let list = egui::ComboBox::from_id_salt("sort").selected_text(name(shown.sort)).width(130.0);
    let response = list.show_ui(ui, |ui| {
        for choice in [Sort::Number, Sort::Mean, Sort::Observed] {
            if ui.selectable_label(choice == shown.sort, name(choice)).clicked() {
                commands.push(Command::Sort(choice));
            }
        }
    });
    widgets::named(&response.response, egui::Role::ComboBox, "Order");
}

/// Which bands, and whether all pictures share a stretch.
fn look(ui: &mut Ui, m: &Modality, shown: &Shown, commands: &mut Vec<Command>) {
    let looks = view::looks(m);
    let Some((name, chosen)) = looks.get(shown.look) else { return };
    if looks.len() < 2 {
        ui.label(RichText::new(name).weak());
        return;
    }
    let response = egui::ComboBox::from_id_salt("look").selected_text(name).width(150.0).show_ui(ui, |ui| {
        for (i, (other, _)) in looks.iter().enumerate() {
            if ui.selectable_label(i == shown.look, other).clicked() {
                commands.push(Command::Look(i));
            }
        }
    });
    widgets::named(&response.response, egui::Role::ComboBox, "Bands");
    if matches!(chosen, view::Look::Composite(_) | view::Look::Band(_) | view::Look::Relief) {
        let mut own = shown.own_stretch;
        let hover = "Contrast of each picture by itself; otherwise all have that of what was observed";
        if ui.checkbox(&mut own, "own contrast").on_hover_text(hover).changed() {
            commands.push(Command::OwnStretch(own));
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Observed,
    Synthetic,
    /// Some pixels are observed.
    Partly,
    Making,
}

fn cards(
    ui: &mut Ui,
    session: &Session,
    (run, m, shown): (&Run, &Modality, &Shown),
    side: f32,
    commands: &mut Vec<Command>,
) {
    let size = (side, shown.gallery_zoom);
    let partly = run.request.keep.contains_key(&shown.modality);
    let made = if partly { Kind::Partly } else { Kind::Synthetic };
    if let Some(observed) = &shown.observed {
        let on = shown.base == Base::Observed && session.run_is_here();
        let response = card(ui, "observed", Some(observed), Kind::Observed, on, size);
        zoom_card(ui, &response, shown.gallery_zoom, side, commands);
        if response.clicked() {
            commands.push(Command::Base(Base::Observed));
        }
    }
    if let Some(reference) = &shown.reference {
        let response = card(ui, "reference", Some(reference), Kind::Observed, shown.base == Base::Reference, size);
        zoom_card(ui, &response, shown.gallery_zoom, side, commands);
        if response.clicked() {
            commands.push(Command::Base(Base::Reference));
        }
    }
    if let Some(mean) = &shown.mean {
        let title = if m.classes().is_some() { "most frequent" } else { "mean" };
        let response = card(ui, title, Some(mean), made, shown.base == Base::Mean, size);
        zoom_card(ui, &response, shown.gallery_zoom, side, commands);
        if response.clicked() {
            commands.push(Command::Base(Base::Mean));
        }
    }
    for index in order(run, shown) {
        let Some(realisation) = run.realisations.iter().find(|r| r.index == index) else { continue };
        ui.push_id(index, |ui| {
            let on = shown.base == Base::Realisation(index);
            let title = format!("realisation {index}");
            let response = card(ui, &title, shown.realisations.get(&index), made, on, size);
            zoom_card(ui, &response, shown.gallery_zoom, side, commands);
            tick(ui, &response, run, index, commands);
            pin(ui, &response, run, index, commands);
            let response = response.on_hover_ui(|ui| details(ui, run, realisation, m, shown));
            if response.clicked() {
                commands.push(Command::Base(Base::Realisation(index)));
            }
        });
    }
    let preview = shown.preview.as_ref().filter(|(_, modality, _)| run.working() && *modality == shown.modality);
    if let Some((index, _, texture)) = preview {
        card(ui, &format!("realisation {index} …"), Some(texture), Kind::Making, false, size);
    }
}

/// Numbers of all realisations: those that are painted in the chosen order, then the others.
fn order(run: &Run, shown: &Shown) -> Vec<u64> {
    let mut order = shown.sorted(&run.pinned);
    order.extend(run.realisations.iter().map(|r| r.index).filter(|index| !shown.realisations.contains_key(index)));
    order
}

/// The box that chooses a realisation for export, in the corner of its card.
fn tick(ui: &mut Ui, card: &egui::Response, run: &Run, index: u64, commands: &mut Vec<Command>) {
    let mut ticked = run.chosen.contains(&index);
    let corner = Rect::from_min_size(card.rect.right_top() + vec2(-24.0, 2.0), vec2(22.0, 22.0));
    let name = format!("Export realisation {index}");
    let response = ui.put(corner, egui::Checkbox::without_text(&mut ticked));
    widgets::choice(&response, egui::Role::CheckBox, true, ticked, &name);
    if response.on_hover_text(name).changed() {
        commands.push(Command::Tick(index, ticked));
    }
}

/// Keeps a realisation at the front of the gallery.
fn pin(ui: &mut Ui, card: &egui::Response, run: &Run, index: u64, commands: &mut Vec<Command>) {
    let on = run.pinned.contains(&index);
    let corner = Rect::from_min_size(card.rect.left_top() + vec2(3.0, 3.0), vec2(18.0, 18.0));
    let response = ui.interact(corner, ui.scope_id().with("pin"), Sense::click());
    if on || card.contains_pointer() {
        let stroke = egui::Stroke::new(1.5, Color32::BLACK);
        let fill = if on { theme::PICKED } else { Color32::from_black_alpha(120) };
        ui.painter().circle(corner.center(), 6.0, fill, stroke);
        ui.painter().circle_filled(corner.center(), 2.0, if on { Color32::BLACK } else { Color32::WHITE });
    }
    let name = format!("Pin realisation {index}");
    widgets::choice(&response, egui::Role::CheckBox, true, on, &name);
    if response.on_hover_text(format!("{name} to the front")).clicked() {
        commands.push(Command::Pin(index, !on));
    }
}

/// Zoom with the wheel and Ctrl, or a pinch; drag to pan; double click for the whole picture. All cards follow.
fn zoom_card(ui: &Ui, card: &egui::Response, zoom: GalleryZoom, side: f32, commands: &mut Vec<Command>) {
    let mut new = zoom;
    if card.hovered() {
        let factor = ui.input(|input| input.zoom_delta());
        if let Some(at) = card.hover_pos().filter(|_| factor != 1.0) {
            new = zoom.zoomed(factor, (at - card.rect.min) / side);
        }
    }
    if card.dragged() && zoom.zoom > 1.0 {
        new = new.moved(-card.drag_delta() / side);
    }
    if card.double_clicked() {
        new = GalleryZoom::default();
    }
    if new != zoom {
        commands.push(Command::GalleryZoom(new));
    }
}

fn card(
    ui: &mut Ui,
    title: &str,
    texture: Option<&TextureHandle>,
    kind: Kind,
    on: bool,
    (side, zoom): (f32, GalleryZoom),
) -> egui::Response {
    let sense = if zoom.zoom > 1.0 { Sense::click_and_drag() } else { Sense::click() };
    let (rect, response) = ui.allocate_exact_size(vec2(side, side + TITLE), sense);
    let image = Rect::from_min_size(rect.min, vec2(side, side));
    let full = zoom.part();
    let tint = if kind == Kind::Making { Color32::from_gray(190) } else { Color32::WHITE };
    match texture {
        Some(texture) => {
            ui.painter().image(texture.id(), image, full, tint);
        }
        None => {
            ui.painter().rect_filled(image, 4.0, ui.visuals().extreme_bg_color);
        }
    }
    let colour = if kind == Kind::Observed { theme::OBSERVED } else { theme::SYNTHETIC };
    let (width, colour) = match (on, response.hovered()) {
        (true, _) => (3.0, theme::PICKED),
        (false, true) => (2.0, colour),
        (false, false) => (1.0, colour.gamma_multiply(0.7)),
    };
    ui.painter().rect_stroke(image, 2.0, (width, colour), egui::StrokeKind::Outside);
    let font = FontId::proportional(11.0);
    let at = pos2(image.left(), image.bottom() + 4.0);
    ui.painter().text(at, Align2::LEFT_TOP, title, font.clone(), ui.visuals().text_color());
    match kind {
        Kind::Observed => {}
        // Too long to stand beside the title.
        Kind::Partly => {
            let at = image.right_bottom() - vec2(4.0, 3.0);
            let text = ui.painter().layout_no_wrap("partly synthetic".into(), font, theme::SYNTHETIC);
            let rect = Align2::RIGHT_BOTTOM.anchor_size(at, text.size());
            ui.painter().rect_filled(rect.expand(2.0), 2.0, theme::MAP_LABEL);
            ui.painter().galley(rect.min, text, theme::SYNTHETIC);
        }
        _ if side > 118.0 => {
            let at = pos2(image.right(), image.bottom() + 4.0);
            let colour = theme::ink(ui.visuals(), theme::SYNTHETIC);
            ui.painter().text(at, Align2::RIGHT_TOP, "synthetic", font, colour);
        }
        _ => {}
    }
    widgets::named(&response, egui::Role::Button, format!("Show {title}"));
    response
}

/// Generated location and date of a realisation.
fn details(ui: &mut Ui, run: &Run, realisation: &Realisation, m: &Modality, shown: &Shown) {
    ui.label(format!("Realisation {} of seed {} (synthetic)", realisation.index, run.request.seed));
    let distances = shown.distances.get(&realisation.index).copied().unwrap_or_default();
    let truth = if shown.reference.is_some() { "the reference" } else { "observed" };
    for (from, distance) in [(truth, distances.observed), ("the mean", distances.mean)] {
        match (distance, m.classes()) {
            (Some(share), Some(_)) => ui.label(format!("{:.0} % of pixels differ from {from}", 100.0 * share)),
            (Some(far), None) => ui.label(format!("{far:.3} {} (RMS) from {from}", measured_unit(m))),
            (None, _) => continue,
        };
    }
    for value in realisation.values.iter().flatten() {
        match value {
            Value::Location(at) => ui.label(format!("location {:.3}, {:.3}", at.lat, at.lon)),
            Value::Date(date) => ui.label(format!("date {date}")),
            Value::Image(_) => continue,
        };
    }
}
