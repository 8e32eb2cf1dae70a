//! One level of Sentinel-2 made of the other, for windows that have only one: the same clear ground with an atmosphere
//! above it, or without one.

use crate::modality::{Modality, ModalityTable, Raster, Subject, Value};

/// Bands with the path reflectance of a clear atmosphere and its two-way transmittance (scattering, ozone, water vapour),
/// rounded, for a sun 40° from the zenith.
const BANDS: [(&str, f64, f64); 13] = [
    ("B01", 0.105, 0.78),
    ("B02", 0.070, 0.83),
    ("B03", 0.038, 0.85),
    ("B04", 0.022, 0.88),
    ("B05", 0.018, 0.88),
    ("B06", 0.014, 0.90),
    ("B07", 0.012, 0.92),
    ("B08", 0.010, 0.91),
    ("B8A", 0.009, 0.95),
    ("B09", 0.005, 0.45),
    // Sees no ground.
    ("B10", 0.0012, 0.0),
    ("B11", 0.002, 0.95),
    ("B12", 0.001, 0.92),
];

/// Digital numbers of reflectance 1.
const FULL: f64 = 10_000.0;

/// A random clear atmosphere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Atmosphere {
    /// Times the usual path reflectance.
    path: f64,
    /// Power of the usual transmittance.
    depth: f64,
    /// The same for water vapour, in B09.
    vapour: f64,
}

impl Atmosphere {
    /// Draws one.
    pub(super) fn draw(uniform: &mut dyn FnMut() -> f64) -> Self {
        let mut about_one = |least: f64, most: f64| least * (most / least).powf(uniform());
        let path = about_one(0.75, 1.4);
        Self { path, depth: path.sqrt() * about_one(0.85, 1.2), vapour: about_one(0.4, 2.0) }
    }

    /// Path reflectance and transmittance of a band.
    fn of(&self, band: &str) -> Option<(f64, f64)> {
        let (name, path, through) = BANDS.iter().find(|(name, ..)| *name == band)?;
        let power = if *name == "B09" { self.vapour } else { self.depth };
        Some((path * self.path, through.powf(power)))
    }

    /// Digital numbers of a band at the top of the atmosphere from those of the surface.
    fn seen_from_above(&self, band: &str, surface: f32) -> Option<f32> {
        let (path, through) = self.of(band)?;
        Some((path * FULL + through * f64::from(surface)).max(1.0) as f32)
    }

    /// The inverse; `None` where the ground is not seen.
    fn at_the_surface(&self, band: &str, above: f32) -> Option<f32> {
        let (path, through) = self.of(band)?;
        (through > 0.1).then(|| ((f64::from(above) - path * FULL) / through).max(1.0) as f32)
    }
}

/// Makes the missing level of a clear window from the one that is there; nothing where the sky is not known to be clear,
/// or both levels are there. Whether anything was made.
pub(super) fn make_other_level(
    table: &ModalityTable,
    values: &mut [Option<Value>],
    uniform: &mut dyn FnMut() -> f64,
) -> bool {
    let telling = |subject: Subject| table.telling_of(subject);
    let sky = telling(Subject::Clouds).first().and_then(|&i| values[i].as_ref()?.image());
    let clear = sky.is_some_and(|sky| sky.valid().is_none() && sky.data.iter().all(|code| *code == 0.0));
    let (above, surface) = (telling(Subject::TopOfAtmosphere), telling(Subject::SurfaceReflectance));
    let has = |level: &[usize]| level.iter().any(|&i| values[i].is_some());
    if !clear || has(&above) == has(&surface) {
        return false;
    }
    let atmosphere = Atmosphere::draw(uniform);
    let (from, to) = if has(&surface) { (&surface, &above) } else { (&above, &surface) };
    let upwards = has(&surface);
    let mut made = Vec::new();
    for &i in to {
        let m = &table[i];
        let found: Option<Vec<Source>> = m.channels.iter().map(|band| source(table, values, from, band)).collect();
        let Some(sources) = found else { continue };
        let Some(first) = sources.iter().find_map(|source| source.raster) else { continue };
        let convert = |c: usize, dn: f32| {
            let band = m.channels[c].as_str();
            let other =
                if upwards { atmosphere.seen_from_above(band, dn) } else { atmosphere.at_the_surface(band, dn) };
            other.unwrap_or(1.0)
        };
        let at = |c: usize, pixel: usize| match &sources[c] {
            Source { raster: Some(raster), channel } => convert(c, raster.channel(*channel)[pixel]),
            Source { raster: None, .. } => convert(c, 0.0),
        };
        let raster = Raster::from_fn(m.channels.len(), first.height, first.width, at);
        // A pixel is valid where all that it was made of is; a mask that does not fit would mean bands of other sizes.
        let mut masks = sources.iter().filter_map(|source| source.raster?.valid());
        let Ok(raster) = masks.try_fold(raster, |raster, valid| raster.with_valid(valid)) else { continue };
        made.push((i, raster));
    }
    let any = !made.is_empty();
    made.into_iter().for_each(|(i, raster)| values[i] = Some(Value::Image(raster)));
    any
}

/// Where a band comes from; no raster for one that sees no ground.
struct Source<'a> {
    raster: Option<&'a Raster>,
    channel: usize,
}

fn source<'a>(table: &ModalityTable, values: &'a [Option<Value>], from: &[usize], band: &str) -> Option<Source<'a>> {
    let channel = |m: &Modality| m.channels.iter().position(|name| name == band);
    let found = from.iter().find_map(|&i| Some((values[i].as_ref()?.image()?, channel(&table[i])?)));
    match found {
        Some((raster, channel)) => Some(Source { raster: Some(raster), channel }),
        None => (band == "B10").then_some(Source { raster: None, channel: 0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Place, observe_all};
    use crate::scene::Window;

    /// Mean absolute difference in reflectance, by band.
    fn differences(m: &Modality, a: &Raster, b: &Raster) -> Vec<f64> {
        let of = |c: usize| {
            let sum: f64 = a.channel(c).iter().zip(b.channel(c)).map(|(a, b)| f64::from((a - b).abs())).sum();
            sum / a.channel(c).len() as f64 / FULL
        };
        (0..m.channels.len()).map(of).collect()
    }

    #[test]
    fn the_other_level_of_a_real_place_is_nearly_what_was_seen() {
        let table = crate::modality::ModalityTable::published();
        let dir = crate::files::bundled("assets/scenes/433D_629L_3_1").expect("scene");
        let observed = observe_all(&table, &Place::scene(dir, Window::Centre)).expect("observed");
        let mut values: Vec<Option<Value>> = observed.values.into_iter().map(|v| v.map(|g| g.value)).collect();
        let clouds = table.telling_of(Subject::Clouds)[0];
        let side = table[clouds].pixels;
        values[clouds] = Some(Value::Image(Raster::constant(1, side, side, 0.0)));
        for subject in [Subject::TopOfAtmosphere, Subject::SurfaceReflectance] {
            let mut one = values.clone();
            table.telling_of(subject).into_iter().for_each(|i| one[i] = None);
            // In the middle of all atmospheres.
            assert!(make_other_level(&table, &mut one, &mut || 0.5));
            let i = table.finest(subject).expect("modality");
            let image = |values: &[Option<Value>]| values[i].as_ref().and_then(Value::image).cloned().expect("image");
            let off = differences(&table[i], &image(&values), &image(&one));
            assert!(off.iter().all(|v| *v < 0.03), "{subject:?}: {off:?}");
        }
        // Under clouds, or with both levels there, nothing is made up.
        assert!(!make_other_level(&table, &mut values.clone(), &mut || 0.5));
        table.telling_of(Subject::TopOfAtmosphere).into_iter().for_each(|i| values[i] = None);
        values[clouds] = Some(Value::Image(Raster::constant(1, side, side, 1.0)));
        assert!(!make_other_level(&table, &mut values, &mut || 0.5));
    }
}
