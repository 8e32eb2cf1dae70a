//! One frame of the window: takes what has come, lays out the panels, and carries out what they ask for.

use crate::app::command::Command;
use crate::app::dialogs::keys;
use crate::app::kit::theme;
use crate::app::panels::{area, gallery, guide, inspector, notes, open_data_offer, roles, sampling};
use crate::app::window::explorer::ExplorerWindow;
use egui::{CentralPanel, Context, Panel, Ui};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long each realisation stays while one is shown after another.
const FRAME_OF_PLAY: Duration = Duration::from_millis(700);

impl eframe::App for ExplorerWindow {
    /// Keeps the last state, and waits for what is kept and written; what would only be shown is dropped.
    fn on_exit(&mut self) {
        self.worker.cancel();
        self.keep_all();
        self.queue.close();
    }

    fn logic(&mut self, ctx: &Context, _frame: &mut eframe::Frame) {
        let begun = Instant::now();
        self.take_answers();
        self.take_events();
        if let Some(rest) = self.keep() {
            ctx.request_repaint_after(rest);
        }
        if let Some(since) = self.shown.playing {
            if since.elapsed() >= FRAME_OF_PLAY {
                self.shown.play(&self.session.pinned());
            }
            ctx.request_repaint_after(FRAME_OF_PLAY);
        }
        if self.memory_looked.is_none_or(|at| at.elapsed() > Duration::from_secs(2)) {
            self.session.memory_limit = crate::process::memory_limit();
            self.memory_looked = Some(Instant::now());
        }
        let dropped: Vec<PathBuf> =
            ctx.input(|input| input.raw.dropped_files.iter().map(|file| file.path().to_path_buf()).collect());
        if !dropped.is_empty() {
            self.apply(Command::OpenPaths(dropped));
        }
        self.session.hold_used();
        self.logic_took = begun.elapsed();
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        let begun = Instant::now();
        let mut commands = Vec::new();
        let ctx = ui.ctx().clone();
        self.shown.follow_painting(&ctx, &self.session);
        self.shown.follow_keeping(&ctx, &self.session);
        // Those on top first: Escape closes one of them.
        self.palette.show(&ctx, &self.session, &mut commands);
        self.files_form.show(&ctx, &mut commands);
        self.cells_form.show(&ctx, &mut commands);
        self.form.show(&ctx, &self.session, &self.shown, &mut commands);
        self.scene_form.show(&ctx, &self.recent, &mut commands);
        self.models_form.show(&ctx, &self.session, &self.models, &mut commands);
        self.project_form.show(&ctx, &mut commands);
        self.data.show(&ctx, &self.session, &mut commands);
        if self.key_sheet {
            keys::sheet(&ctx, &mut commands);
        }
        Panel::top("top").frame(theme::bar(&ctx)).show(ui, |ui| {
            self.top_bar.show(ui, &self.session, self.map.names(), &mut commands);
        });
        Panel::left("roles").frame(theme::panel(&ctx)).exact_size(348.0).show(ui, |ui| {
            let frame = egui::Frame::new().inner_margin(egui::Margin { top: 6, ..Default::default() });
            Panel::bottom("sampling").frame(frame).show(ui, |ui| {
                sampling::show(ui, &self.session, &mut commands);
            });
            egui::ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
                roles::show(ui, &self.session, &self.shown, &mut commands);
            });
        });
        let gallery = match self.session.run() {
            Some(_) => {
                let most = (ctx.content_rect().height() - 260.0).max(170.0);
                Panel::bottom("gallery").resizable(true).default_size(208.0).size_range(150.0..=most)
            }
            None => Panel::bottom("no gallery").exact_size(42.0),
        };
        gallery.frame(theme::panel(&ctx)).show(ui, |ui| {
            gallery::show(ui, &self.session, &self.shown, &mut commands);
        });
        CentralPanel::no_frame().show(ui, |ui| {
            let map = ui.max_rect();
            commands.extend(self.map.show(ui, &self.session, &self.shown, self.overlay));
            if let Some(step) = self.guide.filter(|_| self.session.observed.is_some()) {
                guide::show(&ctx, map, &self.session, &self.shown, step, &mut commands);
            }
            if !self.data.open {
                open_data_offer::show(&ctx, map, &self.session, &mut commands);
            }
            notes::show(&ctx, map, &self.session, &mut commands);
            area::show(&ctx, map, &self.session, &self.shown, &mut commands);
            if let Some(spot) = self.shown.spot.filter(|_| self.session.observed.is_some()) {
                inspector::show(&ctx, map, &self.session, spot, &mut commands);
            }
        });
        commands.extend(keys::pressed(&ctx, &self.session));
        for command in commands {
            self.apply(command);
        }
        self.session.hold_used();
        self.frames.add(begun.elapsed() + self.logic_took, self.session.busy());
    }
}
