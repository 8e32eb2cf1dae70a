//! The card over the map that says what is shown, with the legend of the spread.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::map::compared;
use crate::app::state::runs::Run;
use crate::app::state::session::Session;
use crate::app::view::shown::{Base, Shown, Spread};
use crate::ensemble::{Measure, Quantity};
use crate::modality::{Class, Modality};
use crate::view;
use egui::{Align2, Color32, Frame, Rect, RichText, Sense, Ui, vec2};

/// The card at the top right.
pub(crate) fn layers(ui: &Ui, map: Rect, session: &Session, shown: &Shown, overlay: bool, commands: &mut Vec<Command>) {
    let Some(m) = session.table().and_then(|table| table.get(shown.modality)) else { return };
    if session.observed.is_none() && session.run().is_none() {
        return;
    }
    let area = egui::Area::new(egui::Id::unique("layers"))
        .pivot(Align2::RIGHT_TOP)
        .fixed_pos(map.right_top() + vec2(-12.0, 12.0))
        .constrain_to(map);
    area.show(ui.ctx(), |ui| {
        Frame::popup(ui.style()).inner_margin(10.0).show(ui, |ui| {
            ui.set_width(228.0);
            ui.horizontal(|ui| {
                ui.label(RichText::new(&m.name).strong());
                ui.add(egui::Label::new(RichText::new(shown.caption(m, session)).small().weak()).truncate());
            });
            base_choice(ui, shown, commands);
            if shown.base != Base::None {
                let mut opacity = shown.picture_opacity;
                let slider = egui::Slider::new(&mut opacity, 0.0..=1.0).show_value(false).text("picture opacity");
                if ui.add(slider).changed() {
                    commands.push(Command::PictureOpacity(opacity));
                }
            }
            compared::show(ui, m, session, shown, commands);
            swipe_choice(ui, session, shown, commands);
            if let Some(classes) = m.classes() {
                class_legend(ui, classes);
            }
            let generated = |run: &Run| run.request.roles.generated(shown.modality);
            if session.run().is_some_and(|run| !run.realisations.is_empty() && generated(run)) {
                ui.separator();
                spread_choice(ui, m, (session.run(), shown), overlay, commands);
            }
        });
    });
}

fn base_choice(ui: &mut Ui, shown: &Shown, commands: &mut Vec<Command>) {
    let name = |base: Base| match base {
        Base::None => "map only".to_owned(),
        Base::Observed => "observed".to_owned(),
        Base::Reference => "reference".to_owned(),
        Base::Mean => "mean of realisations".to_owned(),
        Base::Realisation(i) => format!("realisation {i}"),
    };
    let mut choices = vec![Base::None, Base::Observed];
    choices.extend(shown.reference.as_ref().map(|_| Base::Reference));
    if shown.mean.is_some() {
        choices.push(Base::Mean);
    }
    choices.extend(shown.realisations.keys().map(|&index| Base::Realisation(index)));
    let response =
        egui::ComboBox::from_id_salt("base").selected_text(name(shown.base)).width(220.0).show_ui(ui, |ui| {
            for choice in choices {
                if ui.selectable_label(shown.base == choice, name(choice)).clicked() {
                    commands.push(Command::Base(choice));
                }
            }
        });
    widgets::named(&response.response, egui::Role::ComboBox, "Picture on the map");
}

/// What was observed beside what was made, with a line between them that can be dragged.
fn swipe_choice(ui: &mut Ui, session: &Session, shown: &Shown, commands: &mut Vec<Command>) {
    let synthetic = matches!(shown.base, Base::Mean | Base::Realisation(_));
    if !synthetic || shown.beside(session).is_none() {
        return;
    }
    let mut on = shown.swipe.is_some();
    let what = if shown.reference.is_some() { "reference" } else { "observed" };
    let hover = format!("The {what} picture to the west of a line, what was generated to the east; drag the line");
    if ui.checkbox(&mut on, format!("swipe with {what}")).on_hover_text(hover).changed() {
        commands.push(Command::Swipe(on.then_some(0.5)));
    }
}

fn spread_choice(
    ui: &mut Ui,
    m: &Modality,
    (run, shown): (Option<&Run>, &Shown),
    overlay: bool,
    commands: &mut Vec<Command>,
) {
    let title = view::spread_name(shown.measure(m));
    let words = if shown.measure(m).needs_truth() { title.to_owned() } else { format!("{title} over realisations") };
    let mut wanted = shown.spread_wanted;
    if ui.add_enabled(overlay, egui::Checkbox::new(&mut wanted, words)).changed() {
        commands.push(Command::Spread(wanted));
    }
    let list = egui::ComboBox::from_id_salt("measure").selected_text(title).width(220.0);
    let response = list.show_ui(ui, |ui| {
        for (i, measure) in Measure::of(m, shown.has_truth()).iter().enumerate() {
            if ui.selectable_label(*measure == shown.measure(m), view::spread_name(*measure)).clicked() {
                commands.push(Command::Measure(i));
            }
        }
    });
    widgets::named(&response.response, egui::Role::ComboBox, "Measure of spread");
    let Some(spread) = &shown.spread else {
        ui.label(RichText::new("needs at least two realisations").small().weak());
        return;
    };
    if !overlay {
        ui.label(RichText::new("This graphics adapter cannot draw it; exports hold it all the same.").small());
        return;
    }
    let quantities = Quantity::of(m);
    if quantities.len() > 1 {
        ui.horizontal_wrapped(|ui| {
            for (i, (name, _)) in quantities.iter().enumerate() {
                let response = ui.selectable_label(shown.quantity == i, name);
                widgets::choice(
                    &response,
                    egui::Role::RadioButton,
                    true,
                    shown.quantity == i,
                    &format!("Compare {name}"),
                );
                if response.clicked() {
                    commands.push(Command::Quantity(i));
                }
            }
        });
    }
    legend(ui, m, spread, (run, shown), commands);
    let mut opacity = shown.opacity;
    let slider = egui::Slider::new(&mut opacity, 0.0..=1.0).show_value(false).text("overlay opacity");
    if ui.add(slider).changed() {
        commands.push(Command::Opacity(opacity));
    }
}

/// Colour bar with its range, unit, and the number of realisations behind it.
fn legend(
    ui: &mut Ui,
    m: &Modality,
    spread: &Spread,
    (run, shown): (Option<&Run>, &Shown),
    commands: &mut Vec<Command>,
) {
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 12.0), Sense::hover());
    let colours = view::colour_steps();
    let step = rect.width() / colours.len() as f32;
    for (i, [r, g, b]) in colours.iter().enumerate() {
        let left = rect.left() + i as f32 * step;
        let part = Rect::from_min_size(egui::pos2(left, rect.top()), vec2(step + 0.5, rect.height()));
        ui.painter().rect_filled(part, 0.0, Color32::from_rgb(*r, *g, *b));
    }
    range(ui, spread, shown, commands);
    // A variance means little to most; its root is in the unit of the values.
    let measure = spread.samples.measure;
    let root = match (measure, spread.quantity) {
        (Measure::Variance, Quantity::Channel(_)) => {
            format!(" (at most about ±{} {})", view::short(shown.range(spread)[1].sqrt()), view::value_unit(m))
        }
        _ => String::new(),
    };
    let caution = view::caution(measure);
    let between = if measure == Measure::Rank { ":" } else { " in" };
    let text = format!(
        "{}{between} {}{root} per pixel, n = {}. {caution}",
        view::spread_name(measure),
        view::spread_unit(m, spread.quantity, measure),
        spread.samples.count
    );
    ui.label(RichText::new(text).small().weak());
    if measure.needs_truth() && run.is_some_and(|run| !run.request.set.is_empty()) {
        let text = "This run was asked with values set by hand: what was observed is not its truth.";
        ui.label(RichText::new(text).small().color(theme::ink(ui.visuals(), theme::ALERT)));
    }
}

/// Values at both ends of the bar, which can be set by hand.
fn range(ui: &mut Ui, spread: &Spread, shown: &Shown, commands: &mut Vec<Command>) {
    let [mut low, mut high] = shown.range(spread);
    let share = matches!(spread.samples.measure, Measure::Rank | Measure::Missed);
    ui.horizontal(|ui| {
        let speed = f64::from(spread.range[1]) / 200.0;
        let format = |v: f64, _| view::short(v as f32);
        let end = |ui: &mut Ui, value: &mut f32, name: &str| {
            let field = egui::DragValue::new(value).speed(speed).custom_formatter(format).range(0.0..=f32::MAX);
            let response = ui.add(field).on_hover_text("Drag or type to fix the range, as for comparing runs");
            widgets::named(&response, egui::Role::SpinButton, name);
            response.changed()
        };
        let mut changed = end(ui, &mut low, "Low end of the range");
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            changed |= end(ui, &mut high, "High end of the range");
            if !share {
                ui.label(RichText::new("≥").small());
            }
            if shown.fixed_range.is_some() && ui.small_button("auto").on_hover_text("The range that fits").clicked() {
                commands.push(Command::Range(None));
            }
        });
        if changed && high > low {
            commands.push(Command::Range(Some([low, high])));
        }
    });
}

fn class_legend(ui: &mut Ui, classes: &[Class]) {
    egui::Grid::new("classes").num_columns(2).spacing(vec2(10.0, 2.0)).show(ui, |ui| {
        for (i, class) in classes.iter().enumerate() {
            let [r, g, b] = class.color;
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = 4.0;
                let (rect, _) = ui.allocate_exact_size(vec2(9.0, 9.0), Sense::hover());
                let fill = Color32::from_rgb(r, g, b);
                ui.painter().rect(rect, 1.0, fill, (0.5, theme::IGNORED), egui::StrokeKind::Inside);
                ui.label(RichText::new(&class.name).small());
            });
            if i % 2 == 1 {
                ui.end_row();
            }
        }
    });
}
