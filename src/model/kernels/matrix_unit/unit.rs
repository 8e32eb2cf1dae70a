//! The instructions of the matrix unit, written out.

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
        concat!("tileloadd tmm6, [{b} + {line}*1 + ", $left, "]\n tileloadd tmm7, [{b} + {line}*1 + ", $right, "]\n")
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
    if starts.is_empty() {
        if add {
            return;
        }
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
