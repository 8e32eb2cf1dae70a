//! The matrix unit (AMX) of newer x86 processors: products of bfloat16 in tiles of 16 rows of 64 bytes.
//!
//! Its instructions are written out, because the compiler does not offer them yet. What they do is also written in plain Rust
//! ([`emulated`]): tests run everything around them with that, and a processor's own unit is used only after it gave the same.

use std::sync::OnceLock;

/// Rows and columns that the matrix unit works on at a time.
pub(super) const ROWS: usize = 32;
/// See [`ROWS`]; also the width of a packed panel.
pub(super) const COLUMNS: usize = 32;
/// Pairs along the inner dimension in one tile.
pub(super) const STEP: usize = 16;

/// What the matrix unit multiplies at a time: `out[row · stride + column] += Σ row · panel`, for [`ROWS`] rows and
/// [`COLUMNS`] columns, over `steps` · [`STEP`] pairs; a pair's first value is in its lower half.
pub(super) struct Block<'a> {
    /// `[row][pair]`.
    pub rows: &'a [u32],
    /// `[pair][column]`.
    pub panel: &'a [u32],
    pub steps: usize,
    pub out: &'a mut [f32],
    pub stride: usize,
}

/// Multiplies one block of pairs of bfloat16 and adds it to the result.
pub(super) type Multiply = fn(Block);

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

/// Whether a multiplication gives what the description says, up to the order of sums.
fn agrees(multiply: Multiply) -> bool {
    const STEPS: usize = 3;
    let _ready = ready();
    let pair = |i: usize, step: usize| {
        let half = |i: usize| u32::from(((i * step % 201) as f32 / 100.0 - 1.0).to_bits().wrapping_shr(16) as u16);
        half(2 * i) | half(2 * i + 1) << 16
    };
    let rows: Vec<u32> = (0..ROWS * STEPS * STEP).map(|i| pair(i, 77)).collect();
    let panel: Vec<u32> = (0..STEPS * STEP * COLUMNS).map(|i| pair(i, 31)).collect();
    let result = |multiply: Multiply| {
        let mut out: Vec<f32> = (0..ROWS * (COLUMNS + 5)).map(|i| i as f32 / 500.0).collect();
        let stride = COLUMNS + 5;
        multiply(Block { rows: &rows, panel: &panel, steps: STEPS, out: &mut out, stride });
        out
    };
    let (found, expected) = (result(multiply), result(emulated));
    let agree = found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-4);
    if !agree {
        tracing::warn!("This processor's matrix unit does not give what its description says, and is not used.");
    }
    agree
}

/// What the unit does, in plain Rust: pairs of bfloat16, each half multiplied exactly, summed in float32.
pub(super) fn emulated(block: Block) {
    let Block { rows, panel, steps, out, stride } = block;
    let halves = |pair: u32| [f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)];
    let pairs = steps * STEP;
    for (row, out) in rows.chunks_exact(pairs).zip(out.chunks_mut(stride)) {
        for (column, out) in out[..COLUMNS].iter_mut().enumerate() {
            for (k, a) in row.iter().enumerate() {
                let ([a, c], [b, d]) = (halves(*a), halves(panel[k * COLUMNS + column]));
                *out += a * b + c * d;
            }
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[allow(unsafe_code)]
mod unit {
    use super::{Block, COLUMNS, ROWS, STEP};
    use std::arch::asm;
    use std::arch::x86_64::__cpuid_count;

    /// Whether processor and system have the unit and let this process use it.
    pub(super) fn is_granted() -> bool {
        // Leaf 7: bfloat16 and tiles; leaf 1: the system saves more than the first registers; then, which.
        let (features, basics) = (__cpuid_count(7, 0).edx, __cpuid_count(1, 0).ecx);
        let has = |word: u32, bit: u32| word >> bit & 1 == 1;
        if !(has(features, 22) && has(features, 24) && has(basics, 27)) {
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

    /// See [`Block`]; this thread has made the unit [`Ready`].
    pub(in super::super) fn multiply(block: Block) {
        let Block { rows, panel, steps, out, stride } = block;
        let pairs = steps * STEP;
        // What the instructions touch: 32 rows of pairs, the whole panel, 32 rows of 32 values.
        assert!(steps > 0 && rows.len() == ROWS * pairs && panel.len() == pairs * COLUMNS);
        assert!(stride >= COLUMNS && out.len() >= (ROWS - 1) * stride + COLUMNS);
        let lower = (ROWS / 2 * stride * size_of::<f32>()) as isize;
        // SAFETY: the lengths were checked; two tiles of rows (lower rows 16 further on), two of the panel (right columns 64
        // bytes further on) and four of the result; the unit is granted and ready. Tiles are no registers of Rust's.
        unsafe {
            let top = out.as_mut_ptr();
            asm!(
                "tileloadd tmm0, [{top} + {across}*1]",
                "tileloadd tmm1, [{top} + {across}*1 + 64]",
                "tileloadd tmm2, [{below} + {across}*1]",
                "tileloadd tmm3, [{below} + {across}*1 + 64]",
                "2:",
                "tileloadd tmm4, [{a} + {apart}*1]",
                "tileloadd tmm6, [{b} + {wide}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b} + {wide}*1 + 64]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{c} + {apart}*1]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a}, 64",
                "add {c}, 64",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{top} + {across}*1], tmm0",
                "tilestored [{top} + {across}*1 + 64], tmm1",
                "tilestored [{below} + {across}*1], tmm2",
                "tilestored [{below} + {across}*1 + 64], tmm3",
                top = in(reg) top,
                below = in(reg) top.byte_offset(lower),
                across = in(reg) stride * size_of::<f32>(),
                a = inout(reg) rows.as_ptr() => _,
                c = inout(reg) rows.as_ptr().add(ROWS / 2 * pairs) => _,
                apart = in(reg) pairs * size_of::<u32>(),
                b = inout(reg) panel.as_ptr() => _,
                wide = in(reg) COLUMNS * size_of::<u32>(),
                steps = inout(reg) steps => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod unit {
    use super::Block;

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
        let twice: Multiply = |block| {
            let Block { rows, panel, steps, out, stride } = block;
            emulated(Block { rows, panel, steps, out: &mut *out, stride });
            emulated(Block { rows, panel, steps, out, stride });
        };
        assert!(!agrees(twice));
    }
}
