//! What is known of an image at some of its pixels, as a latent can be held to it: some of the latent's cells.

use crate::error::{Error, Result};
use crate::modality::Mask;
use candle_core::{DType, Tensor};

/// Cells known of one modality. Tensors are `(batch, C, h, w)` of its latent's shape, zero where nothing is known.
#[derive(Debug, Clone)]
pub struct Known {
    /// 1 where a cell is known: `(1, 1, h, w)`.
    mask: Tensor,
    /// The known values.
    values: Tensor,
    /// Number of known values.
    count: usize,
}

impl Known {
    /// Known cells of a latent `(1 or batch, C, h, w)`.
    ///
    /// # Errors
    /// When the mask has another size.
    pub fn cells(latent: &Tensor, known: &Mask) -> Result<Self> {
        let (_, channels, h, w) = latent.dims4()?;
        let (rows, columns) = known.size();
        if (rows, columns) != (h, w) {
            return Err(Error::Compute(format!("A mask of {rows} × {columns} cells for a latent of {h} × {w}.")));
        }
        let mask = Tensor::from_vec(known.numbers(), (1, 1, h, w), latent.device())?.to_dtype(latent.dtype())?;
        let values = latent.broadcast_mul(&mask)?;
        Ok(Self { mask, values, count: known.count() * channels })
    }

    /// Number of known values.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The known cells `(C, h, w)` of one item and which they are: 1 or 0 for each of `(h, w)`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn as_cells(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        let flat = |t: &Tensor| -> Result<Vec<f32>> { Ok(t.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?) };
        Ok((flat(&self.values.narrow(0, 0, 1)?)?, flat(&self.mask)?))
    }

    /// A latent `(batch, C, h, w)` with the known cells in their places.
    ///
    /// # Errors
    /// When the device fails.
    pub fn put_into(&self, latent: &Tensor) -> Result<Tensor> {
        let rest = latent.broadcast_mul(&self.mask.affine(-1.0, 1.0)?)?;
        Ok(rest.broadcast_add(&self.values)?)
    }

    /// Other values for what is known: the latent of an image in which more has become known.
    ///
    /// # Errors
    /// When the device fails.
    pub fn renew(&mut self, latent: &Tensor) -> Result<()> {
        self.values = self.at_known(latent)?;
        Ok(())
    }

    /// A latent where it is known, and zero elsewhere.
    ///
    /// # Errors
    /// When the device fails.
    pub fn at_known(&self, latent: &Tensor) -> Result<Tensor> {
        Ok(latent.broadcast_mul(&self.mask)?)
    }

    /// What a latent lacks of what is known; zero where nothing is.
    ///
    /// # Errors
    /// When the device fails.
    pub fn missing(&self, latent: &Tensor) -> Result<Tensor> {
        Ok(self.values.broadcast_sub(&self.at_known(latent)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_themselves_and_may_be_renewed() {
        let device = candle_core::Device::Cpu;
        let latent = |value: f32| Tensor::full(value, (2, 3, 4, 4), &device).expect("latent");
        let half = Mask::from_fn(4, 4, |cell| cell < 8);
        let mut known = Known::cells(&latent(2.0), &half).expect("known");
        assert_eq!(known.count(), 24);
        let sum = |tensor: Tensor| tensor.sum_all().and_then(|t| t.to_scalar::<f32>()).expect("sum");
        assert_eq!(sum(known.missing(&latent(0.5)).expect("missing")), 1.5 * 48.0);
        assert_eq!(sum(known.at_known(&latent(1.0)).expect("values")), 48.0);
        known.renew(&latent(5.0)).expect("renewed");
        assert_eq!(sum(known.missing(&latent(0.5)).expect("missing")), 4.5 * 48.0);
        assert!(Known::cells(&latent(1.0), &Mask::full(3, 4)).is_err());
    }
}
