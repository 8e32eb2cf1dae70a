//! What stands where no source has anything.

use crate::modality::{Group, Subject};
use crate::scene::{inland, regions, unexplained};

/// As far from 0 m the edge of a sea may lie, metres: tiles that hold some of the sea have it at 0 m, give or take what
/// resampling mixes in.
const SEA_LEVEL: f32 = 1.0;
/// So much of a hole's edge has to lie there: low land has its rivers and ditches.
const OF_THE_EDGE: f64 = 0.5;

/// A band without holes where the catalogue says what stands there.
pub(super) struct Filled {
    /// Its pixels; NaN where it stays open.
    pub values: Vec<f32>,
    /// How many do.
    pub open: usize,
    /// Heights of exactly 0 m that no sea explains.
    pub zeros: usize,
}

/// Pixels of a band with what the catalogue says stands where there is nothing: the sea has no elevation tiles, land cover has a
/// class for it. A hole in elevation that land surrounds is no sea; it stays open. `dry` says by pixel whether the ground is
/// known to be dry there, or water.
pub(super) fn filled(m: &Group, values: &[f32], width: usize, dry: &dyn Fn(usize) -> Option<bool>) -> Filled {
    let mut out = values.to_vec();
    let is_elevation = m.about.subject == Subject::Elevation;
    let on_land = if is_elevation { inland(values, width, dry) } else { vec![false; values.len()] };
    if let Some(fill) = &m.about.fill {
        for hole in regions(values, width, f32::is_nan) {
            // Zeros that are none of the sea say as little of the ground as the hole itself.
            let low = hole.edge.iter().filter(|&&at| values[at].abs() <= SEA_LEVEL && !on_land[at]).count();
            let land = hole.pixels.iter().filter(|&&at| on_land[at] || dry(at) == Some(true)).count();
            let is_sea = low as f64 >= OF_THE_EDGE * hole.edge.len() as f64 && 2 * land < hole.pixels.len().max(1);
            if !is_elevation || is_sea {
                hole.pixels.iter().for_each(|&at| out[at] = fill.value);
            }
        }
    }
    let open = out.iter().filter(|v| v.is_nan()).count();
    Filled { open, zeros: unexplained(values, &on_land), values: out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::Catalogue;

    /// Six columns: land of this height but for one column without data, and the last two.
    fn gap(height: f32, last: [f32; 2]) -> Vec<f32> {
        [height, height, f32::NAN, height, last[0], last[1]].repeat(4)
    }

    #[test]
    fn the_sea_is_filled_and_a_gap_on_land_is_not() {
        let catalogue = Catalogue::bundled();
        let m = catalogue.group("DEM").expect("modality");
        let filled = |m: &Group, values: &[f32], width: usize| {
            let filled = filled(m, values, width, &|_| None);
            (filled.values, filled.open)
        };
        let inland = filled(m, &gap(500.0, [500.0; 2]), 6);
        assert_eq!(inland.1, 4);
        assert!(inland.0[2].is_nan());
        // A coast: the hole reaches the edge of the image, and beside it lies the sea of another tile.
        let coast = filled(m, &gap(0.3, [f32::NAN; 2]), 6);
        assert_eq!((coast.1, coast.0[2], coast.0[5]), (0, 0.0, 0.0));
        // Polders with a ditch, and a tile that is missing beside them.
        let mut low = gap(-3.0, [f32::NAN; 2]);
        low[3] = 0.0;
        assert_eq!(filled(m, &low, 6).1, 12);
        // Half of the window has no tile, the other lies at 1800 m.
        assert_eq!(filled(m, &gap(1800.0, [f32::NAN; 2]), 6).1, 12);
        assert_eq!(filled(m, &[f32::NAN; 12], 6), (vec![0.0; 12], 0));
        let cover = catalogue.group("LULC").expect("modality");
        assert_eq!(filled(cover, &gap(4.0, [4.0; 2]), 6).1, 0);
    }

    #[test]
    fn what_the_ground_is_tells_of_the_sea() {
        let catalogue = Catalogue::bundled();
        let m = catalogue.group("DEM").expect("modality");
        // Beside a lagoon at 0 m the tile of the mainland is missing: crops are known to grow there.
        let coast = gap(0.0, [f32::NAN; 2]);
        let known = |dry: bool| move |at: usize| Some(dry && (at % 6 == 2 || at % 6 > 3));
        let opened = filled(m, &coast, 6, &known(true));
        assert_eq!((opened.open, opened.zeros), (12, 0));
        assert_eq!(filled(m, &coast, 6, &known(false)).open, 0);
        assert_eq!(filled(m, &coast, 6, &|_| None).open, 0);
        // A frame of zeros beside a hole, both high in the mountains: neither is the sea.
        let mut framed = [1800.0, 1800.0, 0.0, f32::NAN, 1800.0, 1800.0].repeat(20);
        let found = filled(m, &framed, 6, &|_| None);
        assert_eq!((found.open, found.zeros), (20, 20));
        framed.iter_mut().filter(|v| **v > 0.0).for_each(|v| *v = 0.4);
        let found = filled(m, &framed, 6, &|_| None);
        assert_eq!((found.open, found.zeros), (0, 0));
    }
}
