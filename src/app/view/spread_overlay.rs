//! The spread over the map, as a callback into the window's own render pass.

use crate::app::view::shown::Spread;
use crate::ensemble::Samples;
use crate::gpu::{Overlay, OverlayView, can_run};
use crate::view;
use eframe::egui_wgpu::{self, CallbackResources, CallbackTrait, RenderState, ScreenDescriptor};
use egui::{PaintCallbackInfo, Pos2, Rect, Shape};

/// One frame of the overlay.
pub(crate) struct SpreadCallback {
    id: u64,
    samples: Samples,
    view: OverlayView,
}

/// Compiles the shaders into the window's resources; `false` if the adapter cannot run them.
pub(crate) fn install(state: &RenderState) -> bool {
    if !can_run(&state.device) {
        return false;
    }
    let overlay = Overlay::new(&state.device, state.target_format, &view::colour_steps());
    state.renderer.write().callback_resources.insert(overlay);
    true
}

impl SpreadCallback {
    /// The shape that draws a spread at these corners (north-west, north-east, south-east, south-west) of the screen,
    /// clipped to `clip`.
    pub(crate) fn shape(clip: Rect, corners: [Pos2; 4], spread: &Spread, range: [f32; 2], opacity: f32) -> Shape {
        let clip_space =
            |p: Pos2| [2.0 * (p.x - clip.left()) / clip.width() - 1.0, 1.0 - 2.0 * (p.y - clip.top()) / clip.height()];
        let view = OverlayView { corners: corners.map(clip_space), range, opacity };
        let callback = Self { id: spread.id, samples: spread.samples.clone(), view };
        Shape::Callback(egui_wgpu::Callback::new_paint_callback(clip, callback))
    }
}

impl CallbackTrait for SpreadCallback {
    fn prepare(
        &self,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        _screen: &ScreenDescriptor,
        _encoder: &mut wgpu::CommandEncoder,
        resources: &mut CallbackResources,
    ) -> Vec<wgpu::CommandBuffer> {
        if let Some(overlay) = resources.get_mut::<Overlay>()
            && let Err(error) = overlay.prepare(device, queue, self.id, &self.samples, &self.view)
        {
            tracing::error!("the overlay cannot be drawn: {error}");
        }
        Vec::new()
    }

    fn paint(&self, _info: PaintCallbackInfo, pass: &mut wgpu::RenderPass<'static>, resources: &CallbackResources) {
        if let Some(overlay) = resources.get::<Overlay>() {
            overlay.paint(pass);
        }
    }
}
