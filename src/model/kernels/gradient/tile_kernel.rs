//! The gradient of a 3×3 kernel on the matrix unit: a product whose inner dimension runs over places. Two places 16 apart share a
//! word, so that tiles can begin at any place, and the nine taps read the same lines, each from where its neighbours begin.

use super::super::brain_floats::rounded;
use super::super::fill::Room;
use super::super::instructions::Instructions;
use super::super::matrix_unit::{self, AddStrided, Line, PAIR, SIDE, Strided, Sums, TILE};
use super::super::taps::{Image, Part};
use super::super::tile_rows::turn_tile;
use pulp::NullaryFnOnce;
use rayon::prelude::*;

/// Steps that are multiplied at a time with all taps: their lines stay in a core's own cache.
const STEPS: usize = 64;

/// An image's places in pairs of bfloat16, `(plane, row, column, batch, 16 channels)`: a line holds those of a place and of the one 16
/// further on. One plane for each remainder of a row's and a column's number by the stride, each with a place of zeros all around.
pub(super) struct Pairs {
    lines: Room<Line>,
    stride: usize,
    /// Of the result's phase: the planes have two more.
    size: [usize; 2],
    batch: usize,
    /// Lines of a place.
    place: usize,
}

impl Pairs {
    pub(super) fn new(image: Image, stride: usize, size: [usize; 2]) -> Self {
        let place = 2 * image.channels.div_ceil(SIDE);
        let mut new = Self { lines: Room::new(0), stride, size, batch: image.batch, place };
        let (rows, row) = (stride * stride * (size[0] + 2), new.row() * place);
        // A tap of the last step reads beyond the last place.
        let mut lines = Room::<Line>::new(rows * row + (2 * SIDE + 2 * image.batch) * place + TILE * place);
        let (own, beyond) = lines.split_at_mut(rows * row);
        own.par_chunks_mut(row).enumerate().for_each(|(at, out)| {
            let (plane, y) = (at / (size[0] + 2), at % (size[0] + 2));
            let (below, right) = (plane / stride, plane % stride);
            out.fill(Line::default());
            let Some(y) = y.checked_sub(1).map(|y| y * stride + below).filter(|y| *y < image.size[0]) else { return };
            let places = out.chunks_exact_mut(place * image.batch).skip(1).take(size[1] + 1);
            for (x, out) in (right..image.size[1]).step_by(stride).zip(places) {
                let from = (y * image.size[1] + x) * image.batch * image.channels;
                let own = &image.values[from..][..image.batch * image.channels];
                Instructions::here().registers().dispatch(Round { values: own, channels: image.channels, place, out });
            }
        });
        beyond.fill(Line::default());
        Instructions::here().registers().dispatch(Pair { lines: &mut lines, apart: TILE * place });
        new.lines = lines;
        new
    }

    /// Places of a row of a plane.
    fn row(&self) -> usize {
        (self.size[1] + 2) * self.batch
    }

    /// Steps over all places of a phase of the result, those beyond its columns included.
    fn steps(&self) -> usize {
        (self.size[0] * self.row()).div_ceil(SIDE)
    }

    /// The sums over places of each tap's input times each output, `(tap, input, output)`, from the gradient of a phase of the
    /// result, `(row, column, batch, outputs)`.
    pub(super) fn of_kernel(
        &self,
        part: &Part,
        gradient: &[f32],
        [inputs, outputs]: [usize; 2],
        add: AddStrided,
    ) -> Vec<f32> {
        let result = Image { values: gradient, size: self.size, batch: self.batch, channels: outputs };
        // One row further up and to the left, where the phase begins.
        let of_result = Pairs::new(result, 1, self.size);
        let first = (of_result.row() + self.batch) * of_result.place;
        let starts = part.starts(self.stride, self.size, self.batch);
        let taps: Vec<usize> = starts.into_iter().map(|start| start * self.place).collect();
        let panels = self.place / 2;
        let mut sums: Vec<Sums> = vec![[Line::default(); 2 * SIDE]; outputs.div_ceil(SIDE) * taps.len() * panels];
        sums.par_chunks_mut(taps.len() * panels).enumerate().for_each(|(block, sums)| {
            let _ready = matrix_unit::ready();
            let mut rows = Room::<Line>::new(STEPS * PAIR);
            for step in (0..self.steps()).step_by(STEPS) {
                let count = STEPS.min(self.steps() - step);
                let rows = &mut rows[..count * PAIR];
                let from = first + step * SIDE * of_result.place + 2 * block;
                let lines = &of_result.lines[from..];
                Instructions::here().registers().dispatch(TurnedRows { lines, place: of_result.place, rows });
                for (tap, sums) in taps.iter().zip(sums.chunks_exact_mut(panels)) {
                    for (panel, out) in sums.iter_mut().enumerate() {
                        let panel = &self.lines[tap + step * SIDE * self.place + 2 * panel..];
                        add(Strided { rows, steps: count, panel, apart: self.place, out });
                    }
                }
            }
        });
        let mut out = vec![0.0; taps.len() * inputs * outputs];
        out.par_chunks_mut(outputs).enumerate().for_each(|(at, out)| {
            let (tap, input) = (at / inputs, at % inputs);
            for (output, v) in out.iter_mut().enumerate() {
                let sums = &sums[(output / SIDE * taps.len() + tap) * panels + input / SIDE];
                *v = f32::from_bits(sums[2 * (output % SIDE) + input % SIDE / TILE].0[input % TILE]);
            }
        });
        out
    }
}

/// Values of a place's items in bfloat16, each in the lower half of a word.
struct Round<'a> {
    values: &'a [f32],
    channels: usize,
    place: usize,
    out: &'a mut [Line],
}

impl NullaryFnOnce for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { values, channels, place, out } = self;
        for (values, out) in values.chunks_exact(channels).zip(out.chunks_exact_mut(place)) {
            for (values, out) in values.chunks(TILE).zip(out) {
                for (v, word) in values.iter().zip(&mut out.0) {
                    *word = rounded(*v);
                }
            }
        }
    }
}

/// Puts the lower half of what lies so many lines further on into the upper half of each line.
struct Pair<'a> {
    lines: &'a mut [Line],
    apart: usize,
}

impl NullaryFnOnce for Pair<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for at in 0..self.lines.len().saturating_sub(self.apart) {
            let far = self.lines[at + self.apart].0;
            for (word, far) in self.lines[at].0.iter_mut().zip(far) {
                *word |= far << 16;
            }
        }
    }
}

/// Some steps of the gradient as packed rows of 32 outputs.
struct TurnedRows<'a> {
    lines: &'a [Line],
    place: usize,
    rows: &'a mut [Line],
}

impl NullaryFnOnce for TurnedRows<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (step, tiles) in self.rows.chunks_exact_mut(PAIR).enumerate() {
            for (right, tile) in tiles.chunks_exact_mut(TILE).enumerate() {
                for (i, line) in tile.iter_mut().enumerate() {
                    *line = self.lines[(step * SIDE + i) * self.place + right];
                }
                turn_tile(tile);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Sampling;
    use super::super::super::taps::Plan;
    use super::super::super::values_of_waves as waves;
    use super::*;

    #[test]
    fn a_kernels_gradient_is_that_of_its_definition() {
        let own = matrix_unit::is_here().then_some(matrix_unit::add_strided as AddStrided);
        let units: Vec<AddStrided> = own.into_iter().chain([matrix_unit::add_strided_emulated as AddStrided]).collect();
        for (size, batch, inputs, outputs) in [([4, 6], 2, 33, 5), ([2, 2], 1, 64, 40), ([8, 70], 3, 35, 37)] {
            for (sampling, unit) in [Sampling::Same, Sampling::Half, Sampling::Double]
                .into_iter()
                .flat_map(|s| units.iter().map(move |u| (s, u)))
            {
                let plan = Plan::forward(sampling);
                let of_result = if sampling == Sampling::Half { size.map(|n| n / 2) } else { size };
                let values = waves(size[0] * size[1] * batch * inputs, 0.37);
                let gradient = waves(of_result[0] * of_result[1] * batch * outputs, 0.53);
                let image = Image { values: &values, size, batch, channels: inputs };
                let pairs = Pairs::new(image, plan.stride, of_result);
                let near = |v: f32| f64::from(f32::from_bits(rounded(v) << 16));
                for part in plan.parts() {
                    let found = pairs.of_kernel(&part, &gradient, [inputs, outputs], *unit);
                    for (at, found) in found.iter().enumerate().step_by(41) {
                        let (tap, input, output) = (at / (inputs * outputs), at / outputs % inputs, at % outputs);
                        let [dy, dx] = part.taps[tap].offset;
                        let mut exact = 0.0;
                        for place in 0..of_result[0] * of_result[1] * batch {
                            let (pixel, item) = (place / batch, place % batch);
                            let y = (pixel / of_result[1] * plan.stride) as isize + dy;
                            let x = (pixel % of_result[1] * plan.stride) as isize + dx;
                            if y >= 0 && x >= 0 && (y as usize) < size[0] && (x as usize) < size[1] {
                                let from = ((y as usize * size[1] + x as usize) * batch + item) * inputs + input;
                                exact += near(values[from]) * near(gradient[place * outputs + output]);
                            }
                        }
                        assert!(
                            (f64::from(*found) - exact).abs() < 1e-4,
                            "{sampling:?} {size:?} {at}: {found} {exact}"
                        );
                    }
                }
            }
        }
    }
}
