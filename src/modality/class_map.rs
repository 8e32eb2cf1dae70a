//! Class codes of a window as text short enough to be kept with the choices.

use super::{Mask, Raster};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What the text begins with.
const PREFIX: &str = "painted:";
/// No window is larger, pixels.
const LARGEST: usize = 1 << 24;

/// One class code per pixel, row-major from the north-west. Its text is a list of runs, `painted:1x200,5x12,1x8` for a
/// square, `painted:20x11:1x200,5x12,1x8` for a map of 20 columns and 11 rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClassMap {
    rows: usize,
    columns: usize,
    codes: Vec<u8>,
}

impl ClassMap {
    /// One class everywhere.
    pub fn constant((rows, columns): (usize, usize), code: u8) -> Self {
        Self { rows, columns, codes: vec![code; rows * columns] }
    }

    /// Codes of a class raster, rounded.
    pub fn of(raster: &Raster) -> Self {
        let codes = raster.channel(0).iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect();
        Self { rows: raster.height, columns: raster.width, codes }
    }

    /// 1 where a mask is set, 0 elsewhere.
    pub fn of_mask(mask: &Mask) -> Self {
        let (rows, columns) = mask.size();
        Self { rows, columns, codes: (0..rows * columns).map(|pixel| u8::from(mask.at(pixel))).collect() }
    }

    /// Rows and columns.
    pub fn size(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// The codes, row-major from the north-west.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// As a raster.
    pub fn raster(&self) -> Raster {
        Raster::from_fn(1, self.rows, self.columns, |_, pixel| f32::from(self.codes[pixel]))
    }

    /// Whether a text is one of these, without reading it.
    pub fn is_text(text: &str) -> bool {
        text.trim_start().starts_with(PREFIX)
    }

    /// Gives a class to all pixels whose centre lies within a stroke: from one point to another, with a radius; all in
    /// pixels from the north-western corner.
    pub fn paint(&mut self, [from, to]: [[f64; 2]; 2], radius: f64, code: u8) {
        let along = [to[0] - from[0], to[1] - from[1]];
        let length2 = along[0].powi(2) + along[1].powi(2);
        for (i, pixel) in self.codes.iter_mut().enumerate() {
            let at = [(i % self.columns) as f64 + 0.5 - from[0], (i / self.columns) as f64 + 0.5 - from[1]];
            let share = if length2 > 0.0 { (at[0] * along[0] + at[1] * along[1]) / length2 } else { 0.0 };
            let share = share.clamp(0.0, 1.0);
            let apart = (at[0] - share * along[0]).powi(2) + (at[1] - share * along[1]).powi(2);
            if apart <= radius * radius {
                *pixel = code;
            }
        }
    }

    /// Paints a code over the pixels whose middles lie inside an outline, given in pixels from the upper-left corner; the
    /// last point is joined to the first, and what is enclosed twice is left as it was.
    pub fn fill(&mut self, outline: &[[f64; 2]], code: u8) {
        let sides = || outline.iter().zip(outline.iter().cycle().skip(1));
        for (row, pixels) in self.codes.chunks_exact_mut(self.columns).enumerate() {
            let y = row as f64 + 0.5;
            let crossing = |(a, b): (&[f64; 2], &[f64; 2])| {
                let crosses = (a[1] <= y) != (b[1] <= y);
                crosses.then(|| a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]))
            };
            let mut crossings: Vec<f64> = sides().filter_map(crossing).collect();
            crossings.sort_by(f64::total_cmp);
            for pair in crossings.chunks_exact(2) {
                let [first, end] = [pair[0], pair[1]].map(|x| ((x - 0.5).ceil().max(0.0) as usize).min(pixels.len()));
                pixels[first..end].fill(code);
            }
        }
    }
}

impl fmt::Display for ClassMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        if self.rows != self.columns {
            write!(f, "{}x{}:", self.columns, self.rows)?;
        }
        for (i, run) in self.codes.chunk_by(|a, b| a == b).enumerate() {
            write!(f, "{}{}x{}", if i == 0 { "" } else { "," }, run[0], run.len())?;
        }
        Ok(())
    }
}

impl FromStr for ClassMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "a painted map is written like painted:1x200,5x12 or painted:20x11:1x200,5x20".to_owned();
        let text = text.trim().strip_prefix(PREFIX).ok_or_else(bad)?;
        let (size, runs) = text.split_once(':').map_or((None, text), |(size, runs)| (Some(size), runs));
        let mut codes = Vec::new();
        for run in runs.split(',') {
            let (code, count) = run.split_once('x').ok_or_else(bad)?;
            let (code, count) = (code.parse::<u8>().map_err(|_| bad())?, count.parse::<usize>().map_err(|_| bad())?);
            if count > LARGEST - codes.len() {
                return Err("a painted map of that size is not possible".into());
            }
            codes.resize(codes.len() + count, code);
        }
        let (columns, rows) = match size {
            Some(size) => {
                let (columns, rows) = size.split_once('x').ok_or_else(bad)?;
                (columns.parse::<usize>().map_err(|_| bad())?, rows.parse::<usize>().map_err(|_| bad())?)
            }
            None => (codes.len().isqrt(), codes.len().isqrt()),
        };
        if columns == 0 || columns.checked_mul(rows) != Some(codes.len()) {
            return Err("the pixels of a painted map do not fill its rows".into());
        }
        Ok(Self { rows, columns, codes })
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
        fn text_and_back((rows, columns, codes) in (1usize..20, 1usize..20).prop_flat_map(|(rows, columns)| {
            (Just(rows), Just(columns), proptest::collection::vec(0u8..4, rows * columns))
        })) {
            let map = ClassMap { rows, columns, codes };
            prop_assert_eq!(map.to_string().parse::<ClassMap>(), Ok(map));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(painted:)?([0-9]{1,2}x[0-9]{1,2}:)?[0-9x,]{0,40}") {
            if let Ok(map) = text.parse::<ClassMap>() {
                let (rows, columns) = map.size();
                prop_assert!(rows > 0 && map.codes().len() == rows * columns);
            }
        }
    }

    #[test]
    fn an_outline_is_filled_inside_and_cut_at_the_edge() {
        let painted = |outline: &[[f64; 2]]| {
            let mut map = ClassMap::constant((6, 8), 1);
            map.fill(outline, 9);
            (0..48).filter(|&i| map.codes[i] == 9).collect::<Vec<_>>()
        };
        let square = [[1.0, 1.0], [4.0, 1.0], [4.0, 3.0], [1.0, 3.0]];
        assert_eq!(painted(&square), [9, 10, 11, 17, 18, 19]);
        let backwards: Vec<[f64; 2]> = square.into_iter().rev().collect();
        assert_eq!(painted(&backwards), painted(&square), "whichever way it is drawn");
        assert_eq!(painted(&[[-9.0, -9.0], [99.0, -9.0], [99.0, 99.0], [-9.0, 99.0]]).len(), 48);
        assert_eq!(painted(&[[0.0, 0.0], [0.0, 6.0], [8.0, 6.0]]).len(), 24, "half of it");
        for nothing in [&[][..], &[[2.0, 2.0]], &[[2.0, 2.0], [5.0, 4.0]]] {
            assert!(painted(nothing).is_empty());
        }
    }

    #[test]
    fn a_stroke_covers_what_lies_under_it_and_nothing_else() {
        let mut map = ClassMap::constant((10, 10), 1);
        map.paint([[2.5, 5.5], [7.5, 5.5]], 0.6, 9);
        let painted: Vec<usize> = (0..100).filter(|&i| map.codes[i] == 9).collect();
        assert_eq!(painted, (52..=57).collect::<Vec<_>>());
        map.paint([[-50.0, -50.0], [-40.0, -40.0]], 3.0, 7);
        assert!(!map.codes.contains(&7), "beside the window");
        map.paint([[0.0, 0.0], [0.0, 0.0]], 1.0, 7);
        assert_eq!(map.codes.iter().filter(|c| **c == 7).count(), 1);
        let mut wide = ClassMap::constant((2, 50), 1);
        wide.paint([[40.5, 1.5], [40.5, 1.5]], 0.6, 9);
        assert_eq!(wide.codes.iter().position(|c| *c == 9), Some(90));
    }

    #[test]
    fn maps_of_earlier_versions_are_squares() {
        let map: ClassMap = "painted:1x10,5x6".parse().expect("a map");
        assert_eq!((map.size(), map.to_string().as_str()), ((4, 4), "painted:1x10,5x6"));
        for text in ["painted:1x15", "painted:3x5:1x16", "painted:0x0:1x0", "painted:1x99999999999", "painted:"] {
            assert!(text.parse::<ClassMap>().is_err(), "{text}");
        }
    }
}
