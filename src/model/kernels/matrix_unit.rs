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
mod unit {
    use super::{Block, Form, Line, PAIR, SIDE, Strided, TILE};
    use std::arch::asm;
    use std::arch::x86_64::__cpuid_count;

    /// Whether processor and system have the unit and let this process use it.
    pub(super) fn is_granted() -> bool {
        // Leaf 7: bfloat16, tiles and 8-bit integers; leaf 1: the system saves more than the first registers; then, which.
        let (features, basics) = (__cpuid_count(7, 0).edx, __cpuid_count(1, 0).ecx);
        let has = |word: u32, bit: u32| word >> bit & 1 == 1;
        if !(has(features, 22) && has(features, 24) && has(features, 25) && has(basics, 27)) {
            return false;
        }
        let saved: u32;
        // SAFETY: reads a register that exists, as bit 27 says.
        unsafe { asm!("xgetbv", in("ecx") 0, out("eax") saved, out("edx") _, options(nomem, nostack)) };
        if saved >> 17 & 3 != 3 {
            return false;
        }
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const TILE_DATA: libc::c_long = 18;
        // SAFETY: asks the system whether this process may use the tiles; nothing is written through a pointer.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
    }

    /// What a tile is: 64 bytes that the processor reads.
    #[repr(C, align(64))]
    struct Shapes {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        bytes: [u16; 16],
        rows: [u8; 16],
    }

    static SHAPES: Shapes = {
        let (mut bytes, mut rows) = ([0; 16], [0; 16]);
        let mut tile = 0;
        while tile < 8 {
            (bytes[tile], rows[tile]) = (64, 16);
            tile += 1;
        }
        Shapes { palette: 1, start_row: 0, reserved: [0; 14], bytes, rows }
    };

    /// While it lives, this thread's tiles are 16 rows of 64 bytes. Made only where the unit is granted.
    pub(in super::super) struct Ready(());

    impl Ready {
        pub(super) fn new() -> Self {
            if super::unit_may_run() {
                // SAFETY: the unit is granted to this process; the shapes live for ever.
                unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, readonly)) };
            }
            Self(())
        }
    }

    impl Drop for Ready {
        fn drop(&mut self) {
            if super::unit_may_run() {
                // SAFETY: as above; tiles that are not in use cost nothing when threads change.
                unsafe { asm!("tilerelease", options(nostack, nomem)) };
            }
        }
    }

    /// What the instructions are told, in bytes.
    #[repr(C)]
    struct Told {
        rows: *const Line,
        starts: *const usize,
        pieces: usize,
        steps: usize,
        lower: usize,
        advance: usize,
        part: usize,
        wide: usize,
        add: usize,
    }

    /// Asks for the rows of two steps later, where rows are packed; elsewhere for lines that are near as well.
    macro_rules! ahead {
        () => {
            concat!(
                ahead!(4096),
                ahead!(4352),
                ahead!(4608),
                ahead!(4864),
                ahead!(5120),
                ahead!(5376),
                ahead!(5632),
                ahead!(5888)
            )
        };
        ($at:literal) => {
            concat!(
                "prefetcht0 [{a} + ",
                $at,
                "]\n prefetcht0 [{a} + ",
                $at,
                " + 64]\n",
                "prefetcht0 [{a} + ",
                $at,
                " + 128]\n prefetcht0 [{a} + ",
                $at,
                " + 192]\n"
            )
        };
    }

    /// Two loads and the four products of both tiles of rows (4, 5) with both of the panel (6, 7).
    macro_rules! four {
        ($dot:literal) => {
            concat!(
                $dot,
                " tmm0, tmm4, tmm6\n",
                $dot,
                " tmm1, tmm4, tmm7\n",
                $dot,
                " tmm2, tmm5, tmm6\n",
                $dot,
                " tmm3, tmm5, tmm7\n"
            )
        };
    }

    macro_rules! rows_here {
        () => {
            "tileloadd tmm4, [{a} + {apart}*1]\n add {a}, [{told} + 32]\n tileloadd tmm5, [{a} + {apart}*1]\n sub {a}, [{told} + 32]\n"
        };
    }

    macro_rules! panel_at {
        ($left:literal, $right:literal) => {
            concat!(
                "tileloadd tmm6, [{b} + {line}*1 + ",
                $left,
                "]\n tileloadd tmm7, [{b} + {line}*1 + ",
                $right,
                "]\n"
            )
        };
    }

    /// Runs over all pieces and steps; `$step` multiplies what is at `a` and `b`.
    macro_rules! run {
        ($told:ident, $apart:ident, $panel:ident, $bytes:literal, $out:ident, $step:expr) => {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "cmp qword ptr [{told} + 64], 0",
                "je 4f",
                "mov {k}, [{told} + 56]",
                "mov {a}, {k}",
                "shl {a}, 4",
                "add {a}, {out}",
                "tileloadd tmm0, [{out} + {k}*1]",
                "tileloadd tmm1, [{out} + {k}*1 + 64]",
                "tileloadd tmm2, [{a} + {k}*1]",
                "tileloadd tmm3, [{a} + {k}*1 + 64]",
                "4:",
                "mov {table}, [{told} + 8]",
                "mov {pieces}, [{told} + 16]",
                "2:",
                "mov {a}, [{table}]",
                "shl {a}, 6",
                "add {a}, [{told}]",
                "mov {k}, [{told} + 24]",
                "3:",
                $step,
                "add {a}, [{told} + 40]",
                concat!("add {b}, ", $bytes),
                "dec {k}",
                "jnz 3b",
                "add {table}, 8",
                "dec {pieces}",
                "jnz 2b",
                "mov {k}, [{told} + 56]",
                "mov {a}, {k}",
                "shl {a}, 4",
                "add {a}, {out}",
                "tilestored [{out} + {k}*1], tmm0",
                "tilestored [{out} + {k}*1 + 64], tmm1",
                "tilestored [{a} + {k}*1], tmm2",
                "tilestored [{a} + {k}*1 + 64], tmm3",
                told = in(reg) &raw const $told,
                apart = in(reg) $apart,
                line = in(reg) size_of::<Line>(),
                b = inout(reg) $panel => _,
                out = in(reg) $out,
                a = out(reg) _,
                k = out(reg) _,
                table = out(reg) _,
                pieces = out(reg) _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            )
        };
    }

    /// See [`Strided`]; this thread has made the unit [`Ready`].
    pub(super) fn add_strided(block: Strided) {
        assert!(block.fits());
        let Strided { rows, steps, panel, apart, out } = block;
        let bytes = apart * size_of::<Line>();
        // SAFETY: `fits` checked that all lines of rows and panel are there; the sums have 32 rows of 128 bytes; the unit is
        // granted and ready. Tiles are no registers of Rust's.
        unsafe {
            asm!(
                "tileloadd tmm0, [{out} + {wide}*1]",
                "tileloadd tmm1, [{out} + {wide}*1 + 64]",
                "tileloadd tmm2, [{out} + {wide}*1 + 2048]",
                "tileloadd tmm3, [{out} + {wide}*1 + 2112]",
                "2:",
                "tileloadd tmm4, [{a} + {line}*1]",
                "tileloadd tmm5, [{a} + {line}*1 + 1024]",
                "tileloadd tmm6, [{b} + {apart}*1]",
                "tileloadd tmm7, [{b} + {apart}*1 + 64]",
                four!("tdpbf16ps"),
                "add {a}, 2048",
                "add {b}, {advance}",
                "dec {k}",
                "jnz 2b",
                "tilestored [{out} + {wide}*1], tmm0",
                "tilestored [{out} + {wide}*1 + 64], tmm1",
                "tilestored [{out} + {wide}*1 + 2048], tmm2",
                "tilestored [{out} + {wide}*1 + 2112], tmm3",
                out = in(reg) out.as_mut_ptr(),
                wide = in(reg) 2 * size_of::<Line>(),
                line = in(reg) size_of::<Line>(),
                a = inout(reg) rows.as_ptr() => _,
                b = inout(reg) panel.as_ptr() => _,
                apart = in(reg) bytes,
                advance = in(reg) SIDE * bytes,
                k = inout(reg) steps => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            )
        }
    }

    /// See [`Block`]; this thread has made the unit [`Ready`].
    pub(in super::super) fn multiply(block: Block) {
        const { assert!(size_of::<Line>() == 64 && PAIR * 64 == 2048 && TILE * 64 == 1024) };
        assert!(block.fits());
        let Block { form, rows, place, starts, steps, panel, out, add, wide } = block;
        if starts.is_empty() && add {
            return;
        }
        if starts.is_empty() {
            return out.chunks_mut(wide).take(super::SIDE).for_each(|row| row[..2].fill(Line::default()));
        }
        let bytes = |lines: usize| lines * size_of::<Line>();
        let told = Told {
            rows: rows.as_ptr(),
            starts: starts.as_ptr(),
            pieces: starts.len(),
            steps,
            lower: bytes(place.lower),
            advance: bytes(place.advance),
            part: bytes(place.part),
            wide: bytes(wide),
            add: usize::from(add),
        };
        let (apart, panel, out) = (bytes(place.apart), panel.as_ptr(), out.as_mut_ptr());
        // SAFETY: `fits` checked that all lines of rows and panel are there; and 32 rows of the result; the unit is
        // granted and ready. Tiles are no registers of Rust's.
        unsafe {
            match form {
                Form::Brain => {
                    run!(
                        told,
                        apart,
                        panel,
                        2048,
                        out,
                        concat!(ahead!(), rows_here!(), panel_at!(0, 1024), four!("tdpbf16ps"))
                    )
                }
                Form::Bytes => {
                    run!(
                        told,
                        apart,
                        panel,
                        2048,
                        out,
                        concat!(ahead!(), rows_here!(), panel_at!(0, 1024), four!("tdpbssd"))
                    )
                }
                Form::Halves => run!(
                    told,
                    apart,
                    panel,
                    4096,
                    out,
                    concat!(
                        "add {a}, [{told} + 48]\n",
                        rows_here!(),
                        "sub {a}, [{told} + 48]\n",
                        panel_at!(0, 1024),
                        four!("tdpbf16ps"),
                        rows_here!(),
                        four!("tdpbf16ps"),
                        panel_at!(2048, 3072),
                        four!("tdpbf16ps"),
                    )
                ),
                Form::Thirds => run!(
                    told,
                    apart,
                    panel,
                    6144,
                    out,
                    concat!(
                        "add {a}, [{told} + 48]\n add {a}, [{told} + 48]\n",
                        rows_here!(),
                        panel_at!(0, 1024),
                        four!("tdpbf16ps"),
                        "sub {a}, [{told} + 48]\n",
                        rows_here!(),
                        four!("tdpbf16ps"),
                        panel_at!(2048, 3072),
                        four!("tdpbf16ps"),
                        "sub {a}, [{told} + 48]\n",
                        rows_here!(),
                        four!("tdpbf16ps"),
                        panel_at!(0, 1024),
                        four!("tdpbf16ps"),
                        panel_at!(4096, 5120),
                        four!("tdpbf16ps"),
                    )
                ),
            }
        }
    }
}

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
