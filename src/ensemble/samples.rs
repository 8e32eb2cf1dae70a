//! One quantity of all realisations, ready to be compared pixel by pixel.

use super::{Measure, Realisation, kept, rasters};
use crate::error::{Error, Result};
use crate::modality::{Mask, Modality, Raster, SpectralIndex};
use std::borrow::Cow;
use std::sync::Arc;

/// What is compared: a channel, or an index made of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// A channel in physical units, or class codes.
    Channel(usize),
    /// An index of two channels; no unit.
    Index(SpectralIndex),
}

impl Quantity {
    /// All of a modality, by name: channels first.
    pub fn of(m: &Modality) -> Vec<(String, Self)> {
        let channels = m.channels.iter().enumerate().map(|(i, name)| (name.clone(), Self::Channel(i)));
        let indices = SpectralIndex::all_of(m).into_iter().map(|(name, index)| (name.to_owned(), Self::Index(index)));
        channels.chain(indices).collect()
    }

    /// Its pixels; `None` when there is no such channel.
    pub fn pixels(self, raster: &Raster) -> Option<Cow<'_, [f32]>> {
        match self {
            Self::Channel(c) => (c < raster.channels).then(|| Cow::Borrowed(raster.channel(c))),
            Self::Index(index) => (index.channels.iter().all(|c| *c < raster.channels)).then(|| {
                let [a, b] = index.channels.map(|c| raster.channel(c));
                Cow::Owned(a.iter().zip(b).map(|(a, b)| index.of(*a, *b)).collect())
            }),
        }
    }
}

/// See the module; also what the shader takes.
#[derive(Debug, Clone)]
pub struct Samples {
    /// `count · rows · columns` values, realisation after realisation, then what was observed if the measure compares
    /// with it; [`NOTHING`](Self::NOTHING) where that is no data, and where pixels are kept as observed.
    pub data: Arc<Vec<f32>>,
    /// Number of realisations.
    pub count: usize,
    /// Columns of the raster.
    pub columns: usize,
    /// Rows of the raster.
    pub rows: usize,
    /// What is computed of them.
    pub measure: Measure,
}

impl Samples {
    /// Stands for what was not observed. No quantity is as low, and unlike NaN it is the same on every graphics adapter.
    pub const NOTHING: f32 = -1e30;

    /// A quantity of the realisations that hold the modality.
    ///
    /// # Errors
    /// When no realisation holds it as an image, they differ in size, there is no such channel, or the measure compares
    /// with what was observed and nothing was.
    pub fn new(
        m: &Modality,
        modality: usize,
        quantity: Quantity,
        realisations: &[&Realisation],
        observed: Option<&Raster>,
        measure: Measure,
    ) -> Result<Self> {
        let mut all = rasters(m, modality, realisations)?;
        let (count, columns, rows) = (all.len(), all[0].width, all[0].height);
        if measure.needs_truth() {
            let same = |raster: &&Raster| (raster.width, raster.height) == (columns, rows);
            all.push(
                observed.filter(same).ok_or_else(|| {
                    Error::request(format!("Nothing was observed of {} here to compare with.", m.name))
                })?,
            );
        }
        // What is kept as observed was not sampled: there is nothing to compare.
        let kept = kept(realisations.iter().copied(), modality).filter(|mask| mask.size() == (rows, columns));
        let mut data = Vec::with_capacity(all.len() * columns * rows);
        for raster in all {
            let missing = || Error::request(format!("{} has no such channel.", m.name));
            let begin = data.len();
            data.extend_from_slice(&quantity.pixels(raster).ok_or_else(missing)?);
            for hole in raster.valid().into_iter().flat_map(Mask::holes) {
                data[begin + hole] = Self::NOTHING;
            }
            for pixel in kept.into_iter().flat_map(Mask::set_pixels) {
                data[begin + pixel] = Self::NOTHING;
            }
        }
        Ok(Self { data: Arc::new(data), count, columns, rows, measure })
    }

    /// Values that `data` has to hold.
    pub fn expected(&self) -> usize {
        (self.count + usize::from(self.measure.needs_truth())) * self.columns * self.rows
    }

    /// The measure of each pixel, computed here; valid where all that is compared is, and something was sampled.
    pub fn spread(&self) -> Raster {
        let pixels = self.columns * self.rows;
        let known = |i: usize| self.data.iter().skip(i).step_by(pixels.max(1)).all(|v| *v > Self::NOTHING);
        let mut values = vec![0.0; self.count];
        let pixel = |_, i: usize| {
            values.iter_mut().enumerate().for_each(|(k, v)| *v = self.data[k * pixels + i]);
            let truth = self.data.get(self.count * pixels + i).copied().unwrap_or(f32::NAN);
            self.measure.at(&mut values, truth)
        };
        let spread = Raster::from_fn(1, self.rows, self.columns, pixel);
        let valid = Mask::from_fn(self.rows, self.columns, known);
        // The mask has the raster's size.
        spread.clone().with_valid(&valid).unwrap_or(spread)
    }
}
