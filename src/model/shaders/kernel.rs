//! The compute kernels (`shaders/`) and how each is compiled.

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
    Swish,
}

impl Kernel {
    /// Entry point.
    pub(super) fn entry(self) -> &'static str {
        match self {
            Self::Product { .. } => "product",
            Self::Attention { .. } => "attention",
            Self::LayerNorm => "layer_norm",
            Self::Measure => "measure",
            Self::Join => "join",
            Self::Apply { .. } => "apply",
            Self::Softmax => "softmax",
            Self::Swish => "swish",
        }
    }

    /// Storage bindings: number, and whether it is written.
    pub(super) fn bindings(self) -> &'static [(u32, bool)] {
        match self {
            Self::Product { .. } => &[(1, false), (2, false), (3, false), (4, false), (5, false), (6, true)],
            Self::Attention { .. } => &[(1, false), (2, true)],
            Self::LayerNorm => &[(1, false), (2, false), (3, false), (4, true)],
            Self::Measure => &[(1, false), (6, true)],
            Self::Join => &[(2, false), (6, true)],
            Self::Apply { .. } => &[(1, false), (3, false), (4, false), (5, false), (7, true)],
            Self::Softmax => &[(1, true)],
            Self::Swish => &[(1, false), (2, true)],
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
            Self::Swish => shader!("swish"),
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
    pub(super) fn compile(self, device: &wgpu::Device) -> wgpu::ComputePipeline {
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
