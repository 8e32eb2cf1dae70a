//! What candle hands to an operation of ours.

use candle_core::{CpuStorage, Layout};

/// Contiguous values of a tensor.
pub(super) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let (start, end) = layout.contiguous_offsets().ok_or_else(|| bad("not contiguous"))?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// An error of an operation.
pub(super) fn bad(what: impl Into<String>) -> candle_core::Error {
    candle_core::Error::Msg(what.into())
}
