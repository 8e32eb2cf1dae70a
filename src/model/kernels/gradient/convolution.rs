//! 3×3 convolution, and its gradients: products whose rows are read where they lie.

use super::super::Sampling;
use super::super::factors::{Beside, Finish};
use super::super::fill::in_parallel;
use super::super::instructions::Instructions;
use super::super::matrix_unit;
use super::super::product::{Packed, is_wide};
use super::super::rows::{column_sums, transposed};
use super::super::storage::{bad, values};
use super::super::taps::{Image, Part, Plan, Read};
use super::super::tile_conv::TileConv;
use super::tile_kernel::Pairs;
use super::turned::{Turned, pieces_along};
use super::{Held, made, winograd};
use crate::model::Precision;
use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};

/// Taps of a kernel.
const TAPS: usize = 9;

/// See [`super::convolution`].
pub(super) struct Convolution {
    pub sampling: Sampling,
    pub precision: Precision,
}

/// Numbers of values of a kernel's two channels.
#[derive(Clone, Copy)]
struct Channels {
    inputs: usize,
    outputs: usize,
}

/// What a gradient of a kernel reads the image from.
enum Places {
    Pairs(Pairs),
    Turned(Turned),
}

impl Convolution {
    fn result_size(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        match self.sampling {
            Sampling::Same => [height, width],
            Sampling::Half => [height / 2, width / 2],
            Sampling::Double => [2 * height, 2 * width],
        }
    }

    /// The result, of this size, of a plan; `weights` gives the matrix of a phase, `(taps · channels, columns)`.
    fn apply(
        &self,
        plan: Plan,
        image: Image,
        outputs: usize,
        size: [usize; 2],
        bias: Option<&[f32]>,
        weights: impl Fn(&Part) -> Vec<f32>,
    ) -> Vec<f32> {
        if self.in_tiles(image.channels, outputs) {
            let bias = bias.map(<[f32]>::to_vec);
            return TileConv::of_matrices(plan, [image.channels, outputs], bias, weights, matrix_unit::own())
                .apply(image, size, None);
        }
        let [rows, columns] = size.map(|n| n / plan.phases.len());
        let of_phase = |part: &Part| {
            let (weights, pieces) = (weights(part), Beside::pieces(part.taps.len(), image.channels));
            let width = weights.len() / (part.taps.len() * image.channels);
            let bias = bias.map(<[f32]>::to_vec);
            let packed = Packed::of_rows(self.precision, &pieces, width, bias, &weights);
            let read = Read::new(image, part, plan.stride, columns);
            (width, packed.product(&read, rows * columns * image.batch, Finish::Bias, None))
        };
        let mut made: Vec<(usize, Vec<f32>)> = plan.parts().iter().map(of_phase).collect();
        if made.len() == 1 {
            return made.remove(0).1;
        }
        let place = made[0].0 * image.batch;
        // Rows and columns of the phases in turn.
        let row = 2 * columns * place;
        in_parallel(4 * rows * columns * place, row, |y, out| {
            for (x, out) in out.chunks_exact_mut(place).enumerate() {
                let of = &made[y % 2 * 2 + x % 2].1;
                out.copy_from_slice(&of[(y / 2 * columns + x / 2) * place..][..place]);
            }
        })
    }

    /// Whether a matrix unit takes so many channels.
    fn in_tiles(&self, inputs: usize, outputs: usize) -> bool {
        Instructions::has_unit_for(self.precision) && is_wide(inputs, outputs, self.precision)
    }

    /// The gradient of the kernel, `(outputs, inputs, 3, 3)`, from the image and the gradient of the result.
    fn of_kernel(&self, image: Image, gradient: &[f32], channels: Channels) -> Vec<f32> {
        let Channels { inputs, outputs } = channels;
        if self.is_winograd(image.size, channels) {
            return in_order(&winograd::of_kernel(image, gradient, outputs), channels);
        }
        let plan = Plan::forward(self.sampling);
        let phases = plan.phases.len();
        let [rows, columns] = self.result_size(image.size).map(|n| n / phases);
        let pieces = pieces_along(rows, columns * image.batch);
        let read = if self.in_tiles(inputs, outputs) {
            Places::Pairs(Pairs::new(image, plan.stride, [rows, columns]))
        } else {
            Places::Turned(Turned::new(image, plan.stride, [rows, columns]))
        };
        // (tap, input, output)
        let mut sums = vec![0.0; TAPS * inputs * outputs];
        for part in plan.parts() {
            let own = (phases > 1).then(|| of_phase(gradient, part.phase, columns, image.batch * outputs));
            let gradient = own.as_deref().unwrap_or(gradient);
            let found = match &read {
                Places::Pairs(pairs) => pairs.of_kernel(&part, gradient, [inputs, outputs], matrix_unit::add_strided),
                Places::Turned(turned) => {
                    let packed = Packed::of_rows(self.precision, &pieces, outputs, None, gradient);
                    packed.product(&turned.reading(&part), part.taps.len() * inputs, Finish::Bias, None)
                }
            };
            for (tap, found) in part.taps.iter().zip(found.chunks_exact(inputs * outputs)) {
                for of_kernel in &tap.of_kernel {
                    let sums = &mut sums[of_kernel * inputs * outputs..][..inputs * outputs];
                    sums.iter_mut().zip(found).for_each(|(sum, v)| *sum += v);
                }
            }
        }
        in_order(&sums, channels)
    }

    fn is_winograd(&self, size: [usize; 2], channels: Channels) -> bool {
        self.sampling == Sampling::Same && winograd::suits(size, channels.inputs, channels.outputs, self.precision)
    }
}

/// `(tap, input, output)` → `(output, input, tap)`.
fn in_order(sums: &[f32], Channels { inputs, outputs }: Channels) -> Vec<f32> {
    let turned = transposed(sums, outputs);
    in_parallel(turned.len(), inputs * TAPS, |output, out| {
        let own = &turned[output * inputs * TAPS..][..inputs * TAPS];
        for (input, out) in out.chunks_exact_mut(TAPS).enumerate() {
            out.iter_mut().enumerate().for_each(|(tap, v)| *v = own[tap * inputs + input]);
        }
    })
}

/// Every second place of the rows and columns of a gradient with twice as many `columns`.
fn of_phase(gradient: &[f32], phase: [usize; 2], columns: usize, place: usize) -> Vec<f32> {
    in_parallel(gradient.len() / 4, columns * place, |row, out| {
        for (column, out) in out.chunks_exact_mut(place).enumerate() {
            let from = ((2 * row + phase[0]) * 2 * columns + 2 * column + phase[1]) * place;
            out.copy_from_slice(&gradient[from..from + place]);
        }
    })
}

/// The kernel's taps that meet in each place read, summed, `(place · inputs, outputs)`.
fn forward_weights(kernel: &[f32], part: &Part, channels: Channels) -> Vec<f32> {
    let Channels { inputs, outputs } = channels;
    // (input · tap, output)
    let turned = transposed(kernel, TAPS * inputs);
    in_parallel(part.taps.len() * inputs * outputs, outputs, |row, out| {
        let (tap, input) = (&part.taps[row / inputs], row % inputs);
        for of_kernel in &tap.of_kernel {
            let own = &turned[(input * TAPS + of_kernel) * outputs..][..outputs];
            out.iter_mut().zip(own).for_each(|(sum, v)| *sum += v);
        }
    })
}

/// The same for the way back, `(place · outputs, inputs)`.
fn backward_weights(kernel: &[f32], part: &Part, channels: Channels) -> Vec<f32> {
    let Channels { inputs, outputs } = channels;
    in_parallel(part.taps.len() * inputs * outputs, inputs, |row, out| {
        let (tap, output) = (&part.taps[row / outputs], row % outputs);
        let own = &kernel[output * inputs * TAPS..][..inputs * TAPS];
        for of_kernel in &tap.of_kernel {
            out.iter_mut().zip(own.chunks_exact(TAPS)).for_each(|(sum, taps)| *sum += taps[*of_kernel]);
        }
    })
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        kernel: &CpuStorage,
        of_kernel: &Layout,
        bias: &CpuStorage,
        of_bias: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (height, width, batch, inputs) = of_x.shape().dims4()?;
        let (outputs, wanted, high, wide) = of_kernel.shape().dims4()?;
        let bias = values(bias, of_bias)?;
        if wanted != inputs || high * wide != TAPS || bias.len() != outputs || inputs * outputs == 0 {
            return Err(bad(format!("{inputs} channels for a convolution of {wanted} to {outputs}")));
        }
        if self.sampling == Sampling::Half && (height % 2, width % 2) != (0, 0) {
            return Err(bad(format!("{height} × {width} pixels cannot be halved")));
        }
        let image = Image { values: values(x, of_x)?, size: [height, width], batch, channels: inputs };
        let (kernel, channels) = (values(kernel, of_kernel)?, Channels { inputs, outputs });
        let [rows, columns] = self.result_size([height, width]);
        let out = if self.is_winograd(image.size, channels) {
            let matrices = winograd::transformed_kernel(kernel, false);
            let pack = |own| Packed::of_columns(self.precision, &Beside::pieces(1, inputs), outputs, None, own);
            let packed: Vec<Packed> = matrices.chunks_exact(inputs * outputs).map(pack).collect();
            winograd::convolve(image, &packed, Some(bias))
        } else {
            let weights = |part: &Part| forward_weights(kernel, part, channels);
            self.apply(Plan::forward(self.sampling), image, outputs, [rows, columns], Some(bias), weights)
        };
        Ok((CpuStorage::F32(out), Shape::from((rows, columns, batch, outputs))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        kernel: &Tensor,
        bias: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (height, width, batch, inputs) = x.dims4()?;
        let (rows, columns, _, outputs) = grad.dims4()?;
        let channels = Channels { inputs, outputs };
        let gradient = Held::of(&grad)?;
        let of_x = if x.track_op() {
            let weights = Held::of(kernel)?;
            let image = Image { values: &gradient, size: [rows, columns], batch, channels: outputs };
            let found = if self.is_winograd(image.size, channels) {
                let matrices = winograd::transformed_kernel(&weights, true);
                let pack = |own| Packed::of_rows(self.precision, &Beside::pieces(1, outputs), inputs, None, own);
                let packed: Vec<Packed> = matrices.chunks_exact(inputs * outputs).map(pack).collect();
                winograd::convolve(image, &packed, None)
            } else {
                let weights = |part: &Part| backward_weights(&weights, part, channels);
                self.apply(Plan::backward(self.sampling), image, inputs, [height, width], None, weights)
            };
            made(found, x.shape())?
        } else {
            None
        };
        let of_kernel = if kernel.track_op() {
            let held = Held::of(x)?;
            let image = Image { values: &held, size: [height, width], batch, channels: inputs };
            made(self.of_kernel(image, &gradient, channels), kernel.shape())?
        } else {
            None
        };
        Ok((of_x, of_kernel, made(column_sums(&gradient, outputs), bias.shape())?))
    }
}
