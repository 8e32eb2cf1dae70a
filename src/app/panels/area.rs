//! The marked area: a histogram of what is compared, and mean spectra by land cover.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::state::session::Session;
use crate::app::view::shown::Shown;
use crate::ensemble::Quantity;
use crate::modality::{Modality, measured_unit};
use crate::view::{AreaFigures, BINS, BandMean, ClassSpectrum};
use egui::{Color32, RichText, Ui, vec2};
use egui_plot::{Bar, BarChart, Line, Plot, PlotPoints};

/// Draws the window.
pub(crate) fn show(
    ctx: &egui::Context,
    map: egui::Rect,
    session: &Session,
    shown: &Shown,
    commands: &mut Vec<Command>,
) {
    let Some(m) = session.table().and_then(|table| table.get(shown.modality)).filter(|_| shown.area.is_some()) else {
        return;
    };
    let mut open = !widgets::escaped(ctx);
    let at = map.left_top() + vec2(56.0, 60.0);
    let window = egui::Window::new("Area").open(&mut open).default_pos(at).default_width(340.0).collapsible(false);
    window.show(ctx, |ui| match &shown.area_figures {
        None => {
            ui.label("Figures need a run of this place with realisations of the modality that is shown.");
        }
        Some(figures) => figures_of(ui, m, shown, figures),
    });
    if !open {
        commands.push(Command::Area(None));
    }
}

fn figures_of(ui: &mut Ui, m: &Modality, shown: &Shown, figures: &AreaFigures) {
    let name = Quantity::of(m).into_iter().nth(shown.quantity).map(|(name, _)| name).unwrap_or_default();
    let unit = match shown.compared(m) {
        Quantity::Channel(_) if m.classes().is_some() => "class code",
        Quantity::Channel(_) => measured_unit(m),
        Quantity::Index(..) => "",
    };
    let text = format!("{} {name}, {unit}: share of {} pixels", m.name, figures.pixels);
    ui.label(RichText::new(text).small());
    histogram(ui, figures);
    ui.label(RichText::new("Mean spectra by land cover, reflectance over wavelength in nm").small());
    for class in figures.classes.iter().take(3) {
        spectrum(ui, class);
    }
    ui.label(RichText::new("Bands: one standard deviation over realisations, not calibrated error.").small().weak());
}

fn plain(ui: &Ui, name: &str, height: f32) -> Plot<'static> {
    let plot = Plot::new(name.to_owned()).height(height).allow_scroll(false).allow_drag(false).allow_zoom(false);
    plot.width(ui.available_width()).show_x(false).set_margin_fraction(vec2(0.03, 0.06))
}

fn histogram(ui: &mut Ui, figures: &AreaFigures) {
    let [low, high] = figures.range.map(f64::from);
    let width = (high - low) / BINS as f64;
    let bars = |shares: &[f32], colour: Color32| {
        let bar = |(i, share): (usize, &f32)| Bar::new(low + (i as f64 + 0.5) * width, f64::from(*share)).width(width);
        BarChart::new("share", shares.iter().enumerate().map(bar).collect()).color(colour)
    };
    let [synthetic, measured] = [theme::SYNTHETIC, theme::OBSERVED].map(|colour| theme::ink(ui.visuals(), colour));
    plain(ui, "histogram", 110.0).include_y(0.0).show(ui, |plot| {
        plot.bar_chart(bars(&figures.made, synthetic.gamma_multiply(0.75)));
        plot.bar_chart(bars(&figures.observed, measured.gamma_multiply(0.55)));
    });
    ui.horizontal(|ui| {
        ui.label(RichText::new("observed").small().color(measured));
        ui.label(RichText::new("realisations (synthetic)").small().color(synthetic));
    });
}

fn spectrum(ui: &mut Ui, class: &ClassSpectrum) {
    let [r, g, b] = class.colour;
    ui.horizontal(|ui| {
        let (rect, _) = ui.allocate_exact_size(vec2(10.0, 10.0), egui::Sense::hover());
        ui.painter().rect(rect, 1.0, Color32::from_rgb(r, g, b), (0.5, theme::IGNORED), egui::StrokeKind::Inside);
        ui.label(RichText::new(format!("{}, {:.0} % of the area", class.name, 100.0 * class.share)).small());
    });
    let line = |value: &dyn Fn(&BandMean) -> Option<f32>| -> PlotPoints {
        class.bands.iter().filter_map(|band| Some([band.nm, f64::from(value(band)?)])).collect()
    };
    let [synthetic, measured] = [theme::SYNTHETIC, theme::OBSERVED].map(|colour| theme::ink(ui.visuals(), colour));
    plain(ui, &class.name, 84.0).include_y(0.0).show(ui, |plot| {
        for sign in [-1.0, 1.0] {
            let edge = line(&|band| Some(band.made? + sign * band.deviation));
            plot.line(Line::new("deviation", edge).color(synthetic.gamma_multiply(0.45)).width(1.0));
        }
        plot.line(Line::new("mean", line(&|band| band.made)).color(synthetic).width(2.2));
        plot.line(Line::new("observed", line(&|band| band.observed)).color(measured).width(2.2));
    });
}
