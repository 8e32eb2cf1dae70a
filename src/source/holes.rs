//! What stands where no source has anything.

use crate::modality::{Group, Subject};

/// As far from 0 m the edge of a sea may lie, metres: tiles that hold some of the sea have it at 0 m, give or take what
/// resampling mixes in.
const SEA_LEVEL: f32 = 1.0;
/// So much of a hole's edge has to lie there: low land has its rivers and ditches.
const OF_THE_EDGE: f64 = 0.5;

/// Pixels of a band with what the catalogue says stands where there is nothing: the sea has no elevation tiles, land cover has a
/// class for it. A hole in elevation that land surrounds is no sea; it stays open. Also the number of pixels that do.
pub(super) fn filled(m: &Group, values: &[f32], width: usize) -> (Vec<f32>, usize) {
    let mut out = values.to_vec();
    if let Some(fill) = &m.about.fill {
        for hole in holes(values, width) {
            let low = hole.edge.iter().filter(|&&at| values[at].abs() <= SEA_LEVEL).count();
            let is_sea = low as f64 >= OF_THE_EDGE * hole.edge.len() as f64;
            if m.about.subject != Subject::Elevation || is_sea {
                hole.pixels.iter().for_each(|&at| out[at] = fill.value);
            }
        }
    }
    let open = out.iter().filter(|v| v.is_nan()).count();
    (out, open)
}

/// Pixels without data that touch each other, and those with data that they touch.
struct Hole {
    pixels: Vec<usize>,
    edge: Vec<usize>,
}

fn holes(values: &[f32], width: usize) -> Vec<Hole> {
    let mut seen = vec![false; values.len()];
    let mut all = Vec::new();
    for start in 0..values.len() {
        if seen[start] || !values[start].is_nan() {
            continue;
        }
        seen[start] = true;
        let mut hole = Hole { pixels: vec![start], edge: Vec::new() };
        let mut next = 0;
        while let Some(&at) = hole.pixels.get(next) {
            next += 1;
            let column = at % width;
            let beside = [
                (column > 0).then(|| at - 1),
                (column + 1 < width).then(|| at + 1),
                at.checked_sub(width),
                Some(at + width).filter(|below| *below < values.len()),
            ];
            for other in beside.into_iter().flatten() {
                if !values[other].is_nan() {
                    hole.edge.push(other);
                } else if !seen[other] {
                    seen[other] = true;
                    hole.pixels.push(other);
                }
            }
        }
        all.push(hole);
    }
    all
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
}
