//! A graphics adapter that computes: its device, what went wrong with it, and its memory.

use super::kernel::Kernel;
use crate::error::{Error, Result};
use crate::model::Precision;
use half::f16;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wgpu::{BufferUsages, DeviceType};

/// Bytes of uploads that may wait in the driver's own memory.
const PENDING: u64 = 64 << 20;
/// Workgroup memory of the largest kernel, bytes.
const WORKGROUP_BYTES: u32 = 24 << 10;
/// Percent of a graphics memory that may be taken before an allocation fails, where the backend can tell (Vulkan, DX12):
/// beyond it the system would move memory about, or the window would lose its own.
const MEMORY_SHARE: u8 = 90;

/// The graphics adapters of this machine.
pub struct Adapters {
    all: Vec<wgpu::Adapter>,
}

impl Adapters {
    /// Asks the system.
    pub fn find() -> Self {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::PRIMARY;
        descriptor.memory_budget_thresholds.for_resource_creation = Some(MEMORY_SHARE);
        let instance = wgpu::Instance::new(descriptor);
        let mut all = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
        // Stable: equals stay in the system's order.
        all.sort_by_key(|adapter| rank(adapter.get_info().device_type));
        Self { all }
    }

    /// Names, best first: `NVIDIA GeForce RTX 4070 (Vulkan)`; software says so.
    pub fn names(&self) -> Vec<String> {
        self.all.iter().map(|adapter| name(&adapter.get_info())).collect()
    }

    /// Opens the best one; software only if `software` allows it.
    ///
    /// # Errors
    /// When there is none, or it cannot run the shaders.
    pub fn open(&self, software: bool, precision: Precision) -> Result<Gpu> {
        let hardware = |adapter: &&wgpu::Adapter| {
            matches!(adapter.get_info().device_type, DeviceType::DiscreteGpu | DeviceType::IntegratedGpu)
        };
        let adapter = self.all.first().filter(|adapter| software || hardware(adapter)).ok_or_else(|| {
            Error::Device("There is no graphics adapter with Vulkan, Metal or DirectX 12 here; compute on cpu.".into())
        })?;
        Gpu::open(adapter, precision, adapter.limits())
    }

    /// Opens the best one with no more than these limits.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_limited(&self, precision: Precision, limit: impl FnOnce(&mut wgpu::Limits)) -> Result<Gpu> {
        let adapter = self.all.first().ok_or_else(|| Error::Device("There is no graphics adapter here.".into()))?;
        let mut limits = adapter.limits();
        limit(&mut limits);
        Gpu::open(adapter, precision, limits)
    }
}

fn rank(kind: DeviceType) -> u8 {
    match kind {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

fn name(info: &wgpu::AdapterInfo) -> String {
    let software = if info.device_type == DeviceType::Cpu { ", software" } else { "" };
    format!("{} ({}{software})", info.name, info.backend)
}

/// Memory on the adapter that a network reads or writes, counted in quads of float32.
#[derive(Debug, Clone)]
pub(super) struct Area {
    pub buffer: wgpu::Buffer,
    pub quads: usize,
}

/// A weight matrix on the adapter.
#[derive(Debug, Clone)]
pub(super) struct Matrix {
    pub area: Area,
    pub half: bool,
    /// Outputs, a multiple of four.
    pub rows: usize,
    /// Inputs, a multiple of four.
    pub inner: usize,
}

/// An open adapter.
#[derive(Debug)]
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    name: String,
    limits: wgpu::Limits,
    precision: Precision,
    kernels: Mutex<HashMap<Kernel, wgpu::ComputePipeline>>,
    /// Memory between the layers of networks; all share it, for only one runs at a time.
    pool: Mutex<Vec<Area>>,
    running: Mutex<()>,
    trouble: Arc<Mutex<Option<String>>>,
    lost: Arc<AtomicBool>,
    pending: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpu {
    fn open(adapter: &wgpu::Adapter, precision: Precision, limits: wgpu::Limits) -> Result<Self> {
        let name = name(&adapter.get_info());
        if limits.max_compute_workgroup_storage_size < WORKGROUP_BYTES
            || limits.max_storage_buffers_per_shader_stage < 6
            || limits.max_compute_invocations_per_workgroup < 256
        {
            return Err(Error::Device(format!("{name} is too small for the networks' shaders; compute on cpu.")));
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("networks"),
            required_limits: limits.clone(),
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|e| Error::Device(format!("{name} cannot be opened: {e}. Compute on cpu.")))?;
        let (trouble, lost) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        // Without these two, wgpu would panic.
        let first = trouble.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            locked(&first).get_or_insert(match error {
                wgpu::Error::OutOfMemory { .. } => {
                    "it has no memory left; compute fewer realisations together, or on cpu".to_owned()
                }
                error => error.to_string(),
            });
        }));
        let gone = lost.clone();
        device.set_device_lost_callback(move |_, _| gone.store(true, Ordering::Relaxed));
        Ok(Self {
            device,
            queue,
            name,
            limits,
            precision,
            kernels: Mutex::default(),
            pool: Mutex::default(),
            running: Mutex::default(),
            trouble,
            lost,
            pending: AtomicU64::new(0),
        })
    }

    /// Its name and how it is reached: `NVIDIA GeForce RTX 4070 (Vulkan)`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How weights are held.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Whether it stopped working; it then stays so, and has to be opened anew.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Gives the device up, as if the driver had taken it away: everything afterwards fails with an error.
    pub fn destroy(&self) {
        self.device.destroy();
        // Delivers the news; that it fails is the news.
        let _ = self.device.poll(wgpu::PollType::Poll);
    }

    pub(super) fn device(&self) -> &wgpu::Device {
        &self.device
    }

    pub(super) fn limits(&self) -> &wgpu::Limits {
        &self.limits
    }

    /// What went wrong since the last call, if anything did.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_lost() {
            return Err(self.failed("the device was lost (driver reset, or the adapter was removed)"));
        }
        match locked(&self.trouble).take() {
            None => Ok(()),
            Some(what) => Err(self.failed(&what)),
        }
    }

    fn failed(&self, what: &str) -> Error {
        Error::Device(format!("{} failed: {what}.", self.name))
    }

    /// New memory.
    pub(super) fn allocate(&self, label: &str, bytes: usize) -> Result<wgpu::Buffer> {
        let limit = self.limits.max_buffer_size.min(self.limits.max_storage_buffer_binding_size);
        let size = (bytes.max(16) as u64).next_multiple_of(16);
        if size > limit {
            return Err(Error::Device(format!(
                "{} allows buffers of {} MB, but {label} needs {} MB; compute on cpu.",
                self.name,
                limit >> 20,
                size.div_ceil(1 << 20)
            )));
        }
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let buffer = self.device.create_buffer(&descriptor);
        self.check()?;
        Ok(buffer)
    }

    /// Copies values to the adapter.
    pub(super) fn upload(&self, label: &str, values: &[f32]) -> Result<Area> {
        let buffer = self.allocate(label, 4 * values.len())?;
        self.write(&buffer, bytemuck::cast_slice(values))?;
        Ok(Area { buffer, quads: values.len() / 4 })
    }

    /// Copies a weight matrix to the adapter; `rows` times `inner` values, both multiples of four.
    pub(super) fn upload_matrix(&self, label: &str, values: &[f32], inner: usize, half: bool) -> Result<Matrix> {
        let rows = values.len() / inner.max(1);
        let area = if half {
            let halves: Vec<u16> = values.iter().map(|&v| f16::from_f32(v).to_bits()).collect();
            let buffer = self.allocate(label, 2 * halves.len())?;
            self.write(&buffer, bytemuck::cast_slice(&halves))?;
            Area { buffer, quads: values.len() / 8 }
        } else {
            self.upload(label, values)?
        };
        Ok(Matrix { area, half, rows, inner })
    }

    fn write(&self, buffer: &wgpu::Buffer, bytes: &[u8]) -> Result<()> {
        self.queue.write_buffer(buffer, 0, bytes);
        // Written bytes wait in memory of their own until something is submitted.
        let waiting = self.pending.fetch_add(bytes.len() as u64, Ordering::Relaxed) + bytes.len() as u64;
        if waiting > PENDING {
            self.pending.store(0, Ordering::Relaxed);
            self.queue.submit([]);
            self.wait()?;
        }
        self.check()
    }

    /// Numbers that a dispatch reads; a multiple of 16 bytes.
    pub(super) fn uniform(&self, bytes: &[u8]) -> wgpu::Buffer {
        let usage = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
        let size = bytes.len() as u64;
        let descriptor = wgpu::BufferDescriptor { label: Some("shape"), size, usage, mapped_at_creation: false };
        let buffer = self.device.create_buffer(&descriptor);
        self.queue.write_buffer(&buffer, 0, bytes);
        buffer
    }

    fn wait(&self) -> Result<()> {
        let done = self.device.poll(wgpu::PollType::wait_indefinitely());
        done.map(|_| ()).map_err(|e| self.failed(&e.to_string()))
    }

    /// The smallest free memory between layers that holds this many quads, or new memory.
    pub(super) fn take(&self, quads: usize) -> Result<Area> {
        let mut pool = locked(&self.pool);
        let fitting = pool.iter().enumerate().filter(|(_, area)| area.quads >= quads);
        if let Some((i, _)) = fitting.min_by_key(|(_, area)| area.quads) {
            return Ok(pool.swap_remove(i));
        }
        drop(pool);
        Ok(Area { buffer: self.allocate("the space between layers", 16 * quads)?, quads })
    }

    /// Gives memory between layers back.
    pub(super) fn put(&self, areas: impl IntoIterator<Item = Area>) {
        locked(&self.pool).extend(areas);
    }

    /// The pipeline of a kernel, compiled at first use.
    pub(super) fn pipeline(&self, kernel: Kernel) -> Result<wgpu::ComputePipeline> {
        let mut kernels = locked(&self.kernels);
        if let Some(pipeline) = kernels.get(&kernel) {
            return Ok(pipeline.clone());
        }
        let pipeline = kernel.compile(&self.device);
        self.check()?;
        kernels.insert(kernel, pipeline.clone());
        Ok(pipeline)
    }

    /// Writes inputs (where, first value, values), submits work, waits, and reads what the work left in `staging`. One at
    /// a time.
    pub(super) fn run(
        &self,
        inputs: &[(&Area, usize, &[f32])],
        submit: impl FnOnce(&wgpu::Device, &wgpu::Queue),
        staging: &wgpu::Buffer,
    ) -> Result<Vec<f32>> {
        let _alone = locked(&self.running);
        self.check()?;
        for (area, at, values) in inputs {
            self.queue.write_buffer(&area.buffer, 4 * *at as u64, bytemuck::cast_slice(values));
        }
        submit(&self.device, &self.queue);
        self.check()?;
        let (send, receive) = crossbeam_channel::bounded(1);
        staging.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            // The receiver waits below.
            let _ = send.send(result);
        });
        self.wait()?;
        self.check()?;
        receive.try_recv().map_err(|e| self.failed(&e.to_string()))?.map_err(|e| self.failed(&e.to_string()))?;
        let view = staging.slice(..).get_mapped_range().map_err(|e| self.failed(&e.to_string()))?;
        let values = view.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect();
        drop(view);
        staging.unmap();
        self.check()?;
        Ok(values)
    }
}
