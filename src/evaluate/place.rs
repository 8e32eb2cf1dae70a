//! Where and when: errors on the sphere and on the calendar's wheel.

use super::metrics::{best_and_mean, day_difference_circular};
use super::report::Row;
use super::task_input::TaskInput;
use crate::error::Result;
use crate::grid::haversine_km;
use crate::modality::{Location, Subject, Value};
use jiff::civil::Date;

/// Sums over windows: of the middle of the realisations, of single ones, of the best.
#[derive(Default)]
struct Sums {
    middle: Vec<f64>,
    single: Vec<f64>,
    best: Vec<f64>,
    /// Of places or days of training windows drawn at random.
    random: Vec<f64>,
}

impl Sums {
    fn add(&mut self, middle: f64, singles: &[f64], random: &[f64]) {
        self.middle.push(middle);
        if let Some((best, mean)) = best_and_mean(singles, true) {
            self.best.push(best);
            self.single.push(mean);
        }
        self.random.extend(random);
    }

    fn row(mut self, of: &str, metric: &str, unit: &str) -> Option<Row> {
        if self.middle.is_empty() {
            return None;
        }
        let mut row = Row::single(of, metric, unit, median(&mut self.middle), self.best.len());
        (row.mean_of_samples, row.best_of_samples) = (median(&mut self.single), median(&mut self.best));
        row.baselines = vec![("a training window at random", median(&mut self.random))];
        Some(row)
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl TaskInput<'_> {
    /// Median errors of location (km) and day of the year (days), one window per place.
    pub(super) fn place_and_date(&self) -> Result<Vec<Row>> {
        let (location, date) = (self.finest(Subject::Place), self.finest(Subject::Date));
        let (Some(location), Some(date)) = (location, date) else { return Ok(Vec::new()) };
        let table = &self.evaluation.model.manifest.modalities;
        let (mut places, mut days) = (Sums::default(), Sums::default());
        let mut seen: Vec<Location> = Vec::new();
        for window in &self.windows {
            let scalar = |i: &usize| *i == location || *i == date;
            let given: Vec<usize> =
                (0..window.truth.len()).filter(|i| window.truth[*i].is_some() && !scalar(i)).collect();
            let Some(here) = window.truth[location].as_ref().and_then(as_location) else { continue };
            // Windows and dates of one scene tell of one place.
            let near = |at: &Location| haversine_km(at.lat, at.lon, here.lat, here.lon) < 20.0;
            if given.is_empty() || seen.iter().any(near) {
                continue;
            }
            seen.push(here);
            let realisations = self.realisations(window, &given, &[location, date], &[])?;
            let values = |i: usize| realisations.iter().filter_map(move |r| r.values[i].as_ref());
            if let Some(Value::Location(truth)) = &window.truth[location] {
                let distance = |at: &Location| haversine_km(truth.lat, truth.lon, at.lat, at.lon);
                let found: Vec<Location> = values(location).filter_map(as_location).collect();
                let singles: Vec<f64> = found.iter().map(distance).collect();
                let random: Vec<f64> =
                    self.training.values(location).filter_map(as_location).map(|l| distance(&l)).collect();
                places.add(distance(&middle(&found)), &singles, &random);
            }
            if let Some(Value::Date(truth)) = &window.truth[date] {
                let difference =
                    |d: &Date| day_difference_circular(f64::from(truth.day_of_year()), f64::from(d.day_of_year()));
                let found: Vec<Date> = values(date).filter_map(as_date).collect();
                let singles: Vec<f64> = found.iter().map(difference).collect();
                let random: Vec<f64> = self.training.values(date).filter_map(as_date).map(|d| difference(&d)).collect();
                let day = day_difference_circular(f64::from(truth.day_of_year()), middle_day(&found));
                days.add(day, &singles, &random);
            }
        }
        let rows = [
            places.row(&table[location].name, "median distance", "km"),
            days.row(&table[date].name, "median difference of the day of the year", "days"),
        ];
        Ok(rows.into_iter().flatten().collect())
    }
}

fn as_location(value: &Value) -> Option<Location> {
    if let Value::Location(at) = value { Some(*at) } else { None }
}

fn as_date(value: &Value) -> Option<Date> {
    if let Value::Date(day) = value { Some(*day) } else { None }
}

/// The direction of the mean of unit vectors.
fn middle(places: &[Location]) -> Location {
    let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
    for at in places {
        let (phi, lambda) = (at.lat.to_radians(), at.lon.to_radians());
        (x, y, z) = (x + phi.cos() * lambda.cos(), y + phi.cos() * lambda.sin(), z + phi.sin());
    }
    Location { lat: z.atan2(f64::hypot(x, y)).to_degrees(), lon: f64::atan2(y, x).to_degrees() }
}

/// The circular mean of days of the year.
fn middle_day(days: &[Date]) -> f64 {
    let angle = |d: &Date| std::f64::consts::TAU * f64::from(d.day_of_year()) / 365.25;
    let (sin, cos) = days.iter().fold((0.0, 0.0), |(s, c), d| (s + angle(d).sin(), c + angle(d).cos()));
    f64::atan2(sin, cos).rem_euclid(std::f64::consts::TAU) * 365.25 / std::f64::consts::TAU
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middles_go_round() {
        let at = |lat, lon| Location { lat, lon };
        let found = middle(&[at(10.0, 170.0), at(10.0, -170.0)]);
        assert!((found.lon.abs() - 180.0).abs() < 1e-9 && found.lat > 10.0, "{found:?}");
        let day = |month, day| Date::new(2023, month, day).expect("date");
        let new_year = middle_day(&[day(12, 27), day(1, 5)]);
        assert!(!(2.0..364.0).contains(&new_year), "{new_year}");
    }
}
