//! 3×3 convolution on the matrix unit: an image is rounded once, with places of zeros around it, and tiles are read from where the
//! neighbours lie. Doubled pixels never exist (see [`super::taps`]).

use super::factors::{Beside, Finish, ResultColumns};
use super::fill::{Room, in_parallel_unfilled};
use super::instructions::Instructions;
use super::matrix_unit::{Form, Line, Multiply, Place, SIDE, TILE};
use super::taps::{Image, Part, Plan};
use super::tile_product::Tiles;
use super::tile_rows::{TileSource, brain_line, rests, step_of};
use super::tile_targets::{Addend, Places, Values};
use super::tiles::Bounds;
#[cfg(target_arch = "x86_64")]
use super::wide;
use pulp::NullaryFnOnce;
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Places of a result that one task works on, at least.
const PLACES: usize = 512;

/// A convolution whose weights are in tiles.
#[derive(Debug)]
pub(super) struct TileConv {
    plan: Plan,
    /// Of each phase of the result.
    phases: Vec<(Part, Tiles)>,
    form: Form,
    inputs: usize,
    result: ResultColumns,
}

impl TileConv {
    /// `value(part, place · input, output)` is what a phase multiplies what it reads with. Not in bytes.
    pub(super) fn new(
        plan: Plan,
        form: Form,
        [inputs, outputs]: [usize; 2],
        bias: Option<Vec<f32>>,
        value: impl Fn(&Part, usize, usize) -> f32,
        multiply: Multiply,
    ) -> Self {
        let phases = plan.parts().into_iter().map(|part| {
            let pieces = Beside::pieces(part.taps.len(), inputs);
            let tiles = Tiles::new(form, &pieces, outputs, |k, column| value(&part, k, column), multiply);
            (part, tiles)
        });
        let phases = phases.collect();
        Self { plan, phases, form, inputs, result: ResultColumns { inner: inputs, count: outputs, bias } }
    }

    /// The same of matrices `(place · input, output)`, in bfloat16.
    pub(super) fn of_matrices(
        plan: Plan,
        [inputs, outputs]: [usize; 2],
        bias: Option<Vec<f32>>,
        matrix: impl Fn(&Part) -> Vec<f32>,
        multiply: Multiply,
    ) -> Self {
        let form = Form::Brain;
        let phases = plan.parts().into_iter().map(|part| {
            let (values, pieces) = (matrix(&part), Beside::pieces(part.taps.len(), inputs));
            let bounds = Bounds::new(pieces.iter().copied());
            let rows = |piece: usize| &values[bounds.first(piece) * outputs..][..bounds.length(piece) * outputs];
            (part, Tiles::of_rows(form, &pieces, outputs, rows, multiply))
        });
        let phases = phases.collect();
        Self { plan, phases, form, inputs, result: ResultColumns { inner: inputs, count: outputs, bias } }
    }

    /// A result of `size` rows and columns, `(row, column, batch, outputs)`.
    #[allow(unsafe_code)]
    pub(super) fn apply(&self, image: Image, size: [usize; 2], onto: Option<&[f32]>) -> Vec<f32> {
        assert!(image.channels == self.inputs);
        let phases = self.plan.phases.len();
        let [rows, columns] = size.map(|n| n / phases);
        let lined = TileImage::new(self.form, image, self.plan.stride, [rows, columns]);
        // Rows of a task, and what they are in the result.
        let each = PLACES.div_ceil((columns * image.batch).max(1)).max(1);
        let chunk = each * phases * size[1] * image.batch * self.result.count;
        let convolve = |task: usize, out: &mut [MaybeUninit<f32>]| {
            let onto = onto.map_or(Addend::Nothing, |onto| Addend::These(&onto[task * chunk..][..out.len()]));
            for (part, tiles) in &self.phases {
                let own = Read { image: &lined, taps: lined.taps(part), first: task * each * lined.row() };
                let places = Places {
                    columns,
                    batch: image.batch,
                    padded: columns + 2,
                    rows: out.len() * each / chunk.max(1),
                    phase: part.phase,
                    phases,
                };
                let blocks = (places.rows * lined.row()).div_ceil(SIDE);
                let mut target = Values::fresh(&self.result, tiles.scales(), &mut *out, Finish::Bias, onto).at(places);
                tiles.run(&own, 0..blocks, &mut target);
            }
        };
        let length = size[0] * size[1] * image.batch * self.result.count;
        // SAFETY: the phases cover every place, and a product writes every column.
        unsafe { in_parallel_unfilled(length, chunk, convolve) }
    }
}

/// An image in tiles' lines, `(plane, row, column, batch, part, step)`: one plane for each remainder of a row's and a column's number
/// by the stride, each with a place of zeros all around.
struct TileImage {
    lines: Room<Line>,
    stride: usize,
    /// Of the result's phase: the planes have two more.
    size: [usize; 2],
    batch: usize,
    parts: usize,
    /// Of a place and part.
    steps: usize,
}

impl TileImage {
    fn new(form: Form, image: Image, stride: usize, size: [usize; 2]) -> Self {
        let steps = image.channels.div_ceil(form.step());
        let mut new = Self { lines: Room::new(0), stride, size, batch: image.batch, parts: form.parts(), steps };
        // Tiles reach beyond the last place.
        let rest = (SIDE + 2 * image.batch) * new.place_lines();
        let row = new.row() * new.place_lines();
        let rows = stride * stride * (size[0] + 2);
        let mut lines = Room::<Line>::new(rows * row + rest);
        lines[rows * row..].fill(Line::default());
        lines[..rows * row].par_chunks_mut(row).enumerate().for_each(|(at, out)| {
            out.fill(Line::default());
            let (plane, y) = (at / (size[0] + 2), at % (size[0] + 2));
            let (below, right) = (plane / stride, plane % stride);
            let Some(y) = y.checked_sub(1).map(|y| y * stride + below).filter(|y| *y < image.size[0]) else { return };
            Instructions::here().registers().dispatch(LineRow { image, to: &new, y, right, out });
        });
        new.lines = lines;
        new
    }

    /// Lines of a place.
    fn place_lines(&self) -> usize {
        self.parts * self.steps
    }

    /// Places of a row of a plane.
    fn row(&self) -> usize {
        (self.size[1] + 2) * self.batch
    }

    /// Where what a phase's first place reads begins, by tap.
    fn taps(&self, part: &Part) -> Vec<usize> {
        let starts = part.starts(self.stride, self.size, self.batch);
        starts.into_iter().map(|start| start * self.place_lines()).collect()
    }
}

/// A row of an image, put into lines.
struct LineRow<'a> {
    image: Image<'a>,
    to: &'a TileImage,
    y: usize,
    /// The first column of the plane.
    right: usize,
    out: &'a mut [Line],
}

impl NullaryFnOnce for LineRow<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(unsafe_code)]
    fn call(self) {
        let Self { image: Image { values, size, batch, channels }, to, y, right, out } = self;
        let (parts, steps) = (to.parts, to.steps);
        let places = out.chunks_exact_mut(batch * parts * steps).skip(1).take(to.size[1] + 1);
        for (x, out) in (right..size[1]).step_by(to.stride).zip(places) {
            let own = &values[(y * size[1] + x) * batch * channels..][..batch * channels];
            for (own, out) in own.chunks_exact(channels).zip(out.chunks_exact_mut(parts * steps)) {
                #[cfg(target_arch = "x86_64")]
                if parts == 1 && wide::is_here() {
                    // SAFETY: these instructions are here.
                    unsafe { wide::round(own, out, 1) };
                    continue;
                }
                for (step, own) in own.chunks(SIDE).enumerate() {
                    let mut values = step_of(own);
                    for part in 0..parts {
                        if part > 0 {
                            rests(&mut values);
                        }
                        out[part * steps + step] = brain_line(&values);
                    }
                }
            }
        }
    }
}

/// What the places of a phase read, from a row on.
struct Read<'a> {
    image: &'a TileImage,
    taps: Vec<usize>,
    /// Place.
    first: usize,
}

impl TileSource for Read<'_> {
    fn lines(&self) -> &[Line] {
        &self.image.lines
    }

    fn place(&self) -> Place {
        let apart = self.image.place_lines();
        Place { apart, lower: TILE * apart, advance: 1, part: self.image.steps }
    }

    fn steps(&self) -> usize {
        self.image.steps
    }

    fn starts(&self, block: usize, starts: &mut Vec<usize>) {
        let at = (self.first + block * SIDE) * self.image.place_lines();
        starts.clear();
        starts.extend(self.taps.iter().map(|tap| at + tap));
    }
}
