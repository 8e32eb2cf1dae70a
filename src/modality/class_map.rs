//! Class codes of a window as text short enough to be kept with the choices.

use super::Raster;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What the text begins with.
const PREFIX: &str = "painted:";
/// No window is larger, pixels.
const LARGEST: usize = 1 << 24;

/// One class code per pixel, row-major from the north-west. Its text is a list of runs, `painted:1x200,5x12,1x8`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClassMap(pub Vec<u8>);

impl ClassMap {
    /// Codes of a class raster, rounded.
    pub fn of(raster: &Raster) -> Self {
        Self(raster.channel(0).iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect())
    }

    /// As a raster of this side; `None` if the size is another.
    pub fn raster(&self, side: usize) -> Option<Raster> {
        Raster::new(1, side, side, self.0.iter().map(|&code| f32::from(code)).collect()).ok()
    }

    /// Whether a text is one of these, without reading it.
    pub fn is_text(text: &str) -> bool {
        text.trim_start().starts_with(PREFIX)
    }

    /// Gives a class to all pixels whose centre lies within a stroke: from one point to another, with a radius; all in
    /// pixels from the north-western corner. `side` is that of the window.
    pub fn paint(&mut self, side: usize, [from, to]: [[f64; 2]; 2], radius: f64, code: u8) {
        let along = [to[0] - from[0], to[1] - from[1]];
        let length2 = along[0].powi(2) + along[1].powi(2);
        for (i, pixel) in self.0.iter_mut().enumerate() {
            let at = [(i % side) as f64 + 0.5 - from[0], (i / side) as f64 + 0.5 - from[1]];
            let share = if length2 > 0.0 { (at[0] * along[0] + at[1] * along[1]) / length2 } else { 0.0 };
            let share = share.clamp(0.0, 1.0);
            let apart = (at[0] - share * along[0]).powi(2) + (at[1] - share * along[1]).powi(2);
            if apart <= radius * radius {
                *pixel = code;
            }
        }
    }
}

impl fmt::Display for ClassMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        for (i, run) in self.0.chunk_by(|a, b| a == b).enumerate() {
            write!(f, "{}{}x{}", if i == 0 { "" } else { "," }, run[0], run.len())?;
        }
        Ok(())
    }
}

impl FromStr for ClassMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "a painted map is written like painted:1x200,5x12".to_owned();
        let mut codes = Vec::new();
        for run in text.trim().strip_prefix(PREFIX).ok_or_else(bad)?.split(',') {
            let (code, count) = run.split_once('x').ok_or_else(bad)?;
            let (code, count) = (code.parse::<u8>().map_err(|_| bad())?, count.parse::<usize>().map_err(|_| bad())?);
            if count > LARGEST - codes.len() {
                return Err("a painted map of that size is not possible".into());
            }
            codes.resize(codes.len() + count, code);
        }
        Ok(Self(codes))
    }
}

impl TryFrom<String> for ClassMap {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ClassMap> for String {
    fn from(map: ClassMap) -> Self {
        map.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_back(codes in proptest::collection::vec(0u8..4, 1..300)) {
            let map = ClassMap(codes);
            prop_assert_eq!(map.to_string().parse::<ClassMap>(), Ok(map));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(painted:)?[0-9x,]{0,40}") {
            let _ = text.parse::<ClassMap>();
        }
    }

    #[test]
    fn a_stroke_covers_what_lies_under_it_and_nothing_else() {
        let mut map = ClassMap(vec![1; 100]);
        map.paint(10, [[2.5, 5.5], [7.5, 5.5]], 0.6, 9);
        let painted: Vec<usize> = (0..100).filter(|&i| map.0[i] == 9).collect();
        assert_eq!(painted, (52..=57).collect::<Vec<_>>());
        map.paint(10, [[-50.0, -50.0], [-40.0, -40.0]], 3.0, 7);
        assert!(!map.0.contains(&7), "beside the window");
        map.paint(10, [[0.0, 0.0], [0.0, 0.0]], 1.0, 7);
        assert_eq!(map.0.iter().filter(|c| **c == 7).count(), 1);
    }

    #[test]
    fn sizes_are_kept_apart() {
        let map = ClassMap(vec![2; 16]);
        assert!(map.raster(4).is_some() && map.raster(5).is_none());
        assert!("painted:1x99999999999".parse::<ClassMap>().is_err());
    }
}
