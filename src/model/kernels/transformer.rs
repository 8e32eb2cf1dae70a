//! A block of a transformer on the matrix unit: what lies between its products never leaves the caches. Rows go through projections,
//! norms and MLP in groups; between them heads attend. Sums run in an order that depends on sizes alone.

use super::factors::{Beside, Finish, PIECE, ResultColumns};
use super::fill::{Room, as_room};
use super::matrix_unit::{Form, Line, Place, SIDE};
use super::product::Packed;
use super::steps::Norm;
use super::storage::bad;
use super::tile_attention::{attend, unpack};
use super::tile_product::{Cut, Tiles};
use super::tile_rows::{TileRows, TileSource};
use super::tile_targets::{Addend, NextRows, Values};
use rayon::prelude::*;
use std::sync::Arc;

/// Groups of rows for each thread: few, since each reads all weights; more than one, so that no thread waits long for another.
const GROUPS: usize = 2;

/// Columns of an MLP's hidden rows that are held at a time: some whole pieces.
const HIDDEN: usize = 4 * PIECE;

/// A block whose products are all in tiles, of one form.
#[derive(Debug)]
pub(super) struct TileBlock {
    /// Of two tensors side by side, and its norm.
    pub skip: Option<(Arc<Packed>, Norm)>,
    pub qkv: Arc<Packed>,
    pub proj: Arc<Packed>,
    pub norm2: Norm,
    pub fc1: Arc<Packed>,
    pub fc2: Arc<Packed>,
    pub norm3: Norm,
    pub heads: usize,
}

/// A product in tiles, and its result's columns.
type Layer<'a> = (&'a Tiles, &'a ResultColumns);

impl TileBlock {
    /// Whether all products are in tiles of one form, and widths are whole steps of them.
    pub(super) fn fits(&self) -> bool {
        let width = self.proj.columns();
        let layers = [&self.qkv, &self.proj, &self.fc1, &self.fc2];
        let all = layers.into_iter().chain(self.skip.as_ref().map(|(linear, _)| linear));
        let mut forms = all.into_iter().map(|layer| layer.tiles().map(|(tiles, _)| tiles.form()));
        let form = forms.next().flatten();
        let whole =
            width.is_multiple_of(SIDE * self.heads) && self.fc1.columns().is_multiple_of(form.map_or(1, Form::step));
        form.is_some() && forms.all(|other| other == form) && whole && self.qkv.columns() == 3 * width
    }

    /// `x (tokens, width)` of one item, and what it skipped; the same shape.
    pub(super) fn forward(&self, x: &[f32], skip: Option<&[f32]>, out: &mut [f32]) -> candle_core::Result<()> {
        let layers = [&self.qkv, &self.proj, &self.fc1, &self.fc2].map(|layer| layer.tiles());
        let [Some(qkv), Some(proj), Some(fc1), Some(fc2)] = layers else { return Err(in_no_tiles()) };
        let width = self.proj.columns();
        let tokens = x.len() / width;
        let blocks = tokens.div_ceil(SIDE);
        let group = blocks.div_ceil(GROUPS * rayon::current_num_threads()).max(1);
        let rows = group * SIDE * width;
        let form = next_form(qkv.0.form());
        let mut all = TileRows::new(form, tokens, qkv.1.count.div_ceil(SIDE));
        // What the block adds to, where that is not x: x and skip together.
        let mut joined = Room::new(if skip.is_some() { x.len() } else { 0 });
        let project = |own: &[f32], lines: &mut [Line]| qkv.0.next_rows(qkv.1, own, lines, form, Finish::Bias);
        match (&self.skip, skip) {
            (Some((linear, norm)), Some(skip)) => {
                let linear = linear.tiles().ok_or_else(in_no_tiles)?;
                let groups = all.groups_mut(group).zip(joined.par_chunks_mut(rows)).zip(x.par_chunks(rows));
                groups.zip(skip.par_chunks(rows)).for_each(|(((lines, joined), x), skip)| {
                    let both = Beside::new(vec![x, skip], width);
                    linear.0.product(linear.1, &both, 0, as_room(joined), Finish::Bias, Addend::Nothing);
                    norm.in_place(joined);
                    project(joined, lines);
                });
            }
            _ => all.groups_mut(group).zip(x.par_chunks(rows)).for_each(|(lines, x)| project(x, lines)),
        }
        let joined = if skip.is_some() { &*joined } else { x };
        let mixed = Mixed {
            lines: attend(&all, [tokens, width], self.heads, qkv.0.multiply()),
            form,
            heads: self.heads,
            width,
        };
        drop(all);
        out.par_chunks_mut(rows).zip(joined.par_chunks(rows)).enumerate().for_each(|(g, (out, joined))| {
            Group { of: &mixed, first: g * group }.project(proj, out, joined);
            self.norm2.in_place(out);
            mlp(fc1, fc2, out);
            self.norm3.in_place(out);
        });
        Ok(())
    }
}

fn in_no_tiles() -> candle_core::Error {
    bad("a block's products are in no tiles")
}

/// The form in which a product of one form hands its result to the next: bytes need to know the largest of a whole row before.
fn next_form(form: Form) -> Form {
    if form == Form::Bytes { Form::Brain } else { form }
}

/// Adds to rows what an MLP makes of them, some hidden columns at a time, so that what it has in between stays near.
fn mlp(fc1: Layer, fc2: Layer, rows: &mut [f32]) {
    let (width, form) = (fc2.1.count, fc1.0.form());
    let count = rows.len() / width;
    let (blocks, step) = (0..count.div_ceil(SIDE), form.step());
    let packed = fc1.0.rows(&Beside::new(vec![rows], width), 0, count);
    for first in (0..fc1.1.count).step_by(HIDDEN) {
        let columns = HIDDEN.min(fc1.1.count - first);
        let panels = first / SIDE..(first + columns) / SIDE;
        let own = Cut { panels: panels.clone(), steps: 0..packed.steps() };
        let next = Cut { panels: 0..width.div_ceil(SIDE), steps: first / step..(first + columns).div_ceil(step) };
        let mut between = TileRows::new(form, count, next.steps.len());
        let (result, scales, finish) = (fc1.1, fc1.0.scales(), Finish::Gelu);
        if form == Form::Bytes {
            // Their scale is that of the largest of these columns.
            let mut values = Room::new(count * columns);
            let target = &mut Values::new(result, scales, &mut values, finish, Addend::Nothing).of_panels(panels);
            fc1.0.run_part(&packed, blocks.clone(), own, target);
            between.pack(&Beside::new(vec![&values], columns), &Beside::pieces(1, columns), 0, count);
        } else {
            let lines = between.lines_mut();
            let target = &mut NextRows { result, scales, lines, form, panels, finish };
            fc1.0.run_part(&packed, blocks.clone(), own, target);
        }
        let target = Values::new(fc2.1, fc2.0.scales(), rows, Finish::Bias, Addend::There);
        let target = &mut if first == 0 { target } else { target.without_bias() };
        fc2.0.run_part(&between, blocks.clone(), next, target);
    }
}

/// What the heads mixed, `[head][block][step][part][32 lines]`.
struct Mixed {
    lines: Room<Line>,
    form: Form,
    heads: usize,
    width: usize,
}

/// The same from a block on.
struct Group<'a> {
    of: &'a Mixed,
    first: usize,
}

impl Group<'_> {
    /// Puts the product of as many rows as `out` has, and what it is added to, into `out`.
    fn project(&self, proj: Layer, out: &mut [f32], onto: &[f32]) {
        let Mixed { form, width, .. } = *self.of;
        if proj.0.form() != form {
            let rows = self.values(out.len() / width);
            let rows = Beside::new(vec![&rows], width);
            return proj.0.product(proj.1, &rows, 0, as_room(out), Finish::Bias, Addend::These(onto));
        }
        let blocks = 0..(out.len() / width).div_ceil(SIDE);
        proj.0.run(self, blocks, &mut Values::new(proj.1, proj.0.scales(), out, Finish::Bias, Addend::These(onto)));
    }

    /// Of so many rows, from bfloat16.
    fn values(&self, count: usize) -> Room<f32> {
        let Mixed { lines, heads, width, .. } = self.of;
        let mut values = Room::new(count * width);
        unpack(lines, self.first, [*heads, *width], &mut values);
        values
    }
}

impl TileSource for Group<'_> {
    fn lines(&self) -> &[Line] {
        &self.of.lines
    }

    fn place(&self) -> Place {
        Place::packed(self.of.form)
    }

    fn steps(&self) -> usize {
        self.of.width / self.of.heads / SIDE
    }

    fn starts(&self, block: usize, starts: &mut Vec<usize>) {
        let each = self.of.lines.len() / self.of.heads;
        let own = (self.first + block) * self.steps() * self.of.form.lines();
        starts.clear();
        starts.extend((0..self.of.heads).map(|head| head * each + own));
    }
}
