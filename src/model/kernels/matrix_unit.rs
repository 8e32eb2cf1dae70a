//! The matrix unit (AMX) of newer x86 processors: products in tiles of 16 rows of 64 bytes, of bfloat16 and of 8-bit integers.
//!
//! Its instructions are written out, because the compiler does not offer them yet. What they do is also written in plain Rust
//! ([`emulated`]): tests run everything around them with that, and a processor's own unit is used only after it gave the same.

use std::sync::OnceLock;
use std::time::Instant;

/// Rows and columns that the matrix unit works on at a time: two tiles of each.
pub(super) const SIDE: usize = 32;
/// Rows of a tile.
pub(super) const TILE: usize = 16;
/// Lines of two tiles.
pub(super) const PAIR: usize = 2 * TILE;

/// What a tile has in a row: 64 bytes, with the alignment that loads want.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Line(pub [u32; TILE]);

/// The sums of a block, row by row, two lines each: float32, or 32-bit integers of the same size.
pub(super) type Sums = [Line; 2 * SIDE];

/// How values are put into tiles.
///
/// A *step* along the inner dimension is a line: word `i` of it holds values `i` and `i + 16` of 32, or values `i`, `i + 16`,
/// `i + 32` and `i + 48` of 64, the first in its lowest bits; so that no neighbours have to be interleaved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Rounded to bfloat16.
    Brain,
    /// Two bfloat16 each, a value and what rounding left of it; three products, to about 17 bits (Henry et al. 2019,
    /// arXiv 1904.06376).
    Halves,
    /// Three bfloat16 each, which is all of a float32; the six products that reach its last bit.
    Thirds,
    /// 8-bit integers, summed in 32 bits.
    Bytes,
}

impl Form {
    pub(super) const ALL: [Self; 4] = [Self::Brain, Self::Halves, Self::Thirds, Self::Bytes];

    /// How many numbers of a tile stand for a value.
    pub(super) fn parts(self) -> usize {
        match self {
            Self::Brain | Self::Bytes => 1,
            Self::Halves => 2,
            Self::Thirds => 3,
        }
    }

    /// Values of a step.
    pub(super) fn step(self) -> usize {
        if self == Self::Bytes { 4 * TILE } else { 2 * TILE }
    }

    /// Lines of one step of a panel, or of packed rows: two tiles for each part.
    pub(super) fn lines(self) -> usize {
        self.parts() * PAIR
    }

    /// Which parts of rows and panel are multiplied, in this order; the small products come before the large one.
    fn products(self) -> &'static [(usize, usize)] {
        match self {
            Self::Brain | Self::Bytes => &[(0, 0)],
            Self::Halves => &[(1, 0), (0, 0), (0, 1)],
            Self::Thirds => &[(2, 0), (1, 0), (1, 1), (0, 1), (0, 0), (0, 2)],
        }
    }
}

/// Where the tiles of 32 rows lie, all numbers in lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// From a row to the next.
    pub apart: usize,
    /// From the first tile to the one with the lower 16 rows.
    pub lower: usize,
    /// From a step to the next.
    pub advance: usize,
    /// From a part to the next.
    pub part: usize,
}

impl Place {
    /// Rows that were packed: step by step, part by part, two tiles each.
    pub(super) fn packed(form: Form) -> Self {
        Self { apart: 1, lower: TILE, advance: form.lines(), part: PAIR }
    }
}

/// What the matrix unit multiplies at a time: 32 rows with 32 columns, over all of the inner dimension.
pub(super) struct Block<'a> {
    pub form: Form,
    pub rows: &'a [Line],
    pub place: Place,
    /// Where the pieces of the rows begin, in lines.
    pub starts: &'a [usize],
    /// Steps of a piece.
    pub steps: usize,
    /// `[piece][step][part][left, right][16 lines]`
    pub panel: &'a [Line],
    /// Row by row, the columns in two lines.
    pub out: &'a mut [Line],
    /// Whether what lies there is added to, and not overwritten.
    pub add: bool,
    /// From a row of it to the next, in lines.
    pub wide: usize,
}

impl Block<'_> {
    /// Whether everything lies in what is there.
    fn fits(&self) -> bool {
        let Place { apart, lower, advance, part } = self.place;
        let parts = self.form.parts();
        let last = (TILE - 1) * apart + lower + self.steps.saturating_sub(1) * advance + (parts - 1) * part;
        let panel = self.starts.len() * self.steps * self.form.lines();
        let out = (SIDE - 1) * self.wide + 2;
        self.steps > 0
            && self.wide > 1
            && self.out.len() >= out
            && self.panel.len() == panel
            && self.starts.iter().all(|start| start + last < self.rows.len())
    }
}

/// Multiplies one block.
pub(super) type Multiply = fn(Block);

/// A product of bfloat16 that is added to a block of sums, whose panel's lines lie apart, as those of an image do.
pub(super) struct Strided<'a> {
    /// `[step][upper, lower][16 lines]`
    pub rows: &'a [Line],
    pub steps: usize,
    /// Its lines for one step: 16 of the left tile, each beside one of the right.
    pub panel: &'a [Line],
    /// From a line of a tile to the next; a step is 32 of them.
    pub apart: usize,
    pub out: &'a mut Sums,
}

impl Strided<'_> {
    fn fits(&self) -> bool {
        let last = (self.steps.saturating_sub(1) * SIDE + TILE - 1) * self.apart + 1;
        self.steps > 0 && self.rows.len() == self.steps * PAIR && last < self.panel.len()
    }
}

/// Multiplies a strided block and adds it.
pub(super) type AddStrided = fn(Strided);

/// Multiplies a strided block with this processor's unit, where [`is_here`], and adds it.
pub(super) fn add_strided(block: Strided) {
    unit::add_strided(block);
}

/// What [`add_strided`] does, in plain Rust.
#[cfg(any(test, not(all(target_arch = "x86_64", target_os = "linux"))))]
pub(super) fn add_strided_emulated(block: Strided) {
    assert!(block.fits());
    let Strided { rows, steps, panel, apart, out } = block;
    let lines = (0..steps).flat_map(|step| {
        let at = move |i: usize| (step * SIDE + i) * apart;
        [0, 1].into_iter().flat_map(move |right| (0..TILE).map(move |i| panel[at(i) + right]))
    });
    let panel: Vec<Line> = lines.collect();
    let mut own = [Line::default(); 2 * SIDE];
    let place = Place::packed(Form::Brain);
    emulated(Block {
        form: Form::Brain,
        rows,
        place,
        starts: &[0],
        steps,
        panel: &panel,
        out: &mut own,
        add: false,
        wide: 2,
    });
    for (sum, own) in out.iter_mut().flat_map(|line| &mut line.0).zip(own.iter().flat_map(|line| &line.0)) {
        *sum = (f32::from_bits(*sum) + f32::from_bits(*own)).to_bits();
    }
}

/// Whether this processor has the unit, the system grants it, and it does what is expected.
pub(super) fn is_here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| unit::is_granted() && agrees(unit::multiply))
}

/// The unit's own multiplication; of no use where [`is_here`] is not.
pub(super) fn own() -> Multiply {
    unit::multiply
}

/// Readies the unit on this thread, until what is returned is dropped.
pub(super) fn ready() -> unit::Ready {
    unit::Ready::new()
}

/// What the matrix unit does on all threads of the calling pool, in products of values of this form: GFLOP/s with rows and panel in
/// the innermost cache (a multiplication and an addition count two). `None` where there is none.
pub(super) fn rate(form: Form) -> Option<f64> {
    const STEPS: usize = 4;
    const TIMES: usize = 4000;
    if !is_here() {
        return None;
    }
    let one = |_: rayon::BroadcastContext<'_>| {
        let _ready = ready();
        let (rows, panel) = (vec![Line::default(); STEPS * form.lines()], vec![Line::default(); STEPS * form.lines()]);
        let (mut out, place) = ([Line::default(); 2 * SIDE], Place::packed(form));
        let begun = Instant::now();
        for _ in 0..TIMES {
            let (starts, steps, panel, out) = (&[0], STEPS, &panel, &mut out);
            unit::multiply(Block { form, rows: &rows, place, starts, steps, panel, out, add: false, wide: 2 });
        }
        (2 * TIMES * STEPS * form.step() * SIDE * SIDE) as f64 / begun.elapsed().as_secs_f64() / 1e9
    };
    Some(rayon::broadcast(one).iter().sum())
}

/// Whether a multiplication gives what the description says, up to the order of sums.
fn agrees(multiply: Multiply) -> bool {
    const STEPS: usize = 3;
    let _ready = ready();
    let agree = Form::ALL.into_iter().all(|form| {
        let word = |i: usize, step: usize| {
            let half = |i: usize| ((i * step % 201) as f32 / 100.0 - 1.0).to_bits() >> 16;
            half(2 * i) | half(2 * i + 1) << 16
        };
        let lines = |count: usize, step: usize| -> Vec<Line> {
            (0..count).map(|line| Line(std::array::from_fn(|i| word(line * TILE + i, step)))).collect()
        };
        let (rows, panel) = (lines(2 * STEPS * form.lines(), 77), lines(2 * STEPS * form.lines(), 31));
        let result = |multiply: Multiply| {
            let mut out = [Line::default(); 3 * SIDE];
            let starts = [STEPS * form.lines(), 0];
            let (place, steps, wide) = (Place::packed(form), STEPS, 3);
            let (add, out_lines) = (true, &mut out);
            multiply(Block {
                form,
                rows: &rows,
                place,
                starts: &starts,
                steps,
                panel: &panel,
                out: out_lines,
                add,
                wide,
            });
            out
        };
        let (found, expected) = (result(multiply), result(emulated));
        let near = |(a, b): (&u32, &u32)| match form {
            Form::Bytes => a == b,
            _ => (f32::from_bits(*a) - f32::from_bits(*b)).abs() <= 3e-4,
        };
        found.iter().flat_map(|line| &line.0).zip(expected.iter().flat_map(|line| &line.0)).all(near)
    });
    if !agree {
        tracing::warn!("This processor's matrix unit does not give what its description says, and is not used.");
    }
    agree
}

/// What the unit does, in plain Rust: bfloat16 multiplied exactly and summed in float32, or integers.
pub(super) fn emulated(block: Block) {
    assert!(block.fits());
    let Block { form, rows, place, starts, steps, panel, out, add, wide } = block;
    let halves = |pair: u32| [f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)];
    if !add {
        out.chunks_mut(wide).take(SIDE).for_each(|row| row[..2].fill(Line::default()));
    }
    for (piece, start) in starts.iter().enumerate() {
        for (step, (of_rows, of_panel)) in (0..steps).flat_map(|step| form.products().iter().map(move |p| (step, *p))) {
            let at = start + step * place.advance + of_rows * place.part;
            let panel = &panel[((piece * steps + step) * form.parts() + of_panel) * PAIR..][..PAIR];
            for (row, sums) in out.chunks_mut(wide).take(SIDE).enumerate() {
                let line = rows[at + row / TILE * place.lower + row % TILE * place.apart].0;
                for (column, sum) in sums[..2].iter_mut().flat_map(|line| &mut line.0).enumerate() {
                    let other = &panel[column / TILE * TILE..][..TILE];
                    for (a, line) in line.iter().zip(other) {
                        let b = line.0[column % TILE];
                        if form == Form::Bytes {
                            let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
                            let products = a.iter().zip(b).map(|(a, b)| i32::from(*a as i8) * i32::from(b as i8));
                            *sum = sum.wrapping_add_signed(products.sum());
                        } else {
                            let ([a, c], [b, d]) = (halves(*a), halves(b));
                            *sum = (f32::from_bits(*sum) + a * b + c * d).to_bits();
                        }
                    }
                }
            }
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[allow(unsafe_code)]
mod unit;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod unit {
    use super::{Block, Strided};

    pub(super) fn is_granted() -> bool {
        false
    }

    pub(in super::super) struct Ready(());

    impl Ready {
        pub(super) fn new() -> Self {
            Self(())
        }
    }

    pub(in super::super) fn multiply(block: Block) {
        super::emulated(block);
    }

    pub(super) fn add_strided(block: Strided) {
        super::add_strided_emulated(block);
    }
}

/// Whether the unit's instructions may be executed here at all.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn unit_may_run() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    *MAY.get_or_init(unit::is_granted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_unit_is_not_used() {
        assert!(agrees(emulated));
        assert!(!agrees(|_| {}), "nothing is multiplied");
        let another: Multiply = |block| {
            let Block { form, rows, place, starts, steps, panel, out, add, wide } = block;
            emulated(Block { form, rows, place, starts, steps, panel, out: &mut *out, add, wide });
            out[31 * wide].0[15] = out[31 * wide].0[15].wrapping_add(1 << 20);
        };
        assert!(!agrees(another));
    }
}
