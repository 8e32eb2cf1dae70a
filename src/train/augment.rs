//! Which changes a training window goes through.

use super::clouds::{Clouds, apply_shade, radiometric, shade};
use super::recipe::DataRecipe;
use super::windows::uniform;
use crate::modality::{Modality, ModalityTable, Raster, Subject, Value, filled};
use jiff::civil::Date;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

/// Local solar time at which Sentinel-2 passes, in hours.
const PASS_H: f64 = 10.5;

/// Changes that keep a window plausible: clouds over clear ground, another sun, another calibration. Radar, elevation
/// and land cover stay as they are.
pub(super) struct Augmentation {
    clouds: f64,
    sun: f64,
    radiometry: f64,
    optical: Vec<(usize, Modality)>,
    mask: Option<usize>,
    elevation: Option<(usize, Modality)>,
    location: Option<usize>,
    date: Option<usize>,
}

impl Augmentation {
    /// As a recipe says.
    pub(super) fn new(recipe: &DataRecipe, table: &ModalityTable) -> Self {
        let find = |f: &dyn Fn(&Modality) -> bool| table.iter().position(f);
        let optical = table.iter().enumerate().filter(|(_, m)| m.about.is_optical());
        Self {
            clouds: recipe.clouds,
            sun: recipe.sun,
            radiometry: recipe.radiometry,
            optical: optical.map(|(i, m)| (i, m.clone())).collect(),
            mask: find(&|m| m.about.subject == Subject::Clouds),
            elevation: find(&|m| m.about.subject == Subject::Elevation).map(|i| (i, table[i].clone())),
            location: find(&|m| m.is_location()),
            date: find(&|m| m.is_date()),
        }
    }

    /// Changes the values of one window; the same seed changes it alike. Rasters must not have been turned yet.
    pub(super) fn apply(&self, values: &mut [Option<Value>], seed: u64) {
        let mut generator = ChaCha12Rng::seed_from_u64(seed ^ 0x0063_6c6f_7564);
        let mut uniform = || uniform(&mut generator);
        let chosen = [self.sun, self.radiometry, self.clouds].map(|chance| uniform() < chance);
        if chosen[0] {
            self.light(values, &mut uniform);
        }
        if chosen[1] {
            let radiometry = radiometric(&mut uniform);
            self.each_band(values, |band, _, name| radiometry.apply(band, name));
        }
        if chosen[2] {
            self.cloud(values, &mut uniform);
        }
    }

    fn each_band(&self, values: &mut [Option<Value>], mut change: impl FnMut(&mut [f32], usize, &str)) {
        for (i, m) in &self.optical {
            if let Some(Value::Image(raster)) = &mut values[*i] {
                let side = raster.width;
                for (channel, name) in m.channels.iter().enumerate() {
                    change(raster.channel_mut(channel), side, name);
                }
            }
        }
    }

    /// The sun of another hour of the same day, where place, day and elevation are known.
    fn light(&self, values: &mut [Option<Value>], uniform: &mut dyn FnMut() -> f64) {
        let known = |i: Option<usize>| i.and_then(|i| values[i].clone());
        let (Some((dem, elevation)), Some(Value::Location(at)), Some(Value::Date(date))) =
            (&self.elevation, known(self.location), known(self.date))
        else {
            return;
        };
        let Some(Value::Image(dem)) = &values[*dem] else { return };
        // The edge of a hole is no cliff.
        let Ok(dem) = filled(elevation, dem) else { return };
        let now = sun(at.lat, date, PASS_H);
        let then = sun(at.lat, date, PASS_H + 3.0 * (uniform() - 0.5));
        if now.1 < 10.0 || then.1 < 10.0 {
            return;
        }
        let (factor, side) = (shade(&dem.data, dem.width, elevation.ground_m, now, then), dem.width);
        self.each_band(values, |band, band_side, _| apply_shade(band, band_side, &factor, side));
    }

    /// Clouds over ground that is known to be clear.
    fn cloud(&self, values: &mut [Option<Value>], uniform: &mut dyn FnMut() -> f64) {
        let Some(Value::Image(mask)) = self.mask.and_then(|i| values[i].as_mut()) else { return };
        if mask.valid().is_some() || mask.data.iter().any(|code| *code != 0.0) {
            return;
        }
        let clouds = Clouds::draw(uniform, mask.width);
        let drawn = clouds.mask();
        *mask = Raster::from_fn(1, mask.height, mask.width, |_, pixel| f32::from(drawn[pixel]));
        self.each_band(values, |band, side, name| clouds.apply(band, side, name));
    }
}

/// Azimuth (clockwise from north) and elevation of the sun in degrees, to about a degree.
fn sun(latitude: f64, date: Date, hour: f64) -> (f64, f64) {
    let day = f64::from(date.day_of_year());
    let season = (std::f64::consts::TAU * (day + 284.0) / 365.0).sin();
    let declination = 23.44f64.to_radians() * season;
    let (phi, angle) = (latitude.to_radians(), ((hour - 12.0) * 15.0).to_radians());
    let height = phi.sin() * declination.sin() + phi.cos() * declination.cos() * angle.cos();
    let east = -declination.cos() * angle.sin();
    let north = declination.sin() * phi.cos() - declination.cos() * phi.sin() * angle.cos();
    (east.atan2(north).to_degrees().rem_euclid(360.0), height.clamp(-1.0, 1.0).asin().to_degrees())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sun_stands_where_it_should() {
        let day = |month, day| Date::new(2023, month, day).expect("date");
        let (azimuth, height) = sun(50.0, day(6, 21), 12.0);
        assert!((azimuth - 180.0).abs() < 1.0 && (height - 63.4).abs() < 1.0, "{azimuth} {height}");
        let (azimuth, height) = sun(-35.0, day(12, 21), 10.5);
        assert!((45.0..90.0).contains(&azimuth) && (60.0..70.0).contains(&height), "{azimuth} {height}");
        assert!(sun(50.0, day(12, 21), 12.0).1 < 18.0);
        assert!(sun(50.0, day(3, 21), 6.0).1.abs() < 2.0);
    }
}
