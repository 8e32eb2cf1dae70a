//! The compute kernels (`shaders/`): how each is compiled, and how a dispatch of it is recorded.

use super::gpu::{Area, Gpu, Matrix};
use super::program::Recorder;
use crate::error::Result;

/// Rows and columns that one workgroup of the product makes.
const TILE: usize = 64;
/// Pixels that one thread of the group norm's first step looks at.
const PIECE: usize = 64;

macro_rules! shader {
    ($($name:literal),+) => {
        concat!($(include_str!(concat!("../../../shaders/", $name, ".wgsl"))),+)
    };
}

/// What happens to the sums of a product before they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum End {
    /// Nothing.
    Plain,
    /// GELU with the exact error function.
    Gelu,
    /// Something is added.
    Residual,
}

/// One pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kernel {
    /// `C = end(A · Wᵀ + bias)`; rows of A in memory, or the 3×3 neighbourhoods of an image.
    Product {
        neighbours: bool,
        half: bool,
        end: End,
    },
    /// All heads; `wide` for heads of more than 64 features.
    Attention {
        wide: bool,
    },
    LayerNorm,
    /// The three steps of the group norm.
    Measure,
    Join,
    Apply {
        swish: bool,
    },
    Softmax,
}

impl Kernel {
    /// Entry point.
    pub fn entry(self) -> &'static str {
        match self {
            Self::Product { .. } => "product",
            Self::Attention { .. } => "attention",
            Self::LayerNorm => "layer_norm",
            Self::Measure => "measure",
            Self::Join => "join",
            Self::Apply { .. } => "apply",
            Self::Softmax => "softmax",
        }
    }

    /// Storage bindings: number, and whether it is written.
    pub fn bindings(self) -> &'static [(u32, bool)] {
        match self {
            Self::Product { .. } => &[(1, false), (2, false), (3, false), (4, false), (5, false), (6, true)],
            Self::Attention { .. } => &[(1, false), (2, true)],
            Self::LayerNorm => &[(1, false), (2, false), (3, false), (4, true)],
            Self::Measure => &[(1, false), (6, true)],
            Self::Join => &[(2, false), (6, true)],
            Self::Apply { .. } => &[(1, false), (3, false), (4, false), (5, false), (7, true)],
            Self::Softmax => &[(1, true)],
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Product { neighbours: false, half: false, .. } => {
                shader!("product", "product_rows", "product_f32")
            }
            Self::Product { neighbours: false, half: true, .. } => shader!("product", "product_rows", "product_f16"),
            Self::Product { neighbours: true, half: false, .. } => {
                shader!("product", "product_neighbours", "product_f32")
            }
            Self::Product { neighbours: true, half: true, .. } => {
                shader!("product", "product_neighbours", "product_f16")
            }
            Self::Attention { .. } => shader!("attention"),
            Self::LayerNorm => shader!("layer_norm"),
            Self::Measure | Self::Join | Self::Apply { .. } => shader!("group_norm"),
            Self::Softmax => shader!("softmax"),
        }
    }

    fn constants(self) -> Vec<(&'static str, f64)> {
        let flag = f64::from;
        match self {
            Self::Product { end, .. } => {
                vec![("GELU", flag(end == End::Gelu)), ("RESIDUAL", flag(end == End::Residual))]
            }
            Self::Attention { wide } => vec![("WIDE", flag(wide))],
            Self::Apply { swish } => vec![("SWISH", flag(swish))],
            _ => Vec::new(),
        }
    }

    /// Compiles it; errors arrive at the device's handler.
    pub fn compile(self, device: &wgpu::Device) -> wgpu::ComputePipeline {
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(self.entry()),
            source: wgpu::ShaderSource::Wgsl(self.source().into()),
        };
        let module = trusted(device, descriptor);
        let visible = |binding: u32, ty: wgpu::BufferBindingType| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let storage = |&(binding, written): &(u32, bool)| {
            visible(binding, wgpu::BufferBindingType::Storage { read_only: !written })
        };
        let entries: Vec<_> = std::iter::once(visible(0, wgpu::BufferBindingType::Uniform))
            .chain(self.bindings().iter().map(storage))
            .collect();
        let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(self.entry()),
            entries: &entries,
        });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(self.entry()),
            bind_group_layouts: &[Some(&group)],
            ..wgpu::PipelineLayoutDescriptor::default()
        });
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(self.entry()),
            layout: Some(&layout),
            module: &module,
            entry_point: Some(self.entry()),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &self.constants(),
                // Each kernel writes what it reads there.
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        })
    }
}

/// A module whose loops carry no counters against endless ones: those keep drivers from unrolling the inner loop of the
/// product. Accesses to memory stay checked.
#[allow(unsafe_code)]
fn trusted(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor) -> wgpu::ShaderModule {
    let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
    // SAFETY: only the program's own shaders come here, and every loop in them counts up to a bound or halves a number.
    unsafe { device.create_shader_module_trusted(descriptor, checks) }
}

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
    pub fn result(&self) -> [usize; 2] {
        let side = |n: usize| if self.halved { n / 2 } else { n << usize::from(self.doubled) };
        [side(self.height), side(self.width)]
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
    pub fn new(rows: usize, first: &'a Area, weight: &'a Matrix, bias: &'a Area, result: &'a Area) -> Self {
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
    pub fn product(&mut self, p: &Product) -> Result<()> {
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
    pub fn attention(&mut self, joint: &Area, result: &Area, [items, tokens, width, heads]: [usize; 4]) -> Result<()> {
        let head = width / heads;
        let scale = (4.0 * head as f32).powf(-0.5);
        let shape = [tokens as u32, width as u32, head as u32, scale.to_bits()];
        let work = 16.0 * (items * tokens * tokens) as f64 * width as f64;
        let workgroups = [tokens.div_ceil(TILE), heads, items];
        self.add(Kernel::Attention { wide: head > TILE / 4 }, &shape, &[joint, result], workgroups, work)
    }

    /// Records a layer norm of `rows` rows of `width` quads.
    pub fn layer_norm(
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
    pub fn group_norm(
        &mut self,
        [items, pixels, channels, groups]: [usize; 4],
        from: &Area,
        [scale, shift]: [&Area; 2],
        swish: bool,
        to: &Area,
    ) -> Result<()> {
        let pieces = pixels.div_ceil(PIECE);
        let shape = [pixels, channels, 4 * channels / groups, pieces].map(|v| v as u32);
        // Two numbers for each channel.
        let parts = self.take(2 * items * pieces * channels)?;
        let moments = self.take(2 * items * channels)?;
        self.add(Kernel::Measure, &shape, &[from, &parts], [channels.div_ceil(32), pieces, items], 0.0)?;
        self.add(Kernel::Join, &shape, &[&parts, &moments], [groups, 1, items], 0.0)?;
        let areas = [from, &moments, scale, shift, to];
        self.add(Kernel::Apply { swish }, &shape, &areas, [(pixels * channels).div_ceil(256), 1, items], 0.0)?;
        self.release(parts);
        self.release(moments);
        Ok(())
    }

    /// Records a softmax, in place, over `count` values of each of `rows` rows that lie `step` values apart.
    pub fn softmax(&mut self, area: &Area, [rows, count, step]: [usize; 3], scale: f32) -> Result<()> {
        self.add(Kernel::Softmax, &[count as u32, step as u32, scale.to_bits()], &[area], [rows, 1, 1], 0.0)
    }
}

/// The product alone at one size, ready to be run and timed.
///
/// # Errors
/// When the adapter fails.
pub fn product_alone(gpu: &Gpu, [rows, inner, columns]: [usize; 3]) -> Result<impl Fn() -> Result<()>> {
    let values = |n: usize| (0..n).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<f32>>();
    let half = gpu.precision() == crate::model::Precision::F16;
    let weight = gpu.upload_matrix("a measured weight", &values(inner * columns), inner, half)?;
    let (bias, input) = (gpu.upload("a bias", &vec![0.0; columns])?, gpu.upload("an input", &values(rows * inner))?);
    let mut recorder = Recorder::new(gpu);
    let result = recorder.take(rows * columns / 4)?;
    recorder.product(&Product::new(rows, &input, &weight, &bias, &result))?;
    let program = recorder.finish(&result, 1)?;
    Ok(move || gpu.run(&program, &[]).map(drop))
}
