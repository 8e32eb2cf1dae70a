//! The overlay of disagreement on the graphics card: one shader computes it, another draws it.

mod overlay;
mod spread;

pub use overlay::{Overlay, OverlayView};
pub use spread::{SpreadKernel, read_back};

/// Whether an adapter can run the shaders; those without storage buffers (old OpenGL) cannot.
pub fn can_run(device: &wgpu::Device) -> bool {
    let limits = device.limits();
    limits.max_storage_buffers_per_shader_stage >= 2 && limits.max_compute_invocations_per_workgroup >= 256
}
