//! A linear layer, and the gradients of both its factors.

use super::super::factors::{Beside, Finish};
use super::super::product::Packed;
use super::super::rows::{column_sums, transposed};
use super::super::storage::{bad, values};
use super::{Held, made};
use crate::model::Precision;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};

/// See [`super::linear`].
pub(super) struct Linear {
    pub precision: Precision,
}

/// `x (count, inputs) · weightᵀ`, `weight (outputs, inputs)`.
fn times_transposed(precision: Precision, x: &[f32], weight: &[f32], inputs: usize, bias: Option<&[f32]>) -> Vec<f32> {
    let outputs = weight.len() / inputs;
    let pieces = Beside::pieces(1, inputs);
    let packed = Packed::of_columns(precision, &pieces, outputs, bias.map(<[f32]>::to_vec), weight);
    packed.product(&Beside::new(vec![x], inputs), x.len() / inputs, Finish::Bias, None)
}

/// `x (count, inner) · y (inner, columns)`.
pub(super) fn times(precision: Precision, x: &[f32], y: &[f32], inner: usize) -> Vec<f32> {
    let columns = y.len() / inner;
    let packed = Packed::of_rows(precision, &Beside::pieces(1, inner), columns, None, y);
    packed.product(&Beside::new(vec![x], inner), x.len() / inner, Finish::Bias, None)
}

impl Linear {
    fn forward(
        &self,
        (x, of_x): (&CpuStorage, &Layout),
        (weight, of_weight): (&CpuStorage, &Layout),
        bias: Option<&[f32]>,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = of_weight.shape().dims2()?;
        let mut shape = of_x.shape().dims().to_vec();
        if shape.last() != Some(&inputs) || inputs * outputs == 0 || bias.is_some_and(|b| b.len() != outputs) {
            return Err(bad(format!("{shape:?} for a layer of {inputs} inputs and {outputs} outputs")));
        }
        shape.pop();
        shape.push(outputs);
        let out = times_transposed(self.precision, values(x, of_x)?, values(weight, of_weight)?, inputs, bias);
        Ok((CpuStorage::F32(out), Shape::from(shape)))
    }

    fn backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (outputs, inputs) = weight.dims2()?;
        let (gradient, values) = (Held::of(&grad)?, Held::of(x)?);
        let of_x = if x.track_op() {
            made(times(self.precision, &gradient, &Held::of(weight)?, outputs), x.shape().clone())?
        } else {
            None
        };
        let count = gradient.len() / outputs;
        let of_weight = if weight.track_op() {
            made(times(self.precision, &transposed(&gradient, outputs), &values, count), (outputs, inputs))?
        } else {
            None
        };
        Ok((of_x, of_weight))
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        weight: &CpuStorage,
        of_weight: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.forward((x, of_x), (weight, of_weight), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        self.backward(x, weight, grad)
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear-with-bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        of_x: &Layout,
        weight: &CpuStorage,
        of_weight: &Layout,
        bias: &CpuStorage,
        of_bias: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.forward((x, of_x), (weight, of_weight), Some(values(bias, of_bias)?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (of_x, of_weight) = self.backward(x, weight, &grad)?;
        let of_bias = made(column_sums(&Held::of(&grad)?, bias.elem_count()), bias.shape().clone())?;
        Ok((of_x, of_weight, of_bias))
    }
}
