//! Rows of a product in the tiles that the matrix unit takes.
// Loops over 16 lanes become one instruction each.
#![allow(clippy::needless_range_loop)]

use super::brain_floats::{rest, rounded};
use super::factors::Rows;
use super::fill::Room;
use super::instructions::Instructions;
use super::matrix_unit::{Form, Line, PAIR, Place, SIDE, TILE};
#[cfg(target_arch = "x86_64")]
use super::wide;
use pulp::NullaryFnOnce;
use rayon::slice::ParallelSliceMut;

/// The largest 8-bit value in use: as far below zero as above it.
const LARGEST_BYTE: f32 = 127.0;

/// Steps of pieces of these lengths; every piece is filled up with zeros to whole steps.
pub(super) fn steps_of(form: Form, pieces: &[usize]) -> usize {
    pieces.iter().map(|piece| piece.div_ceil(form.step())).sum()
}

/// What makes bytes of a row with this largest value, and what makes values of them. Values too small for their inverse to be a number
/// become zero; what is no number makes the whole row none.
fn byte_scale(highest: f32, poison: f32) -> (f32, f32) {
    (if highest > 1e-30 { LARGEST_BYTE / highest } else { 0.0 }, highest / LARGEST_BYTE + poison)
}

/// What the matrix unit reads its rows from.
pub(super) trait TileSource: Sync {
    /// All lines.
    fn lines(&self) -> &[Line];

    /// Where the rows of a block lie from its beginning.
    fn place(&self) -> Place;

    /// Steps of each piece.
    fn steps(&self) -> usize;

    /// Where the pieces of block number `block` begin.
    fn starts(&self, block: usize, starts: &mut Vec<usize>);

    /// What the sums of a block's row are to be multiplied with; only of bytes.
    fn scale(&self, _row: usize) -> f32 {
        1.0
    }
}

/// Rows that were packed, block by block.
#[derive(Debug)]
pub(super) struct TileRows {
    form: Form,
    lines: Room<Line>,
    /// Of a row.
    steps: usize,
    /// What a row's sums are multiplied with: of bytes.
    scales: Vec<f32>,
}

impl TileRows {
    /// Room for so many rows of so many steps, which are anything at first.
    pub(super) fn new(form: Form, count: usize, steps: usize) -> Self {
        let blocks = count.div_ceil(SIDE);
        let scales = if form == Form::Bytes { vec![0.0; blocks * SIDE] } else { Vec::new() };
        Self { form, lines: Room::new(blocks * steps * form.lines()), steps, scales }
    }

    /// Puts rows `first` to `first + count` at the beginning; what is left of the last block is zero. The pieces' lengths have
    /// as many steps as there is room for.
    pub(super) fn pack(&mut self, rows: &impl Rows, pieces: &[usize], first: usize, count: usize) {
        assert!(steps_of(self.form, pieces) == self.steps && count.div_ceil(SIDE) <= self.blocks());
        let Self { form, lines, steps, scales } = self;
        let task = Pack { form: *form, rows, pieces, first, count, lines, steps: *steps, scales };
        Instructions::here().registers().dispatch(task);
    }

    /// How values are put into the lines.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// Blocks of 32 rows.
    pub(super) fn blocks(&self) -> usize {
        self.lines.len() / (self.steps * self.form.lines()).max(1)
    }

    /// The lines of a block at a step: two tiles for each part.
    pub(super) fn step(&self, block: usize, step: usize) -> &[Line] {
        &self.lines[self.start(block, step)..][..self.form.lines()]
    }

    /// Where they begin.
    pub(super) fn start(&self, block: usize, step: usize) -> usize {
        (block * self.steps + step) * self.form.lines()
    }

    /// All lines.
    pub(super) fn lines_mut(&mut self) -> &mut [Line] {
        &mut self.lines
    }

    /// The lines of so many blocks at a time.
    pub(super) fn groups_mut(&mut self, blocks: usize) -> rayon::slice::ChunksMut<'_, Line> {
        let each = blocks * self.steps * self.form.lines();
        self.lines.par_chunks_mut(each.max(1))
    }

    /// Writes them as a panel: every tile turned, so that rows become columns; and what these are multiplied with.
    pub(super) fn turn_into(self, lines: &mut [Line], scales: &mut [f32]) {
        lines.copy_from_slice(&self.lines);
        scales.copy_from_slice(&self.scales);
        lines.chunks_exact_mut(TILE).for_each(turn_tile);
    }
}

impl TileSource for TileRows {
    fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn place(&self) -> Place {
        Place::packed(self.form)
    }

    fn steps(&self) -> usize {
        self.steps
    }

    fn starts(&self, block: usize, starts: &mut Vec<usize>) {
        starts.clear();
        starts.push(block * self.steps * self.form.lines());
    }

    fn scale(&self, row: usize) -> f32 {
        self.scales[row]
    }
}

/// Word `i` of each of 16 lines becomes word of the line's number in line `i`.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) fn turn_tile(tile: &mut [Line]) {
    #[cfg(target_arch = "x86_64")]
    if let (true, Ok(tile)) = (wide::is_here(), <&mut [Line; TILE]>::try_from(&mut *tile)) {
        // SAFETY: these instructions are here.
        return unsafe { wide::turn(tile) };
    }
    for row in 0..TILE {
        for column in 0..row {
            (tile[row].0[column], tile[column].0[row]) = (tile[column].0[row], tile[row].0[column]);
        }
    }
}

/// 32 values of a step: the first 16, and the others. (Loops over 16 at a time become one instruction each.)
pub(super) type Step = [[f32; TILE]; 2];

/// The values of a step from a slice that may end before.
#[inline(always)]
pub(super) fn step_of(values: &[f32]) -> Step {
    let mut step = [[0.0; TILE]; 2];
    match values.first_chunk::<SIDE>() {
        Some(all) => {
            step[0].copy_from_slice(&all[..TILE]);
            step[1].copy_from_slice(&all[TILE..]);
        }
        None => step.as_flattened_mut()[..values.len()].copy_from_slice(values),
    }
    step
}

/// A line of values rounded to bfloat16.
#[inline(always)]
pub(super) fn brain_line([near, far]: &Step) -> Line {
    let mut line = Line::default();
    for i in 0..TILE {
        line.0[i] = rounded(near[i]);
    }
    for i in 0..TILE {
        line.0[i] |= rounded(far[i]) << 16;
    }
    line
}

/// The same of what a product gave. It holds no number that is none but those that arithmetic makes, which keep being none when
/// they are rounded like others.
#[inline(always)]
fn brain_line_of_sums([near, far]: &Step) -> Line {
    let up = |v: f32| v.to_bits().wrapping_add(0x7fff + (v.to_bits() >> 16 & 1));
    let mut line = Line::default();
    for i in 0..TILE {
        line.0[i] = up(near[i]) >> 16;
    }
    for i in 0..TILE {
        line.0[i] |= up(far[i]) & 0xffff_0000;
    }
    line
}

/// What rounding leaves of a step.
#[inline(always)]
pub(super) fn rests(step: &mut Step) {
    for half in step {
        for v in half {
            *v = rest(*v);
        }
    }
}

/// Puts values into the lines of a row at a step, part by part; of floats.
#[inline(always)]
pub(super) fn split(form: Form, values: &mut Step, lines: &mut [Line]) {
    lines[0] = brain_line(values);
    for part in 1..form.parts() {
        rests(values);
        lines[part * PAIR] = brain_line(values);
    }
}

/// The same of values that a product gave.
#[inline(always)]
pub(super) fn split_sums(form: Form, values: &mut Step, lines: &mut [Line]) {
    lines[0] = brain_line_of_sums(values);
    for part in 1..form.parts() {
        rests(values);
        lines[part * PAIR] = brain_line_of_sums(values);
    }
}

/// Puts two rows of a panel's 32 values, which are 16 apart, into its lines, part by part: the left and the right tile's; of floats.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) fn pair_values(form: Form, upper: &mut Step, lower: &mut Step, lines: &mut [Line]) {
    #[cfg(target_arch = "x86_64")]
    if form == Form::Brain && wide::is_here() {
        // SAFETY: these instructions are here.
        [lines[0], lines[TILE]] = unsafe { wide::pair(upper, lower) };
        return;
    }
    for part in 0..form.parts() {
        if part > 0 {
            rests(upper);
            rests(lower);
        }
        for right in 0..2 {
            lines[part * PAIR + right * TILE] = brain_line(&[upper[right], lower[right]]);
        }
    }
}

/// Packs some rows.
struct Pack<'a, R> {
    form: Form,
    rows: &'a R,
    pieces: &'a [usize],
    first: usize,
    count: usize,
    lines: &'a mut [Line],
    steps: usize,
    scales: &'a mut [f32],
}

impl<R: Rows> NullaryFnOnce for Pack<'_, R> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        match self.form {
            Form::Bytes => self.bytes(),
            Form::Brain => self.floats::<1>(),
            Form::Halves => self.floats::<2>(),
            Form::Thirds => self.floats::<3>(),
        }
    }
}

impl<R: Rows> Pack<'_, R> {
    #[inline(always)]
    #[allow(unsafe_code)]
    fn floats<const PARTS: usize>(self) {
        let Self { rows, pieces, first, count, lines, steps, .. } = self;
        for (block, lines) in lines.chunks_exact_mut(steps * PARTS * PAIR).enumerate() {
            for row in 0..SIDE {
                let at = block * SIDE + row;
                if at >= count {
                    lines.iter_mut().skip(row).step_by(PAIR).for_each(|line| *line = Line::default());
                    continue;
                }
                let mut step = 0;
                for piece in 0..pieces.len() {
                    #[cfg(target_arch = "x86_64")]
                    if PARTS == 1 && wide::is_here() {
                        let values = rows.piece(first + at, piece);
                        // SAFETY: these instructions are here.
                        unsafe { wide::round(values, &mut lines[step * PAIR + row..], PAIR) };
                        step += values.len().div_ceil(SIDE);
                        continue;
                    }
                    for values in rows.piece(first + at, piece).chunks(SIDE) {
                        let form = [Form::Brain, Form::Halves, Form::Thirds][PARTS - 1];
                        split(form, &mut step_of(values), &mut lines[step * PARTS * PAIR + row..]);
                        step += 1;
                    }
                }
            }
        }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    fn bytes(self) {
        /// Adding it rounds to a whole number, which then lies in the lowest bits.
        const ROUND: f32 = 12_582_912.0;
        let Self { rows, pieces, first, count, lines, steps, scales, .. } = self;
        for (block, lines) in lines.chunks_exact_mut(steps * PAIR).enumerate() {
            for row in 0..SIDE {
                let at = block * SIDE + row;
                if at >= count {
                    lines.iter_mut().skip(row).step_by(PAIR).for_each(|line| *line = Line::default());
                    continue;
                }
                #[cfg(target_arch = "x86_64")]
                if wide::is_here() {
                    let pieces = || (0..pieces.len()).map(|piece| rows.piece(first + at, piece));
                    // SAFETY: these instructions are here.
                    let both = pieces().map(|values| unsafe { wide::largest(values) });
                    let (highest, poison) = both.fold((0f32, 0f32), |a, b| (a.0.max(b.0), a.1 + b.1));
                    let inverse;
                    (inverse, scales[at]) = byte_scale(highest, poison);
                    let mut lines = &mut lines[row..];
                    for values in pieces() {
                        // SAFETY: as above.
                        unsafe { wide::to_bytes(values, inverse, lines) };
                        let next = (values.len().div_ceil(4 * TILE) * PAIR).min(lines.len());
                        lines = &mut lines[next..];
                    }
                    continue;
                }
                let (mut largest, mut poison) = ([0f32; TILE], [0f32; TILE]);
                for piece in 0..pieces.len() {
                    let (whole, left) = rows.piece(first + at, piece).as_chunks::<TILE>();
                    let mut last = [0.0; TILE];
                    last[..left.len()].copy_from_slice(left);
                    for values in whole.iter().chain(std::slice::from_ref(&last)) {
                        for i in 0..TILE {
                            poison[i] += values[i] * 0.0;
                        }
                        for i in 0..TILE {
                            largest[i] = if values[i].abs() > largest[i] { values[i].abs() } else { largest[i] };
                        }
                    }
                }
                let highest = largest.into_iter().fold(0.0, f32::max);
                let inverse;
                (inverse, scales[at]) = byte_scale(highest, poison.iter().sum());
                let mut step = 0;
                for piece in 0..pieces.len() {
                    for values in rows.piece(first + at, piece).chunks(4 * TILE) {
                        let mut all = [[0.0; TILE]; 4];
                        all.as_flattened_mut()[..values.len()].copy_from_slice(values);
                        let mut line = Line::default();
                        for (quarter, values) in all.iter().enumerate() {
                            for i in 0..TILE {
                                line.0[i] |= ((values[i] * inverse + ROUND).to_bits() & 0xff) << (8 * quarter);
                            }
                        }
                        lines[step * PAIR + row] = line;
                        step += 1;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_turned() {
        let mut tile: Vec<Line> = (0..TILE).map(|row| Line(std::array::from_fn(|i| (row * 100 + i) as u32))).collect();
        turn_tile(&mut tile);
        for (row, line) in tile.iter().enumerate() {
            for (i, word) in line.0.iter().enumerate() {
                assert_eq!(*word, (i * 100 + row) as u32);
            }
        }
    }
}
