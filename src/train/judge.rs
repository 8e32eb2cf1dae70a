//! The judge that a refiner is trained against: tells drawn pixels from real ones, patch by patch. It is no part of a model.

use crate::error::Result;
use crate::model::kernels::gradient;
use crate::model::{Init, Parameters, Precision, Sampling, Scope};
use candle_core::{Device, Tensor};

/// Rounds of power iteration by which the norm of a weight is found.
const ROUNDS: usize = 4;

/// Prefix of its parameters.
pub(super) const PREFIX: &str = "judge";

/// A small convolutional network whose layers have spectral norm 1 (arXiv 1802.05957), so that it never gets so sure that
/// nothing can be learned from it.
pub(super) struct Judge {
    fine: Layer,
    half: Layer,
    middle: Layer,
    coarse: Layer,
    answer: Layer,
}

/// A convolution `(out, in, 3, 3)` with bias.
struct Layer {
    weight: Tensor,
    bias: Tensor,
    precision: Precision,
}

impl Layer {
    fn new(scope: &mut Scope, [inputs, outputs]: [usize; 2]) -> Result<Self> {
        let init = Init::FanIn(inputs * 9);
        Ok(Self {
            weight: scope.get("weight", &[outputs, inputs, 3, 3], init)?,
            bias: scope.get("bias", &[outputs], Init::Zeros)?,
            precision: scope.precision(),
        })
    }

    /// `fixed`: without gradients for the weights.
    fn forward(&self, x: &Tensor, fixed: bool) -> Result<Tensor> {
        let weight = normed(&self.weight)?;
        let (weight, bias) = if fixed { (weight.detach(), self.bias.detach()) } else { (weight, self.bias.clone()) };
        gradient::convolution(x, &weight, &bias, Sampling::Same, self.precision)
    }
}

/// A weight divided by its largest singular value.
fn normed(weight: &Tensor) -> Result<Tensor> {
    let flat = weight.flatten_from(1)?;
    let (rows, columns) = flat.dims2()?;
    let fixed = flat.detach();
    // Always the same beginning: nothing has to be remembered from step to step.
    let start: Vec<f32> = (0..columns).map(|i| 1.0 + ((i * 7919) % 101) as f32 / 100.0).collect();
    let mut v = Tensor::from_vec(start, (columns, 1), weight.device())?;
    let mut u = Tensor::zeros((rows, 1), v.dtype(), weight.device())?;
    let unit = |x: Tensor| -> Result<Tensor> { Ok(x.broadcast_div(&(x.sqr()?.sum_all()?.sqrt()? + 1e-12)?)?) };
    for _ in 0..ROUNDS {
        u = unit(fixed.matmul(&v)?)?;
        v = unit(fixed.t()?.matmul(&u)?)?;
    }
    let norm = u.t()?.matmul(&flat.matmul(&v)?)?.reshape(())?;
    Ok(weight.broadcast_div(&norm)?)
}

impl Judge {
    /// For so many channels at the finest pixels and at half the resolution.
    pub(super) fn new(fine: usize, half: usize, width: usize, source: &mut dyn Parameters) -> Result<Self> {
        let root = &mut Scope::root(source);
        let root = &mut root.at(PREFIX);
        let mut layer = |name: &str, sizes| Layer::new(&mut root.at(name), sizes);
        Ok(Self {
            fine: layer("fine", [4 * fine, width])?,
            half: layer("half", [half, width])?,
            middle: layer("middle", [4 * width, 2 * width])?,
            coarse: layer("coarse", [2 * width, 2 * width])?,
            answer: layer("answer", [2 * width, 1])?,
        })
    }

    /// How real each patch looks: `(row, column, item, 1)`.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn forward(&self, fine: &Tensor, half: &Tensor, fixed: bool) -> Result<Tensor> {
        let x = (self.fine.forward(&folded(fine)?, fixed)? + self.half.forward(half, fixed)?)?;
        let x = self.middle.forward(&folded(&gradient::silu(&x)?)?, fixed)?;
        let x = gradient::silu(&self.coarse.forward(&gradient::silu(&x)?, fixed)?)?;
        self.answer.forward(&x, fixed)
    }
}

/// Four pixels side by side as channels of one: `(row, column, item, channel)` at half the resolution. A convolution that
/// looks at every second pixel would look at some more often than at others, and teach the refiner a pattern of that period.
fn folded(x: &Tensor) -> Result<Tensor> {
    let (rows, columns, items, channels) = x.dims4()?;
    let apart = x.reshape((rows / 2, 2, columns / 2, 2, items * channels))?.transpose(1, 2)?;
    let apart = apart.reshape((rows / 2, columns / 2, 4, items, channels))?.transpose(2, 3)?.contiguous()?;
    Ok(apart.reshape((rows / 2, columns / 2, items, 4 * channels))?)
}

/// Means over squares of `from / to` pixels: `(from, from, items, channels)` → `(to, to, items, channels)`.
///
/// # Errors
/// When the device fails.
pub(super) fn pooled(x: &Tensor, to: usize) -> Result<Tensor> {
    let (from, _, items, channels) = x.dims4()?;
    let each = from / to;
    let share = |k: usize| if k % from / each == k / from { 1.0 / each as f32 } else { 0.0 };
    let matrix = Tensor::from_vec((0..to * from).map(share).collect::<Vec<f32>>(), (to, from), &Device::Cpu)?;
    let rows = matrix.matmul(&x.reshape((from, from * items * channels))?)?;
    let matrix = matrix.unsqueeze(0)?.broadcast_as((to, to, from))?.contiguous()?;
    Ok(matrix.matmul(&rows.reshape((to, from, items * channels))?)?.reshape((to, to, items, channels))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_of_squares_are_what_they_say() {
        let values: Vec<f32> = (0u8..64).map(f32::from).collect();
        let x = Tensor::from_vec(values, (4, 4, 2, 2), &Device::Cpu).expect("image");
        let small: Vec<f32> = pooled(&x, 2).and_then(|p| Ok(p.flatten_all()?.to_vec1()?)).expect("pooled");
        // Pixels (0,0), (0,1), (1,0), (1,1) begin at 0, 4, 16, 20.
        assert_eq!(small[..4], [10.0, 11.0, 12.0, 13.0]);
        assert_eq!(small.len(), 16);
    }

    #[test]
    fn a_weight_gets_a_largest_singular_value_of_one() {
        let weight = Tensor::new(&[[3f32, 0.0], [0.0, 1.0]], &Device::Cpu).expect("weight");
        let normed: Vec<f32> = normed(&weight.reshape((2, 2, 1, 1)).expect("shape"))
            .and_then(|w| Ok(w.flatten_all()?.to_vec1()?))
            .expect("normed");
        assert!((normed[0] - 1.0).abs() < 1e-2 && (normed[3] - 1.0 / 3.0).abs() < 1e-2, "{normed:?}");
    }
}
