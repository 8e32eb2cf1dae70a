//! Heights of exactly 0 m: those of the sea are, and so are those of ground of which nothing is known.

/// As far above a sea as its shore hardly ever rises from one pixel of elevation to the next, metres.
const CLIFF: f32 = 50.0;
/// Fewer pixels than this may be chance.
const SEVERAL: usize = 16;

/// Pixels that touch each other, and those beside them.
#[derive(Debug, Default)]
pub(crate) struct Region {
    /// Its pixels.
    pub pixels: Vec<usize>,
    /// Those that they touch; one that they touch twice counts twice.
    pub edge: Vec<usize>,
}

/// Regions of the pixels that belong to one, of an image of this width.
pub(crate) fn regions(values: &[f32], width: usize, belongs: impl Fn(f32) -> bool) -> Vec<Region> {
    let mut seen = vec![false; values.len()];
    let mut all = Vec::new();
    for start in 0..values.len() {
        if seen[start] || !belongs(values[start]) {
            continue;
        }
        seen[start] = true;
        let mut region = Region { pixels: vec![start], edge: Vec::new() };
        let mut next = 0;
        while let Some(&at) = region.pixels.get(next) {
            next += 1;
            let column = at % width;
            let beside = [
                (column > 0).then(|| at - 1),
                (column + 1 < width).then(|| at + 1),
                at.checked_sub(width),
                Some(at + width).filter(|below| *below < values.len()),
            ];
            for other in beside.into_iter().flatten() {
                if !belongs(values[other]) {
                    region.edge.push(other);
                } else if !seen[other] {
                    seen[other] = true;
                    region.pixels.push(other);
                }
            }
        }
        all.push(region);
    }
    all
}

/// By pixel, whether it lies in a region of exact zeros and holes (NaN) that is no sea: most of what is known to be there is dry
/// ground, or, where nothing is known of that, most of its edge lies far above the sea.
pub(crate) fn inland(values: &[f32], width: usize, dry: &dyn Fn(usize) -> Option<bool>) -> Vec<bool> {
    let mut inland = vec![false; values.len()];
    for region in regions(values, width, |v| v.is_nan() || v == 0.0) {
        let known: Vec<bool> = region.pixels.iter().filter_map(|&at| dry(at)).collect();
        let is_inland = if 2 * known.len() >= region.pixels.len() {
            2 * known.iter().filter(|dry| **dry).count() > known.len()
        } else {
            let high = region.edge.iter().filter(|&&at| values[at].abs() >= CLIFF).count();
            2 * high > region.edge.len()
        };
        region.pixels.iter().filter(|_| is_inland).for_each(|&at| inland[at] = true);
    }
    inland
}

/// How many of the inland pixels are exactly 0; none if these are a few.
pub(crate) fn unexplained(values: &[f32], inland: &[bool]) -> usize {
    let count = values.iter().zip(inland).filter(|(v, inland)| **inland && **v == 0.0).count();
    if count >= SEVERAL { count } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ground of this height with a square of zeros in its middle, 12 × 12.
    fn hole(height: f32) -> Vec<f32> {
        let middle = |i: usize| (4..8).contains(&(i % 12)) && (4..8).contains(&(i / 12));
        (0..144).map(|i| if middle(i) { 0.0 } else { height }).collect()
    }

    #[test]
    fn zeros_high_above_the_sea_or_on_dry_ground_are_no_sea() {
        let unknown = |_: usize| None;
        let count = |values: &[f32], dry: &dyn Fn(usize) -> Option<bool>| unexplained(values, &inland(values, 12, dry));
        assert_eq!(count(&hole(400.0), &unknown), 16);
        // A shore, and polders around a lake.
        assert_eq!(count(&hole(3.0), &unknown), 0);
        assert_eq!(count(&hole(-4.0), &unknown), 0);
        assert_eq!(count(&[0.0; 144], &unknown), 0, "the sea alone");
        // What the ground is there counts more than heights.
        assert_eq!(count(&hole(3.0), &|_| Some(true)), 16);
        assert_eq!(count(&hole(400.0), &|_| Some(false)), 0);
        // A few are chance.
        let mut few = vec![400.0; 144];
        few[20..24].fill(0.0);
        assert_eq!(count(&few, &unknown), 0);
    }
}
