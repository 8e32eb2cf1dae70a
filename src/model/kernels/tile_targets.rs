//! What becomes of a block's sums: rows of a result, places of an image, or rows of the next product; finished while they lie in the
//! innermost cache.
// Loops over 16 lanes become one instruction each.
#![allow(clippy::needless_range_loop)]

use super::factors::{Finish, ResultColumns};
use super::fill::as_room;
use super::functions::{gelu, gelu_near};
use super::instructions::Instructions;
use super::matrix_unit::{Form, Line, SIDE, Sums, TILE};
use super::tile_rows::{Step, TileSource, split_sums, step_of};
#[cfg(target_arch = "x86_64")]
use super::wide;
use pulp::NullaryFnOnce;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Takes the sums of blocks.
pub(super) trait Target {
    /// The sums of a block and a panel of columns.
    fn take<S: TileSource>(&mut self, form: Form, at: [usize; 2], sums: &Sums, source: &S);
}

/// What is added to a product.
#[derive(Debug, Clone, Copy)]
pub(super) enum Addend<'a> {
    Nothing,
    /// What lies where it goes.
    There,
    /// As many values.
    These(&'a [f32]),
}

/// Rows of the result in float32.
pub(super) struct Values<'a> {
    result: &'a ResultColumns,
    /// Of columns.
    scales: &'a [f32],
    out: &'a mut [MaybeUninit<f32>],
    finish: Finish,
    onto: Addend<'a>,
    biased: bool,
    /// Whose columns the result's rows have, where not all.
    panels: Option<Range<usize>>,
    /// Where rows go that are no row of the result.
    places: Option<Places>,
}

/// Which places of an image the rows of a product are: all places of so many rows that have others around them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// Of the phase.
    pub columns: usize,
    pub batch: usize,
    /// Columns of a row of what is read.
    pub padded: usize,
    pub rows: usize,
    /// Remainders of the row's and the column's number in the result by the number of phases.
    pub phase: [usize; 2],
    pub phases: usize,
}

impl Places {
    /// Where in the result the rows of a block go, in places; past the end where nowhere.
    fn of_block(&self, block: usize) -> [usize; SIDE] {
        let Self { columns, batch, padded, rows, phase, phases } = *self;
        let row = padded * batch;
        let (mut y, mut at) = (block * SIDE / row, block * SIDE % row);
        let mut places = [usize::MAX; SIDE];
        for place in &mut places {
            if y < rows && at < columns * batch {
                let across = if batch == 1 { at * phases } else { at / batch * phases * batch + at % batch };
                *place = (y * phases + phase[0]) * columns * phases * batch + across + phase[1] * batch;
            }
            at += 1;
            if at == row {
                (y, at) = (y + 1, 0);
            }
        }
        places
    }
}

impl<'a> Values<'a> {
    pub(super) fn new(
        result: &'a ResultColumns,
        scales: &'a [f32],
        out: &'a mut [f32],
        finish: Finish,
        onto: Addend<'a>,
    ) -> Self {
        Self::fresh(result, scales, as_room(out), finish, onto)
    }

    /// The same where nothing was written before, unless it is added to.
    pub(super) fn fresh(
        result: &'a ResultColumns,
        scales: &'a [f32],
        out: &'a mut [MaybeUninit<f32>],
        finish: Finish,
        onto: Addend<'a>,
    ) -> Self {
        Self { result, scales, out, finish, onto, biased: true, panels: None, places: None }
    }

    /// The same of these panels' columns alone, with nothing between them.
    pub(super) fn of_panels(self, panels: Range<usize>) -> Self {
        Self { panels: Some(panels), ..self }
    }

    /// The same without the bias.
    pub(super) fn without_bias(self) -> Self {
        Self { biased: false, ..self }
    }

    /// The same for the places of an image.
    pub(super) fn at(self, places: Places) -> Self {
        Self { places: Some(places), ..self }
    }
}

/// Rows of the next product: a panel of columns is a step of them.
pub(super) struct NextRows<'a> {
    pub result: &'a ResultColumns,
    pub scales: &'a [f32],
    /// Of whole blocks.
    pub lines: &'a mut [Line],
    pub form: Form,
    /// The panels whose columns they hold.
    pub panels: Range<usize>,
    pub finish: Finish,
}

impl Target for NextRows<'_> {
    #[allow(unsafe_code)]
    fn take<S: TileSource>(&mut self, form: Form, [block, panel]: [usize; 2], sums: &Sums, source: &S) {
        let (columns, left, each) = (self.result.count, panel * SIDE, self.form.lines());
        let at = block * self.panels.len() + panel - self.panels.start;
        let lines = &mut self.lines[at * each..][..each];
        let factors = &factors(form, block, self.scales.get(left..), source);
        let bias = self.result.bias.as_deref().map(|bias| &bias[left..columns.min(left + SIDE)]);
        #[cfg(target_arch = "x86_64")]
        if self.form == Form::Brain && wide::is_here() {
            let factors = (form == Form::Bytes).then_some(factors);
            let bias = &step_of(bias.unwrap_or(&[]));
            let ending = wide::Ending { factors, bias, gelu: self.finish == Finish::Gelu };
            // SAFETY: these instructions are here.
            return unsafe { wide::end_rounded(sums, &ending, lines) };
        }
        Instructions::here().registers().dispatch(Rounded {
            bytes: form == Form::Bytes,
            sums,
            factors,
            bias,
            finish: self.finish,
            lines,
            form: self.form,
        });
    }
}

/// What the sums of bytes are multiplied with, by row and by column.
fn factors(form: Form, block: usize, scales: Option<&[f32]>, source: &impl TileSource) -> [[f32; SIDE]; 2] {
    let mut factors = [[1.0; SIDE]; 2];
    if form == Form::Bytes {
        for (i, factor) in factors[0].iter_mut().enumerate() {
            *factor = source.scale(block * SIDE + i);
        }
        if let Some(scales) = scales.and_then(|scales| scales.first_chunk()) {
            factors[1] = *scales;
        }
    }
    factors
}

/// The end of a block's sums that are rows of the next product.
struct Rounded<'a> {
    bytes: bool,
    sums: &'a Sums,
    factors: &'a [[f32; SIDE]; 2],
    bias: Option<&'a [f32]>,
    finish: Finish,
    lines: &'a mut [Line],
    /// Of the lines.
    form: Form,
}

impl NullaryFnOnce for Rounded<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let bias = step_of(self.bias.unwrap_or(&[]));
        for row in 0..SIDE {
            let mut values = finished(self.bytes, self.sums, row, self.factors, &bias);
            activate(self.finish, self.form == Form::Brain, &mut values);
            split_sums(self.form, &mut values, &mut self.lines[row..]);
        }
    }
}

impl Target for Values<'_> {
    fn take<S: TileSource>(&mut self, form: Form, [block, panel]: [usize; 2], sums: &Sums, source: &S) {
        let columns = self.result.count;
        let left = panel * SIDE;
        let rows = match &self.places {
            Some(places) => places.of_block(block),
            None => std::array::from_fn(|i| block * SIDE + i),
        };
        Instructions::here().registers().dispatch(Finished {
            bytes: form == Form::Bytes,
            sums,
            factors: &factors(form, block, self.scales.get(left..), source),
            bias: self.result.bias.as_deref().filter(|_| self.biased).map(|bias| &bias[left..columns.min(left + SIDE)]),
            finish: self.finish,
            rows: &rows,
            onto: self.onto,
            out: self.out,
            across: match &self.panels {
                Some(panels) => (panels.len() * SIDE, left - panels.start * SIDE..left - panels.start * SIDE + SIDE),
                None => (columns, left..columns.min(left + SIDE)),
            },
        });
    }
}

/// The end of a block's sums.
struct Finished<'a> {
    bytes: bool,
    sums: &'a Sums,
    /// Of rows and columns.
    factors: &'a [[f32; SIDE]; 2],
    bias: Option<&'a [f32]>,
    finish: Finish,
    /// Where they go, in rows of the result.
    rows: &'a [usize; SIDE],
    onto: Addend<'a>,
    out: &'a mut [MaybeUninit<f32>],
    /// Columns of a row, and which of them.
    across: (usize, Range<usize>),
}

impl NullaryFnOnce for Finished<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(unsafe_code)]
    fn call(self) {
        let (columns, across) = self.across.clone();
        let bias = step_of(self.bias.unwrap_or(&[]));
        let count = self.out.len() / columns;
        for (row, &to) in self.rows.iter().enumerate() {
            if to >= count {
                continue;
            }
            let mut values = self.values(row, &bias);
            let out = &mut self.out[to * columns..][across.clone()];
            let onto = match self.onto {
                Addend::Nothing => None,
                // SAFETY: what is added to what lies there finds values.
                Addend::There => Some(step_of(unsafe { out.assume_init_ref() })),
                Addend::These(onto) => Some(step_of(&onto[to * columns..][across.clone()])),
            };
            if let Some(onto) = onto {
                for half in 0..2 {
                    for i in 0..TILE {
                        values[half][i] += onto[half][i];
                    }
                }
            }
            if !self.bytes {
                activate(self.finish, false, &mut values);
            }
            match out.first_chunk_mut::<SIDE>() {
                Some(out) => {
                    for (out, v) in out.iter_mut().zip(values.as_flattened()) {
                        out.write(*v);
                    }
                }
                None => {
                    for (out, v) in out.iter_mut().zip(values.as_flattened()) {
                        out.write(*v);
                    }
                }
            }
        }
    }
}

impl Finished<'_> {
    /// A row's values; of bytes with the function at the end, to which nothing is added before: what follows is rounded again.
    #[inline(always)]
    #[allow(unsafe_code)]
    fn values(&self, row: usize, bias: &Step) -> Step {
        #[cfg(target_arch = "x86_64")]
        if self.bytes && wide::is_here() {
            let ending = wide::Ending { factors: Some(self.factors), bias, gelu: self.finish == Finish::Gelu };
            // SAFETY: these instructions are here.
            return unsafe { wide::end_row(self.sums, row, &ending) };
        }
        let mut values = finished(self.bytes, self.sums, row, self.factors, bias);
        if self.bytes {
            activate(self.finish, true, &mut values);
        }
        values
    }
}

/// A row of sums as values, with the bias.
#[inline(always)]
fn finished(bytes: bool, sums: &Sums, row: usize, factors: &[[f32; SIDE]; 2], bias: &Step) -> Step {
    let mut values = [[0.0; TILE]; 2];
    for half in 0..2 {
        let (sums, bias) = (&sums[2 * row + half].0, &bias[half]);
        if bytes {
            let (of_row, of_columns) = (factors[0][row], &factors[1][half * TILE..]);
            for i in 0..TILE {
                values[half][i] = sums[i] as i32 as f32 * (of_row * of_columns[i]) + bias[i];
            }
        } else {
            for i in 0..TILE {
                values[half][i] = f32::from_bits(sums[i]) + bias[i];
            }
        }
    }
    values
}

/// The function at the end of a product, of values that are rounded next or not.
#[inline(always)]
fn activate(finish: Finish, rounded: bool, values: &mut Step) {
    if finish != Finish::Gelu {
        return;
    }
    for half in values {
        if rounded {
            for v in half {
                *v = gelu_near(*v);
            }
        } else {
            for v in half {
                *v = gelu(*v);
            }
        }
    }
}
