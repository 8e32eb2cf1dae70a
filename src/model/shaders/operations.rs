//! What networks are made of on an adapter: products, attention and norms, each recorded as dispatches of kernels.

use super::gpu::{Area, Gpu, Matrix};
use super::kernel::{End, Kernel};
use super::program::Recorder;
use crate::error::Result;

/// Rows and columns that one workgroup of the product makes.
const TILE: usize = 64;
/// Pixels that one thread of the group norm's first step looks at.
const PIECE: usize = 64;

/// Where the rows of an operand lie: item i's begin `step · i` rows after `base` quads.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rows {
    pub base: usize,
    pub step: usize,
}

/// A 3×3 convolution's image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image {
    pub height: usize,
    pub width: usize,
    /// Quads of a pixel.
    pub channels: usize,
    /// Half the size, zeros to the right and below; else the same size, zeros around.
    pub halved: bool,
    /// Doubled first, nearest neighbours.
    pub doubled: bool,
}

impl Image {
    /// Rows and columns of the result.
    pub(super) fn result(&self) -> [usize; 2] {
        let side = |n: usize| if self.halved { n / 2 } else { n << usize::from(self.doubled) };
        [side(self.height), side(self.width)]
    }
}

/// What a group norm ends with, a scale and a shift for each channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine<'a> {
    scale: &'a Area,
    shift: &'a Area,
    /// Quads from an item's scale or shift to the next one's; none where all items have the same.
    step: usize,
    /// The quad where shifts begin.
    shift_base: usize,
}

impl<'a> Affine<'a> {
    /// The same for all items.
    pub(super) fn shared([scale, shift]: [&'a Area; 2]) -> Self {
        Self { scale, shift, step: 0, shift_base: 0 }
    }

    /// Each item's own: a row of scales, then shifts, of so many quads each.
    pub(super) fn by_item(rows: &'a Area, channels: usize) -> Self {
        Self { scale: rows, shift: rows, step: 2 * channels, shift_base: channels }
    }
}

/// A product to record: of `rows` rows, `per_item` of them in each item of the batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product<'a> {
    pub rows: usize,
    pub per_item: usize,
    pub first: &'a Area,
    pub first_rows: Rows,
    /// More of each row: quads of `first` come first, then those of this one.
    pub second: Option<&'a Area>,
    pub image: Option<Image>,
    pub weight: &'a Matrix,
    /// Rows of the weight that exist, if fewer than it holds, and the quad where it begins.
    pub weight_rows: Option<usize>,
    pub weight_base: usize,
    pub bias: &'a Area,
    pub gelu: bool,
    pub residual: Option<(&'a Area, Rows)>,
    pub result: &'a Area,
    pub result_rows: Rows,
}

impl<'a> Product<'a> {
    /// A plain one over rows that lie one after another.
    pub(super) fn new(rows: usize, first: &'a Area, weight: &'a Matrix, bias: &'a Area, result: &'a Area) -> Self {
        let all = Rows { base: 0, step: rows };
        Self {
            rows,
            per_item: rows,
            first,
            first_rows: all,
            second: None,
            image: None,
            weight,
            weight_rows: None,
            weight_base: 0,
            bias,
            gelu: false,
            residual: None,
            result,
            result_rows: all,
        }
    }
}

impl Recorder<'_> {
    /// Records a product.
    pub(super) fn product(&mut self, p: &Product) -> Result<()> {
        let (inner, columns) = (p.weight.inner / 4, p.weight.rows / 4);
        let residual_rows = p.residual.map_or(Rows::default(), |(_, rows)| rows);
        let image = p.image.unwrap_or(Image { height: 0, width: 0, channels: 1, halved: false, doubled: false });
        let shape = [
            p.rows,
            p.per_item,
            inner,
            if p.second.is_some() { inner / 2 } else { inner },
            columns,
            p.weight_rows.unwrap_or(p.weight.rows),
            p.first_rows.base,
            p.first_rows.step,
            p.result_rows.base,
            p.result_rows.step,
            residual_rows.base,
            residual_rows.step,
            image.height,
            image.width,
            image.channels,
            image.result()[1].max(1),
            if image.halved { 2 } else { 1 },
            usize::from(!image.halved),
            usize::from(image.doubled),
            p.weight_base,
        ];
        let end = match (p.gelu, p.residual) {
            (true, _) => End::Gelu,
            (false, Some(_)) => End::Residual,
            (false, None) => End::Plain,
        };
        let kernel = Kernel::Product { neighbours: p.image.is_some(), half: p.weight.half, end };
        let areas = [
            p.first,
            p.second.unwrap_or(p.first),
            &p.weight.area,
            p.bias,
            p.residual.map_or(p.bias, |(area, _)| area),
            p.result,
        ];
        let workgroups = [columns.div_ceil(TILE / 4), p.rows.div_ceil(TILE), 1];
        let work = 2.0 * (p.rows * p.weight.inner) as f64 * p.weight.rows as f64;
        self.add(kernel, &shape.map(|v| v as u32), &areas, workgroups, work)
    }

    /// Records the attention of all heads: `joint` holds queries, keys and values, `width` quads each.
    pub(super) fn attention(
        &mut self,
        joint: &Area,
        result: &Area,
        [items, tokens, width, heads]: [usize; 4],
    ) -> Result<()> {
        let head = width / heads;
        let scale = (4.0 * head as f32).powf(-0.5);
        let shape = [tokens as u32, width as u32, head as u32, scale.to_bits()];
        let work = 16.0 * (items * tokens * tokens) as f64 * width as f64;
        let workgroups = [tokens.div_ceil(TILE), heads, items];
        self.add(Kernel::Attention { wide: head > TILE / 4 }, &shape, &[joint, result], workgroups, work)
    }

    /// Records a layer norm of `rows` rows of `width` quads.
    pub(super) fn layer_norm(
        &mut self,
        rows: usize,
        width: usize,
        from: &Area,
        [scale, shift]: [&Area; 2],
        to: &Area,
    ) -> Result<()> {
        self.add(Kernel::LayerNorm, &[width as u32], &[from, scale, shift, to], [rows, 1, 1], 0.0)
    }

    /// Records a group norm, with swish if wanted, of images of `pixels` pixels of `channels` quads.
    pub(super) fn group_norm(
        &mut self,
        [items, pixels, channels, groups]: [usize; 4],
        from: &Area,
        affine: Affine,
        swish: bool,
        to: &Area,
    ) -> Result<()> {
        let pieces = pixels.div_ceil(PIECE);
        let shape = [pixels, channels, 4 * channels / groups, pieces, affine.step, affine.shift_base].map(|v| v as u32);
        // Two numbers for each channel.
        let parts = self.take(2 * items * pieces * channels)?;
        let moments = self.take(2 * items * channels)?;
        self.add(Kernel::Measure, &shape, &[from, &parts], [channels.div_ceil(32), pieces, items], 0.0)?;
        self.add(Kernel::Join, &shape, &[&parts, &moments], [groups, 1, items], 0.0)?;
        let areas = [from, &moments, affine.scale, affine.shift, to];
        self.add(Kernel::Apply { swish }, &shape, &areas, [(pixels * channels).div_ceil(256), 1, items], 0.0)?;
        self.release(parts);
        self.release(moments);
        Ok(())
    }

    /// Records x · sigmoid(x) of so many quads.
    pub(super) fn swish(&mut self, quads: usize, from: &Area, to: &Area) -> Result<()> {
        self.add(Kernel::Swish, &[quads as u32], &[from, to], [quads.div_ceil(256), 1, 1], 0.0)
    }

    /// Records a softmax, in place, over `count` values of each of `rows` rows that lie `step` values apart.
    pub(super) fn softmax(&mut self, area: &Area, [rows, count, step]: [usize; 3], scale: f32) -> Result<()> {
        self.add(Kernel::Softmax, &[count as u32, step as u32, scale.to_bits()], &[area], [rows, 1, 1], 0.0)
    }
}

/// The product alone at one size, ready to be run and timed.
///
/// # Errors
/// When the adapter fails.
pub(crate) fn product_alone(gpu: &Gpu, [rows, inner, columns]: [usize; 3]) -> Result<impl Fn() -> Result<()>> {
    let values = |n: usize| (0..n).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<f32>>();
    let half = gpu.precision() == crate::model::Precision::F16;
    let weight = gpu.upload_matrix("a measured weight", &values(inner * columns), inner, half)?;
    let (bias, input) = (gpu.upload("a bias", &vec![0.0; columns])?, gpu.upload("an input", &values(rows * inner))?);
    let mut recorder = Recorder::new(gpu);
    let result = recorder.take(rows * columns / 4)?;
    recorder.product(&Product::new(rows, &input, &weight, &bias, &result))?;
    let program = recorder.finish(&[(&result, 1)])?;
    Ok(move || program.run(gpu, &[]).map(drop))
}
