//! One pixel of all modalities: spectra with their spread over realisations, and everything else as numbers.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::state::session::Session;
use crate::app::view::inspected::{self, Part};
use crate::modality::{Modality, class_index, measured_unit};
use crate::view::{Figures, HATCHED, Spot};
use egui::{RichText, Ui, vec2};
use egui_plot::{Line, Plot, PlotPoints, Points};
use std::collections::BTreeMap;

/// Draws the window.
pub(crate) fn show(ctx: &egui::Context, map: egui::Rect, session: &Session, spot: Spot, commands: &mut Vec<Command>) {
    let parts = inspected::parts(session, spot);
    let mut open = !widgets::escaped(ctx);
    let at = map.left_top() + vec2(56.0, 12.0);
    let window = egui::Window::new("Inspector").open(&mut open).default_pos(at).default_width(360.0).collapsible(false);
    window.show(ctx, |ui| {
        place(ui, session, spot);
        // Surface reflectance first.
        let optical: BTreeMap<_, _> = parts
            .iter()
            .filter(|part| part.m.about.is_optical())
            .map(|part| ((part.m.about.subject, part.m.family.as_str()), part.m.family.as_str()))
            .collect();
        for family in optical.into_values() {
            let bands = spectrum(&parts, family);
            if !bands.is_empty() {
                ui.label(RichText::new(format!("{family}, reflectance over wavelength in nm")).small());
                plot(ui, family, &bands);
            }
        }
        let mut kept: Vec<&str> = parts.iter().filter(|part| part.kept).map(|part| part.m.name.as_str()).collect();
        kept.dedup();
        if !kept.is_empty() {
            let ink = theme::ink(ui.visuals(), theme::OBSERVED);
            ui.label(RichText::new(format!("Observed, not synthetic here: {}", kept.join(", "))).small().color(ink));
        }
        numbers(ui, &parts);
        ui.horizontal(|ui| {
            if ui.button("Copy as CSV").on_hover_text("All figures, to the clipboard").clicked() {
                ui.copy_text(inspected::table(session, spot));
            }
            ui.label(RichText::new("spread is the model's own disagreement").small().weak());
        });
    });
    if !open {
        commands.push(Command::Inspect(None));
    }
}

fn place(ui: &mut Ui, session: &Session, spot: Spot) {
    let Some(ground) = session.observed.as_ref().map(|o| &o.ground) else { return };
    let text = match &ground.corners {
        Some([nw, ne, se, sw]) => {
            // Linear over a window of a kilometre or two.
            let mix = |get: fn(&crate::modality::Location) -> f64| {
                let (north, south) = (get(nw) + (get(ne) - get(nw)) * spot.x, get(sw) + (get(se) - get(sw)) * spot.x);
                north + (south - north) * spot.y
            };
            format!("{:.5}°, {:.5}°", mix(|at| at.lat), mix(|at| at.lon))
        }
        None => "no position".into(),
    };
    let (east, south) = (spot.x * ground.footprint.width_m, spot.y * ground.footprint.height_m);
    ui.label(RichText::new(format!("{text}  ·  {east:.0} m east, {south:.0} m south of the window's corner")).small());
}

/// Bands of a family by wavelength.
fn spectrum<'a>(parts: &'a [Part], family: &str) -> Vec<(f64, &'a Figures)> {
    let own = parts.iter().filter(|part| part.m.family == family);
    let own = own.flat_map(|part| part.figures.iter().map(move |f| (part.m, f)));
    let mut bands: Vec<(f64, &Figures)> = own.filter_map(|(m, f)| Some((m.wavelength_nm(&f.channel)?, f))).collect();
    bands.sort_by(|a, b| a.0.total_cmp(&b.0));
    bands
}

fn plot(ui: &mut Ui, family: &str, bands: &[(f64, &Figures)]) {
    let count = bands.iter().map(|(_, f)| f.realisations.len()).max().unwrap_or(0);
    let points = |value: &dyn Fn(&Figures) -> Option<f32>| -> Vec<[f64; 2]> {
        bands.iter().filter_map(|(nm, f)| Some([*nm, f64::from(value(f)?)])).collect()
    };
    let realisations: Vec<Vec<[f64; 2]>> = (0..count).map(|k| points(&|f| f.realisations.get(k).copied())).collect();
    let (mean, observed) = (points(&|f| f.mean()), points(&|f| f.observed));
    let [synthetic, measured] = [theme::SYNTHETIC, theme::OBSERVED].map(|colour| theme::ink(ui.visuals(), colour));
    let plot = Plot::new(family).height(132.0).include_y(0.0).allow_scroll(false).allow_drag(false).allow_zoom(false);
    plot.show_x(false).set_margin_fraction(vec2(0.03, 0.06)).show(ui, |plot| {
        for line in realisations {
            let colour = synthetic.gamma_multiply(if count > 24 { 0.18 } else { 0.38 });
            plot.line(Line::new("realisation", PlotPoints::new(line)).color(colour).width(1.0));
        }
        if count > 1 {
            plot.line(Line::new("mean", PlotPoints::new(mean)).color(synthetic).width(2.2));
        }
        if !observed.is_empty() {
            plot.line(Line::new("observed", PlotPoints::new(observed.clone())).color(measured).width(2.2));
            plot.points(Points::new("observed", PlotPoints::new(observed)).color(measured).radius(3.0));
        }
    });
}

/// What is no spectrum, as numbers.
fn numbers(ui: &mut Ui, parts: &[Part]) {
    let [synthetic, measured] = [theme::SYNTHETIC, theme::OBSERVED].map(|colour| theme::ink(ui.visuals(), colour));
    egui::Grid::new("figures").num_columns(3).spacing(vec2(14.0, 3.0)).show(ui, |ui| {
        ui.label("");
        ui.label(RichText::new("observed").small().color(measured));
        ui.label(RichText::new("realisations (synthetic)").small().color(synthetic));
        ui.end_row();
        for part in parts.iter().filter(|part| !part.m.about.is_optical()) {
            for f in &part.figures {
                let unit = if part.m.classes().is_some() { "" } else { measured_unit(part.m) };
                let name = if part.figures.len() > 1 { f.channel.to_uppercase() } else { part.m.name.clone() };
                ui.label(RichText::new(format!("{name} {unit}")).small());
                let unknown = if f.no_data { HATCHED } else { "–" };
                ui.label(RichText::new(f.observed.map_or(unknown.into(), |v| worded(part.m, v))).small());
                let made = ui.label(RichText::new(summary(part.m, f)).small());
                if let Some((below, n)) = f.rank().filter(|_| part.m.classes().is_none()) {
                    made.on_hover_text(format!("{below} of {n} realisations lie below what was observed"));
                }
                ui.end_row();
            }
        }
    });
}

fn worded(m: &Modality, value: f32) -> String {
    match m.classes() {
        Some(classes) => classes[class_index(classes, value)].name.clone(),
        None => format!("{value:.1}"),
    }
}

/// Mean and range; for classes the votes.
fn summary(m: &Modality, f: &Figures) -> String {
    let Some(classes) = m.classes() else {
        return match (f.mean(), f.range()) {
            (Some(mean), Some((low, high))) => format!("{mean:.1}  ({low:.1} … {high:.1})"),
            _ => "–".into(),
        };
    };
    let mut votes = vec![0usize; classes.len()];
    f.realisations.iter().for_each(|v| votes[class_index(classes, *v)] += 1);
    let mut named: Vec<(usize, &str)> = votes.iter().copied().zip(classes.iter().map(|c| c.name.as_str())).collect();
    named.retain(|(votes, _)| *votes > 0);
    named.sort_by_key(|(votes, _)| std::cmp::Reverse(*votes));
    let words: Vec<String> = named.iter().take(3).map(|(votes, name)| format!("{votes}× {name}")).collect();
    if words.is_empty() { "–".into() } else { words.join(", ") }
}
