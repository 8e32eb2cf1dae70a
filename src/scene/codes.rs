//! Codes of class rasters: which there are, and what they are in the family's own legend.

use super::legends::{FILLS, Legend};
use crate::modality::Group;
use std::collections::BTreeMap;

/// So many unknown codes are told.
const TOLD: usize = 5;
/// Where more than this share of what is read has unknown codes, it is another map, and is refused.
const MOST_UNKNOWN: f64 = 0.5;

/// Codes from 0 to 65535 of some pixels, and how many have each.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Found(BTreeMap<u16, usize>);

impl Found {
    /// Of these values; what is no such code is left out.
    #[cfg(test)]
    pub(super) fn of(values: impl IntoIterator<Item = f32>) -> Self {
        let mut found = Self::default();
        found.add(values);
        found
    }

    /// Adds values.
    pub(super) fn add(&mut self, values: impl IntoIterator<Item = f32>) {
        for code in values.into_iter().filter_map(code) {
            *self.0.entry(code).or_default() += 1;
        }
    }

    /// The codes, from the smallest on.
    pub(super) fn codes(&self) -> impl Iterator<Item = u16> {
        self.0.keys().copied()
    }

    /// Whether a code is there.
    pub(super) fn has(&self, code: u16) -> bool {
        self.0.contains_key(&code)
    }

    /// Share of the pixels whose codes are like this, of all but those whose code means no data in most maps.
    pub(super) fn share(&self, like: impl Fn(u16) -> bool) -> f64 {
        let count = |like: &dyn Fn(u16) -> bool| -> usize {
            self.0.iter().filter(|(code, _)| like(**code)).map(|(_, count)| count).sum()
        };
        count(&like) as f64 / count(&|code| !FILLS.contains(&code)).max(1) as f64
    }
}

/// A value as a code, if it is one.
fn code(value: f32) -> Option<u16> {
    (value.fract() == 0.0 && (0.0..=f32::from(u16::MAX)).contains(&value)).then_some(value as u16)
}

/// Codes that no legend knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Unknown {
    /// How many pixels have each.
    pub codes: BTreeMap<i64, usize>,
    /// Pixels that were read and are not declared no data.
    total: usize,
}

impl Unknown {
    /// Pixels that have an unknown code.
    pub(super) fn count(&self) -> usize {
        self.codes.values().sum()
    }

    /// Gives values the family's own codes: those that `legend` has for them, if there is one. What is unknown is no data from
    /// here on, and remembered; so is, in silence, what means no data in most maps.
    ///
    /// # Errors
    /// A sentence, when there are values between codes.
    pub(super) fn convert(&mut self, m: &Group, legend: Option<&Legend>, values: &mut [f32]) -> Result<(), String> {
        let own = || m.classes().unwrap_or_default().iter().map(|class| (u16::from(class.code), f32::from(class.code)));
        let known: BTreeMap<u16, f32> = legend.map_or_else(|| own().collect(), Legend::codes);
        for v in values.iter_mut().filter(|v| !v.is_nan()) {
            if v.fract() != 0.0 {
                return Err(format!(
                    "It holds {v} where there should be class codes, which are whole numbers: it may have been resampled by averaging; make it anew from its source (gdalwarp -r near, or -r mode)"
                ));
            }
            self.total += 1;
            let found = code(*v);
            let own = found.and_then(|code| known.get(&code)).copied();
            if own.is_none() && !found.is_some_and(|code| FILLS.contains(&code)) && !m.about.is_no_data(*v) {
                *self.codes.entry(*v as i64).or_default() += 1;
            }
            *v = own.unwrap_or(f32::NAN);
        }
        Ok(())
    }

    /// What is said of unknown codes in a window; nothing if there are none.
    ///
    /// # Errors
    /// A sentence, when most of it has such codes: it is another map than it is taken for.
    pub(super) fn note(&self, m: &Group) -> Result<Option<String>, String> {
        if self.codes.is_empty() {
            return Ok(None);
        }
        let share = self.count() as f64 / self.total.max(1) as f64;
        let mut codes: Vec<String> = self.codes.keys().take(TOLD).map(ToString::to_string).collect();
        if self.codes.len() > TOLD {
            codes.push("…".into());
        }
        let known: Vec<String> = m.classes().unwrap_or_default().iter().map(|c| c.code.to_string()).collect();
        let said = format!("unknown class code {} ({:.1} % of the window)", codes.join(", "), share * 100.0);
        let known = known.join(" ");
        if share > MOST_UNKNOWN {
            return Err(format!(
                "It has the {said}, so it is no map of {}, whose codes are {known}, nor of another legend that is known; convert its codes first (gdal_calc.py), or do not give it",
                m.about.quantity
            ));
        }
        Ok(Some(format!("{said}, taken as no data; known codes are {known}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::Catalogue;

    fn converted(values: &[f32]) -> Result<(Vec<f32>, Unknown), String> {
        let catalogue = Catalogue::bundled();
        let (mut values, mut unknown) = (values.to_vec(), Unknown::default());
        unknown.convert(catalogue.group("LULC").expect("group"), None, &mut values)?;
        Ok((values, unknown))
    }

    #[test]
    fn only_whole_numbers_of_the_legend_are_classes() {
        let (values, unknown) = converted(&[1.0, 11.0, 255.0, f32::NAN, 3.0, -1.0, 70_000.0]).expect("codes");
        assert_eq!(values[..2], [1.0, 11.0]);
        assert!(values[2..].iter().all(|v| v.is_nan()), "{values:?}");
        assert_eq!(unknown.codes.keys().copied().collect::<Vec<_>>(), [-1, 3, 70_000]);
        assert!(converted(&[1.0, 10.5]).expect_err("between").contains("10.5"));
        assert_eq!(Found::of([1.0, 2.5, -1.0, 65_536.0, f32::NAN]), Found::of([1.0]));
    }

    #[test]
    fn a_few_unknown_codes_are_told_and_mostly_unknown_ones_refused() {
        let catalogue = Catalogue::bundled();
        let m = catalogue.group("LULC").expect("group");
        let note = |values: &[f32]| converted(values).expect("codes").1.note(m);
        assert_eq!(note(&[1.0, 2.0, 0.0, 255.0]), Ok(None));
        let told = note(&[1.0, 2.0, 5.0, 3.0]).expect("a few").expect("a note");
        assert!(told.contains("unknown class code 3 (25.0 % of the window), taken as no data"), "{told}");
        let refused = note(&[41.0, 42.0, 1.0]).expect_err("another map");
        assert!(refused.contains("41, 42") && refused.contains("66.7 %"), "{refused}");
    }
}
