//! Draws the spread as part of the window's own render pass (`shaders/overlay.wgsl`).

use super::spread::{SpreadKernel, entry};
use crate::ensemble::Samples;
use crate::error::Result;
use wgpu::util::DeviceExt;

/// Where and how the spread is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverlayView {
    /// Corners in clip space: north-west, north-east, south-east, south-west.
    pub corners: [[f32; 2]; 4],
    /// Values at both ends of the colour map, in the unit of the spread.
    pub range: [f32; 2],
    /// 0…1.
    pub opacity: f32,
}

/// Pipelines and the spread that is shown now.
#[derive(Debug)]
pub struct Overlay {
    kernel: SpreadKernel,
    pipeline: wgpu::RenderPipeline,
    view: wgpu::Buffer,
    colours: wgpu::Buffer,
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Shown {
    /// Which samples these are.
    id: u64,
    size: [u32; 2],
    group: wgpu::BindGroup,
}

/// Bytes of `View` in the shader, rounded up to its alignment of 16.
const VIEW_BYTES: u64 = 96;

impl Overlay {
    /// Compiles the shaders for a target; `colours` are the steps of the colour map, sRGB.
    pub fn new(device: &wgpu::Device, format: wgpu::TextureFormat, colours: &[[u8; 3]]) -> Self {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("overlay.wgsl"),
            source: wgpu::ShaderSource::Wgsl(include_str!("../../shaders/overlay.wgsl").into()),
        });
        let pipeline = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: Some("overlay"),
            layout: None,
            vertex: wgpu::VertexState {
                module: &module,
                entry_point: Some("place"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                buffers: &[],
            },
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: Some("colour"),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                targets: &[Some(wgpu::ColorTargetState {
                    format,
                    blend: Some(wgpu::BlendState::PREMULTIPLIED_ALPHA_BLENDING),
                    write_mask: wgpu::ColorWrites::ALL,
                })],
            }),
            primitive: wgpu::PrimitiveState::default(),
            depth_stencil: None,
            multisample: wgpu::MultisampleState::default(),
            multiview_mask: None,
            cache: None,
        });
        let colours: Vec<u8> = colours
            .iter()
            .flat_map(|c| [c[0], c[1], c[2], 255].map(|v| f32::from(v) / 255.0))
            .flat_map(f32::to_ne_bytes)
            .collect();
        Self {
            kernel: SpreadKernel::new(device),
            pipeline,
            view: device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("view"),
                size: VIEW_BYTES,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
            colours: device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                label: Some("colour map"),
                contents: &colours,
                usage: wgpu::BufferUsages::STORAGE,
            }),
            shown: None,
        }
    }

    /// Makes ready to draw samples; computes their spread only when `id` is new.
    ///
    /// # Errors
    /// As [`SpreadKernel::run`].
    pub fn prepare(
        &mut self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        id: u64,
        samples: &Samples,
        view: &OverlayView,
    ) -> Result<()> {
        if self.shown.as_ref().is_none_or(|shown| shown.id != id) {
            self.shown = None;
            let spread = self.kernel.run(device, queue, samples)?;
            let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("overlay"),
                layout: &self.pipeline.get_bind_group_layout(0),
                entries: &[entry(0, &self.view), entry(1, &spread), entry(2, &self.colours)],
            });
            self.shown = Some(Shown { id, size: [samples.columns as u32, samples.rows as u32], group });
        }
        if let Some(shown) = &self.shown {
            let corners = view.corners.iter().flat_map(|c| [c[0], c[1], 0.0, 0.0]).flat_map(f32::to_ne_bytes);
            let size = shown.size.into_iter().flat_map(u32::to_ne_bytes);
            let rest = [view.range[0], view.range[1], view.opacity, 0.0].into_iter().flat_map(f32::to_ne_bytes);
            queue.write_buffer(&self.view, 0, &corners.chain(size).chain(rest).collect::<Vec<u8>>());
        }
        Ok(())
    }

    /// Draws what was made ready.
    pub fn paint(&self, pass: &mut wgpu::RenderPass<'static>) {
        if let Some(shown) = &self.shown {
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &shown.group, &[]);
            pass.draw(0..6, 0..1);
        }
    }
}
