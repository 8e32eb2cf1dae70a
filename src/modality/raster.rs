//! Pixels of one modality, and which of them say anything.

use super::{Group, Mask};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::ops::Range;

/// Pixels of one image modality, in physical units, and where they are valid.
///
/// Layout `(channel, row, column)`, row 0 is north. Units as the catalogue says: Sentinel-2 in DN
/// (reflectance × 10 000), Sentinel-1 in linear power, elevation in metres, classes as raster codes.
///
/// A pixel is valid where all its channels are: one mask for all of them. What `data` holds at other pixels is always
/// [`BENEATH`](Self::BENEATH), which means nothing: statistics leave such pixels out, networks get them
/// [filled](super::filled).
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    /// Number of channels, in the modality's channel order.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `channels · height · width` values.
    pub data: Vec<f32>,
    /// `None`: valid everywhere.
    valid: Option<Mask>,
}

impl Raster {
    /// What lies in `data` where nothing is valid.
    pub const BENEATH: f32 = 0.0;

    /// A raster of these values, valid everywhere.
    ///
    /// # Errors
    /// When their number is not `channels · height · width`.
    pub fn new(channels: usize, height: usize, width: usize, data: Vec<f32>) -> Result<Self> {
        let expected = channels.checked_mul(height).and_then(|n| n.checked_mul(width));
        if expected != Some(data.len()) {
            let found = data.len();
            return Err(Error::Compute(format!(
                "A raster of {channels} channels and {height} × {width} pixels has {found} values."
            )));
        }
        Ok(Self { channels, height, width, data, valid: None })
    }

    /// A raster of one value, valid everywhere.
    pub fn constant(channels: usize, height: usize, width: usize, value: f32) -> Self {
        Self { channels, height, width, data: vec![value; channels * height * width], valid: None }
    }

    /// A raster of the values of a function of channel and pixel (row-major), valid everywhere.
    pub fn from_fn(channels: usize, height: usize, width: usize, mut value: impl FnMut(usize, usize) -> f32) -> Self {
        let pixels = height * width;
        let mut data = Vec::with_capacity(channels * pixels);
        for channel in 0..channels {
            data.extend((0..pixels).map(|pixel| value(channel, pixel)));
        }
        Self { channels, height, width, data, valid: None }
    }

    /// The same, valid only where it was and this mask is set.
    ///
    /// # Errors
    /// When the mask has another size.
    pub fn with_valid(mut self, mask: &Mask) -> Result<Self> {
        if mask.size() != (self.height, self.width) {
            let (height, width) = mask.size();
            return Err(Error::Compute(format!(
                "A mask of {height} × {width} pixels does not suit a raster of {} × {}.",
                self.height, self.width
            )));
        }
        let mask = match &self.valid {
            Some(valid) => valid.and(mask),
            None => mask.clone(),
        };
        let pixels = self.height * self.width;
        for pixel in mask.holes() {
            for channel in 0..self.channels {
                self.data[channel * pixels + pixel] = Self::BENEATH;
            }
        }
        self.valid = (!mask.is_full()).then_some(mask);
        Ok(self)
    }

    /// The same, valid only where every channel has a number that can be true, as far as the catalogue says. Reflectances a little
    /// below zero can: corrections of the atmosphere and the removal of an offset leave them.
    ///
    /// # Errors
    /// When it has other channels than the group.
    pub fn that_can_be(self, m: &Group) -> Result<Self> {
        let ranges: Vec<Option<[f32; 2]>> = m
            .channels
            .iter()
            .map(|channel| {
                let [low, high] = m.about.valid(channel)?.map(|v| v as f32);
                Some([low - m.about.offset.unwrap_or(0.0), high])
            })
            .collect();
        if ranges.len() != self.channels {
            return Err(Error::Compute(format!("A raster of {} has {} channels.", m.name, self.channels)));
        }
        let can_be = |channel: usize, v: f32| ranges[channel].is_none_or(|[low, high]| (low..=high).contains(&v));
        if (0..self.channels).all(|c| self.valid_values(c).all(|v| can_be(c, v))) {
            return Ok(self);
        }
        let all = |pixel: usize| (0..self.channels).all(|c| can_be(c, self.channel(c)[pixel]));
        let mask = Mask::from_fn(self.height, self.width, all);
        self.with_valid(&mask)
    }

    /// Where it is valid; `None`: everywhere.
    pub fn valid(&self) -> Option<&Mask> {
        self.valid.as_ref()
    }

    /// Whether a pixel (row-major) is valid; none outside is.
    pub fn is_valid(&self, pixel: usize) -> bool {
        pixel < self.height * self.width && self.valid.as_ref().is_none_or(|valid| valid.at(pixel))
    }

    /// Share of the pixels that are valid, 0…1.
    pub fn valid_share(&self) -> f64 {
        self.valid.as_ref().map_or(1.0, Mask::share)
    }

    /// Of a cloud mask, where it says that the sky is clear: legends of cloud masks begin with that class. What is unknown is
    /// not clear.
    pub fn clear_sky(&self) -> Mask {
        Mask::from_fn(self.height, self.width, |pixel| self.is_valid(pixel) && self.data[pixel] == 0.0)
    }

    /// One channel, row-major.
    pub fn channel(&self, index: usize) -> &[f32] {
        let n = self.height * self.width;
        &self.data[index * n..(index + 1) * n]
    }

    /// One channel, row-major, to write to.
    pub fn channel_mut(&mut self, index: usize) -> &mut [f32] {
        let n = self.height * self.width;
        &mut self.data[index * n..(index + 1) * n]
    }

    /// The valid values of one channel, row-major.
    pub fn valid_values(&self, channel: usize) -> impl Iterator<Item = f32> {
        self.channel(channel).iter().enumerate().filter(|(pixel, _)| self.is_valid(*pixel)).map(|(_, value)| *value)
    }

    /// Of values that belong to its pixels, channel after channel or those of one channel, the ones of valid pixels.
    pub fn valid_of<'a, T: Copy>(&self, values: &'a [T]) -> Cow<'a, [T]> {
        let pixels = (self.height * self.width).max(1);
        match &self.valid {
            Some(valid) => values.iter().enumerate().filter(|(i, _)| valid.at(i % pixels)).map(|(_, v)| *v).collect(),
            None => Cow::Borrowed(values),
        }
    }

    /// Every valid value as a function makes it; what is not valid stays so.
    #[must_use]
    pub fn map(&self, mut value: impl FnMut(f32) -> f32) -> Self {
        let mut out = self.clone();
        let pixels = (self.height * self.width).max(1);
        for (i, v) in out.data.iter_mut().enumerate() {
            if self.valid.as_ref().is_none_or(|valid| valid.at(i % pixels)) {
                *v = value(*v);
            }
        }
        out
    }

    /// A part of it.
    ///
    /// # Errors
    /// When the part leaves the raster.
    pub fn crop(&self, rows: Range<usize>, columns: Range<usize>) -> Result<Self> {
        if rows.start > rows.end || columns.start > columns.end || rows.end > self.height || columns.end > self.width {
            return Err(Error::Compute(format!(
                "Rows {rows:?} and columns {columns:?} leave a raster of {} × {} pixels.",
                self.height, self.width
            )));
        }
        let at =
            |pixel: usize| (rows.start + pixel / columns.len()) * self.width + columns.start + pixel % columns.len();
        let out = Self::from_fn(self.channels, rows.len(), columns.len(), |c, pixel| self.channel(c)[at(pixel)]);
        match &self.valid {
            Some(valid) => out.with_valid(&valid.crop(rows, columns)),
            None => Ok(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holed() -> Raster {
        let raster = Raster::from_fn(2, 3, 4, |c, pixel| (100 * c + pixel + 1) as f32);
        raster.with_valid(&Mask::from_fn(3, 4, |pixel| pixel != 5 && pixel != 0)).expect("mask")
    }

    #[test]
    fn sizes_have_to_agree() {
        assert!(Raster::new(2, 3, 4, vec![0.0; 24]).is_ok());
        assert!(Raster::new(2, 3, 4, vec![0.0; 23]).is_err());
        assert!(Raster::new(usize::MAX, 2, 2, Vec::new()).is_err());
        assert!(Raster::constant(1, 3, 4, 1.0).with_valid(&Mask::full(4, 3)).is_err());
    }

    #[test]
    fn what_is_not_valid_holds_one_defined_value_in_all_channels() {
        let raster = holed();
        for channel in 0..2 {
            assert_eq!([raster.channel(channel)[0], raster.channel(channel)[5]], [Raster::BENEATH; 2]);
            assert_eq!(raster.valid_values(channel).count(), 10);
        }
        assert!(!raster.is_valid(5) && raster.is_valid(4) && !raster.is_valid(12), "none outside is");
        assert!((raster.valid_share() - 10.0 / 12.0).abs() < 1e-12);
        assert_eq!(raster.valid_of(&raster.data).len(), 20);
        assert_eq!(
            raster.valid_of(raster.channel(1)).iter().copied().collect::<Vec<_>>(),
            raster.valid_values(1).collect::<Vec<_>>()
        );
        let doubled = raster.map(|v| 2.0 * v + 1.0);
        assert_eq!((doubled.channel(1)[0], doubled.channel(1)[1]), (Raster::BENEATH, 205.0));
        assert_eq!(doubled.valid(), raster.valid());
    }

    #[test]
    fn a_full_mask_is_none() {
        let raster = Raster::constant(1, 3, 4, 1.0).with_valid(&Mask::full(3, 4)).expect("mask");
        assert_eq!(raster, Raster::constant(1, 3, 4, 1.0));
        // Holes add up, and never close.
        let twice = holed().with_valid(&Mask::from_fn(3, 4, |pixel| pixel != 7)).expect("mask");
        assert_eq!((0..12).filter(|&p| !twice.is_valid(p)).collect::<Vec<_>>(), [0, 5, 7]);
    }

    #[test]
    fn what_no_measurement_has_is_left_out() {
        let catalogue = crate::modality::Catalogue::bundled();
        let [heights, optical] = ["DEM", "S2L1C_60m"].map(|name| catalogue.group(name).expect("group"));
        let of = |values: &[f32]| Raster::new(1, 1, values.len(), values.to_vec()).expect("raster");
        let kept = of(&[250.0, 32_000.0, -700.0, 0.0]).that_can_be(heights).expect("heights");
        assert_eq!((0..4).filter(|&pixel| kept.is_valid(pixel)).collect::<Vec<_>>(), [0, 3]);
        let whole = of(&[250.0, 8848.0]);
        assert_eq!(whole.clone().that_can_be(heights).expect("heights"), whole);
        let dark = Raster::constant(3, 2, 2, -40.0);
        assert_eq!(dark.clone().that_can_be(optical).expect("reflectance"), dark);
        assert!(of(&[1.0]).that_can_be(optical).is_err());
    }

    #[test]
    fn a_part_keeps_its_holes() {
        let part = holed().crop(1..3, 1..3).expect("part");
        assert_eq!(part.channel(0), [Raster::BENEATH, 7.0, 10.0, 11.0]);
        assert!(!part.is_valid(0) && part.is_valid(1));
        assert_eq!(holed().crop(2..3, 0..4).expect("part").valid(), None, "no hole is left");
        assert!(holed().crop(0..4, 0..4).is_err());
    }
}
