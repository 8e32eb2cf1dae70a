//! Per-pixel measures of spread over realisations (`shaders/spread.wgsl`).

use crate::ensemble::{Measure, Samples};
use crate::error::{Error, Result};
use std::collections::HashMap;
use wgpu::util::DeviceExt;

const WORKGROUP: usize = 256;

/// Entry points of the shader.
const ENTRIES: [(Measure, &str); 9] = [
    (Measure::Variance, "variance"),
    (Measure::Deviation, "deviation"),
    (Measure::Quartiles, "quartiles"),
    (Measure::Range, "extent"),
    (Measure::Disagreement, "disagreement"),
    (Measure::Entropy, "entropy"),
    (Measure::Error, "error"),
    (Measure::Rank, "rank"),
    (Measure::Missed, "missed"),
];

/// The compute pipelines.
#[derive(Debug)]
pub struct SpreadKernel {
    pipelines: HashMap<Measure, wgpu::ComputePipeline>,
}

impl SpreadKernel {
    /// Compiles the shader.
    pub fn new(device: &wgpu::Device) -> Self {
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("spread.wgsl"),
            source: wgpu::ShaderSource::Wgsl(include_str!("../../shaders/spread.wgsl").into()),
        });
        let pipeline = |entry: &str| {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(entry),
                layout: None,
                module: &module,
                entry_point: Some(entry),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                cache: None,
            })
        };
        Self { pipelines: ENTRIES.iter().map(|(measure, entry)| (*measure, pipeline(entry))).collect() }
    }

    /// Computes the spread of each pixel into a new storage buffer of `rows · columns` float32 values; −1 where nothing was
    /// observed to compare with.
    ///
    /// # Errors
    /// When there are no samples, their number does not fit their size, or they are larger than the device allows.
    pub fn run(&self, device: &wgpu::Device, queue: &wgpu::Queue, samples: &Samples) -> Result<wgpu::Buffer> {
        let pixels = samples.columns * samples.rows;
        if pixels == 0 || samples.count == 0 || samples.data.len() != samples.expected() {
            return Err(Error::request("There are no realisations to compare, or they differ in size."));
        }
        let limits = device.limits();
        let bytes = (samples.data.len() * 4) as u64;
        let groups = pixels.div_ceil(WORKGROUP);
        if bytes > limits.max_storage_buffer_binding_size
            || groups > limits.max_compute_workgroups_per_dimension as usize
        {
            return Err(Error::Compute(format!(
                "{} realisations of {} × {} pixels are more than this graphics adapter can compare at once.",
                samples.count, samples.columns, samples.rows
            )));
        }
        let shape: Vec<u8> = [pixels as u32, samples.count as u32].iter().flat_map(|v| v.to_ne_bytes()).collect();
        let buffer = |contents: &[u8], usage| {
            device.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: Some("samples"), contents, usage })
        };
        let shape = buffer(&shape, wgpu::BufferUsages::UNIFORM);
        let input = buffer(bytemuck::cast_slice(samples.data.as_slice()), wgpu::BufferUsages::STORAGE);
        let spread = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("spread"),
            size: (pixels * 4) as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let pipeline = &self.pipelines[&samples.measure];
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("spread"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[entry(0, &shape), entry(1, &input), entry(2, &spread)],
        });
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(groups as u32, 1, 1);
        }
        queue.submit([encoder.finish()]);
        Ok(spread)
    }
}

/// Reads a float32 buffer back; waits for the device, so not for the window's thread.
///
/// # Errors
/// When the device is lost.
pub fn read_back(device: &wgpu::Device, queue: &wgpu::Queue, buffer: &wgpu::Buffer) -> Result<Vec<f32>> {
    let lost = |e: &dyn std::fmt::Display| Error::Compute(format!("The graphics device does not answer: {e}"));
    let staging = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("read back"),
        size: buffer.size(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    queue.submit([encoder.finish()]);
    let (send, receive) = crossbeam_channel::bounded(1);
    staging.slice(..).map_async(wgpu::MapMode::Read, move |result| {
        // The receiver waits below.
        let _ = send.send(result);
    });
    device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| lost(&e))?;
    receive.recv().map_err(|e| lost(&e))?.map_err(|e| lost(&e))?;
    let view = staging.slice(..).get_mapped_range().map_err(|e| lost(&e))?;
    let words = view.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
    Ok(words.collect())
}

/// A whole buffer as an entry of a bind group.
pub(super) fn entry(binding: u32, buffer: &wgpu::Buffer) -> wgpu::BindGroupEntry<'_> {
    wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() }
}
