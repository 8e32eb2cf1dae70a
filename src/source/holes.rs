//! What stands where no source has anything.

use crate::modality::{Group, Subject};

/// Holes in elevation, all of whose edge is higher than this, are no sea, metres: the edge of a sea lies at 0 m somewhere, give
/// or take waves, tides and noise.
const ABOVE_THE_SEA: f32 = 20.0;

/// Pixels of a band with what the catalogue says stands where there is nothing: the sea has no elevation tiles, land cover has a
/// class for it. A hole in elevation that land surrounds is no sea; it stays open. Also the number of pixels that do.
pub(super) fn filled(m: &Group, values: &[f32], width: usize) -> (Vec<f32>, usize) {
    let mut out = values.to_vec();
    if let Some(fill) = &m.about.fill {
        for hole in holes(values, width) {
            let low = hole.edge.iter().any(|&at| values[at] <= ABOVE_THE_SEA);
            if m.about.subject != Subject::Elevation || low || hole.edge.is_empty() {
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
        // A coast: the hole reaches the edge of the image, and the land beside it lies low.
        let coast = filled(m, &gap(3.0, [f32::NAN; 2]), 6);
        assert_eq!((coast.1, coast.0[2], coast.0[5]), (0, 0.0, 0.0));
        // Half of the window has no tile, the other lies at 1800 m.
        assert_eq!(filled(m, &gap(1800.0, [f32::NAN; 2]), 6).1, 12);
        assert_eq!(filled(m, &[f32::NAN; 12], 6), (vec![0.0; 12], 0));
        let cover = catalogue.group("LULC").expect("modality");
        assert_eq!(filled(cover, &gap(4.0, [4.0; 2]), 6).1, 0);
    }
}
