//! Places and dates that realisations say, drawn as what they are.

use crate::app::kit::theme;
use crate::app::state::runs::Run;
use crate::modality::{Location, Modality, Value};
use egui::{Align2, Color32, FontId, Pos2, RichText, Sense, Stroke, Ui, vec2};
use jiff::civil::Date;

/// Draws them: a list, and for dates a wheel of the year.
pub(crate) fn show(ui: &mut Ui, run: &Run, m: &Modality, modality: usize) {
    let observed = run.observed.observation.values[modality].as_ref().map(|given| &given.value);
    let made: Vec<(u64, &Value)> =
        run.realisations.iter().filter_map(|r| Some((r.index, r.values[modality].as_ref()?))).collect();
    if m.is_date() {
        wheel(ui, observed, &made);
    }
    ui.vertical(|ui| {
        egui::ScrollArea::vertical().show(ui, |ui| {
            ui.label(RichText::new(middle(&made)).strong());
            egui::Grid::new("scalars").num_columns(2).spacing(vec2(20.0, 4.0)).show(ui, |ui| {
                ui.colored_label(theme::ink(ui.visuals(), theme::OBSERVED), "observed");
                ui.label(observed.map_or("–".into(), text));
                ui.end_row();
                for (index, value) in &made {
                    let colour = theme::ink(ui.visuals(), theme::SYNTHETIC);
                    ui.colored_label(colour, format!("realisation {index} (synthetic)"));
                    ui.label(text(value));
                    ui.end_row();
                }
            });
            if m.is_location() {
                ui.label(RichText::new("They are the dots on the map; zoom out to see all.").small().weak());
            }
        });
    });
}

fn text(value: &Value) -> String {
    match value {
        Value::Location(at) => format!("{:.4}, {:.4}", at.lat, at.lon),
        Value::Date(date) => date.to_string(),
        Value::Image(_) => "–".into(),
    }
}

/// The middle of all, and how closely they agree.
fn middle(made: &[(u64, &Value)]) -> String {
    let places: Vec<Location> =
        made.iter().filter_map(|(_, value)| if let Value::Location(at) = value { Some(*at) } else { None }).collect();
    let dates: Vec<Date> =
        made.iter().filter_map(|(_, value)| if let Value::Date(date) = value { Some(*date) } else { None }).collect();
    match (spherical_mean(&places), circular_mean(&dates)) {
        (Some((at, r)), _) => format!("Mean {:.2}, {:.2}; agreement {r:.2} of 1", at.lat, at.lon),
        (_, Some((day, r))) => format!("Mean day {day:.0} of the year; agreement {r:.2} of 1"),
        _ => "No realisation says one yet.".into(),
    }
}

/// The place in the middle on the sphere, and the length of the mean vector, 0…1; `None` where places cancel out.
fn spherical_mean(places: &[Location]) -> Option<(Location, f64)> {
    let mut sum = [0.0; 3];
    for at in places {
        let (phi, lambda) = (at.lat.to_radians(), at.lon.to_radians());
        let vector = [phi.cos() * lambda.cos(), phi.cos() * lambda.sin(), phi.sin()];
        sum.iter_mut().zip(vector).for_each(|(s, v)| *s += v / places.len() as f64);
    }
    let length = sum.iter().map(|v| v * v).sum::<f64>().sqrt();
    let at = Location { lat: (sum[2] / length).asin().to_degrees(), lon: sum[1].atan2(sum[0]).to_degrees() };
    (length > 1e-9).then_some((at, length))
}

/// Angle of a date around the year, from the first of January.
fn angle(date: Date) -> f64 {
    std::f64::consts::TAU * f64::from(date.day_of_year() - 1) / f64::from(date.days_in_year())
}

/// The middle day of the year, from 1, and the length of the mean vector, 0…1; `None` where dates cancel out.
fn circular_mean(dates: &[Date]) -> Option<(f64, f64)> {
    let n = dates.len() as f64;
    let [x, y] = [f64::cos, f64::sin].map(|part| dates.iter().map(|d| part(angle(*d))).sum::<f64>() / n);
    let length = x.hypot(y);
    let day = y.atan2(x).rem_euclid(std::f64::consts::TAU) / std::f64::consts::TAU * 365.0 + 1.0;
    (length > 1e-9).then_some((day, length))
}

fn wheel(ui: &mut Ui, observed: Option<&Value>, made: &[(u64, &Value)]) {
    const MONTHS: [&str; 12] = ["J", "F", "M", "A", "M", "J", "J", "A", "S", "O", "N", "D"];
    let side = ui.available_height().clamp(100.0, 260.0);
    let (rect, response) = ui.allocate_exact_size(vec2(side, side), Sense::hover());
    crate::app::kit::widgets::named(&response, egui::Role::Image, "Dates around the year");
    let (centre, radius) = (rect.center(), side / 2.0 - 14.0);
    // January at the top, clockwise.
    let at = |angle: f64, radius: f32| -> Pos2 { centre + radius * vec2(angle.sin() as f32, -angle.cos() as f32) };
    let weak = ui.visuals().weak_text_color();
    ui.painter().circle_stroke(centre, radius, Stroke::new(1.5, weak));
    for (month, name) in MONTHS.iter().enumerate() {
        let begin = std::f64::consts::TAU * month as f64 / 12.0;
        ui.painter().line_segment([at(begin, radius - 4.0), at(begin, radius)], Stroke::new(1.0, weak));
        let middle = begin + std::f64::consts::TAU / 24.0;
        ui.painter().text(at(middle, radius + 8.0), Align2::CENTER_CENTER, name, FontId::proportional(10.0), weak);
    }
    let synthetic = theme::ink(ui.visuals(), theme::SYNTHETIC);
    let dates: Vec<Date> =
        made.iter().filter_map(|(_, value)| if let Value::Date(date) = value { Some(*date) } else { None }).collect();
    for date in &dates {
        ui.painter().circle(
            at(angle(*date), radius),
            5.0,
            synthetic.gamma_multiply(0.8),
            Stroke::new(1.0, Color32::BLACK),
        );
    }
    if let Some((day, length)) = circular_mean(&dates) {
        let angle = (day - 1.0) / 365.0 * std::f64::consts::TAU;
        ui.painter().arrow(centre, at(angle, radius * length as f32) - centre, Stroke::new(2.0, synthetic));
    }
    if let Some(Value::Date(date)) = observed {
        let colour = theme::ink(ui.visuals(), theme::OBSERVED);
        ui.painter().circle(at(angle(*date), radius), 6.0, colour, Stroke::new(1.5, Color32::WHITE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn means_go_the_short_way_round() {
        let (day, r) = circular_mean(&[date(2021, 12, 27), date(2022, 1, 6)]).expect("mean");
        assert!((day - 1.0).abs() < 1.0 || (day - 366.0).abs() < 1.0, "{day}");
        assert!(r > 0.99);
        let at = |lat, lon| Location { lat, lon };
        let (middle, r) = spherical_mean(&[at(10.0, 179.0), at(10.0, -179.0)]).expect("mean");
        assert!((middle.lon.abs() - 180.0).abs() < 1e-6 && (middle.lat - 10.0).abs() < 0.01 && r > 0.99);
        assert!(spherical_mean(&[at(90.0, 0.0), at(-90.0, 0.0)]).is_none(), "opposite places have no middle");
        assert!(spherical_mean(&[]).is_none() && circular_mean(&[]).is_none());
    }
}
