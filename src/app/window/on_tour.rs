//! The window while a tour goes on.

use crate::app::window::explorer::ExplorerWindow;
use crate::app::window::tour::Tour;
use egui::Context;

/// See the module.
pub(crate) struct OnTour {
    /// The window.
    pub window: ExplorerWindow,
    /// Where the tour stands.
    pub tour: Tour,
}

impl eframe::App for OnTour {
    fn on_exit(&mut self) {
        self.window.on_exit();
    }

    fn logic(&mut self, ctx: &Context, frame: &mut eframe::Frame) {
        self.window.logic(ctx, frame);
        for command in self.tour.next(ctx, &self.window) {
            self.window.apply(command);
        }
    }

    fn ui(&mut self, ui: &mut egui::Ui, frame: &mut eframe::Frame) {
        self.window.ui(ui, frame);
    }
}
