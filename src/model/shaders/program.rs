//! A network as a list of dispatches, recorded once and replayed for each evaluation.

use super::gpu::{Area, Gpu};
use super::kernel::Kernel;
use crate::error::{Error, Result};
use wgpu::BufferUsages;

/// Operations that one submission may hold: systems reset a graphics card that is busy with one submission for two
/// seconds, and slow cards make some 10¹² operations in that time.
const SUBMISSION: f64 = 6e11;

/// One dispatch.
#[derive(Debug)]
struct Step {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    workgroups: [u32; 3],
    /// Floating-point operations, roughly.
    work: f64,
}

/// A recorded network.
#[derive(Debug)]
pub(super) struct Program {
    steps: Vec<Step>,
    /// What a run returns, one after another: where it lies, and how many quads of it.
    results: Vec<(Area, usize)>,
    staging: wgpu::Buffer,
}

impl Program {
    /// Runs it on the adapter it was recorded for: writes its inputs (where, first value, values), and reads its results.
    pub(super) fn run(&self, gpu: &Gpu, inputs: &[(&Area, usize, &[f32])]) -> Result<Vec<f32>> {
        gpu.run(inputs, |device, queue| self.submit(device, queue), &self.staging)
    }

    /// Sends all of it to the adapter.
    fn submit(&self, device: &wgpu::Device, queue: &wgpu::Queue) {
        let mut rest = self.steps.as_slice();
        while !rest.is_empty() {
            let mut work = 0.0;
            let end = rest.iter().position(|step| {
                work += step.work;
                work > SUBMISSION
            });
            let (steps, left) = rest.split_at(end.map_or(rest.len(), |i| i.max(1)));
            rest = left;
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for step in steps {
                pass.set_pipeline(&step.pipeline);
                pass.set_bind_group(0, &step.group, &[]);
                let [x, y, z] = step.workgroups;
                pass.dispatch_workgroups(x, y, z);
            }
            drop(pass);
            if rest.is_empty() {
                let mut at = 0;
                for (area, quads) in &self.results {
                    let bytes = 16 * *quads as u64;
                    encoder.copy_buffer_to_buffer(&area.buffer, 0, &self.staging, at, bytes);
                    at += bytes;
                }
            }
            queue.submit([encoder.finish()]);
        }
    }
}

/// Records a program. Memory it takes goes back to the adapter's pool when it is done, for other programs to use: only
/// one runs at a time, and none expects to find there what it left.
pub(super) struct Recorder<'a> {
    gpu: &'a Gpu,
    steps: Vec<Step>,
    taken: Vec<Area>,
    free: Vec<Area>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(gpu: &'a Gpu) -> Self {
        Self { gpu, steps: Vec::new(), taken: Vec::new(), free: Vec::new() }
    }

    /// Memory for this many quads, with anything in it.
    pub(super) fn take(&mut self, quads: usize) -> Result<Area> {
        let fitting = self.free.iter().enumerate().filter(|(_, area)| area.quads >= quads);
        if let Some((i, _)) = fitting.min_by_key(|(_, area)| area.quads) {
            return Ok(self.free.swap_remove(i));
        }
        let area = self.gpu.take(quads)?;
        self.taken.push(area.clone());
        Ok(area)
    }

    /// Memory that later steps may overwrite.
    pub(super) fn release(&mut self, area: Area) {
        self.free.push(area);
    }

    /// Adds a dispatch: `shape` is the kernel's uniform, `areas` what it binds, in the order of its bindings.
    pub(super) fn add(
        &mut self,
        kernel: Kernel,
        shape: &[u32],
        areas: &[&Area],
        workgroups: [usize; 3],
        work: f64,
    ) -> Result<()> {
        let device = self.gpu.device();
        let limit = self.gpu.limits().max_compute_workgroups_per_dimension as usize;
        if workgroups.iter().any(|&n| n > limit) {
            return Err(Error::Device(format!(
                "{} starts at most {limit} workgroups side by side, but this network needs {workgroups:?}; compute on cpu.",
                self.gpu.name()
            )));
        }
        let pipeline = self.gpu.pipeline(kernel)?;
        let mut bytes: Vec<u8> = shape.iter().flat_map(|v| v.to_ne_bytes()).collect();
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        let uniform = self.gpu.uniform(&bytes);
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: uniform.as_entire_binding() }];
        let bindings = kernel.bindings().iter().zip(areas);
        entries.extend(
            bindings.map(|(&(binding, _), area)| wgpu::BindGroupEntry {
                binding,
                resource: area.buffer.as_entire_binding(),
            }),
        );
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(kernel.entry()),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        self.steps.push(Step { pipeline, group, workgroups: workgroups.map(|n| n as u32), work });
        Ok(())
    }

    /// Ends recording; the first so many quads of each result are what a run returns, one after another.
    pub(super) fn finish(mut self, results: &[(&Area, usize)]) -> Result<Program> {
        let staging = self.gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("result"),
            size: results.iter().map(|(_, quads)| 16 * *quads as u64).sum(),
            usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.gpu.check()?;
        let results = results.iter().map(|&(area, quads)| (area.clone(), quads)).collect();
        Ok(Program { steps: std::mem::take(&mut self.steps), results, staging })
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        self.gpu.put(self.taken.drain(..));
    }
}
