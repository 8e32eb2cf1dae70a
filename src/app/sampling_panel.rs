//! How many realisations, how exactly, from which seed; start, progress, stop.

use super::command::Command;
use super::session::{RunState, Session};
use super::theme;
use egui::{DragValue, RichText, Ui, vec2};

/// Draws it.
pub fn show(ui: &mut Ui, session: &Session, commands: &mut Vec<Command>) {
    ui.heading("Sampling");
    egui::Grid::new("sampling").num_columns(2).spacing(vec2(12.0, 6.0)).show(ui, |ui| {
        let mut samples = session.samples;
        let label = ui.label("Realisations");
        let field = DragValue::new(&mut samples).range(1..=200).speed(0.1);
        if ui.add(field).labelled_by(label.id).on_hover_text("Plausible answers to draw").changed() {
            commands.push(Command::Samples(samples));
        }
        ui.end_row();
        let mut steps = session.steps;
        let label = ui.label("Steps");
        let field = DragValue::new(&mut steps).range(1..=200).speed(0.2);
        let hover = "Network evaluations per realisation: the published system uses 50, 10 to 20 are enough for a look";
        if ui.add(field).labelled_by(label.id).on_hover_text(hover).changed() {
            commands.push(Command::Steps(steps));
        }
        ui.end_row();
        let label = ui.label("Seed");
        ui.horizontal(|ui| {
            let mut seed = session.seed;
            let field = DragValue::new(&mut seed).speed(0.1);
            let hover = "The same seed gives the same realisations";
            if ui.add(field).labelled_by(label.id).on_hover_text(hover).changed() {
                commands.push(Command::Seed(seed));
            }
            if ui.button("Next").on_hover_text("Another seed, so other realisations").clicked() {
                commands.push(Command::Seed(session.seed.wrapping_add(1)));
            }
        });
        ui.end_row();
    });
    if session.busy() {
        progress(ui, session, commands);
        return;
    }
    let request = session.request();
    let button =
        egui::Button::new(RichText::new("Generate").strong().color(egui::Color32::BLACK)).fill(theme::SYNTHETIC);
    let size = vec2(ui.available_width(), 32.0);
    if ui.add_enabled_ui(request.is_ok(), |ui| ui.add_sized(size, button)).inner.clicked() {
        commands.push(Command::Generate);
    }
    match &request {
        Err(reason) => {
            ui.label(RichText::new(reason.to_string()).small().color(theme::ALERT));
        }
        Ok(request) => {
            let given = request.roles.with(crate::sampler::Role::Given).len();
            let generated = request.roles.with(crate::sampler::Role::Generated).len();
            let text = format!("{generated} modalities from {given} given, {} realisations", request.samples);
            ui.label(RichText::new(text).small().weak());
        }
    }
}

fn progress(ui: &mut Ui, session: &Session, commands: &mut Vec<Command>) {
    let Some(run) = &session.run else { return };
    let (done, total, eta) = run.progress;
    let share = if total == 0 { 0.0 } else { done as f32 / total as f32 };
    let left = eta.map(|eta| format!(" · about {} s left", eta.as_secs() + 1)).unwrap_or_default();
    let text = if total == 0 { run.stage.clone() } else { format!("step {done} of {total}{left}") };
    ui.add(egui::ProgressBar::new(share).text(text).fill(theme::SYNTHETIC.gamma_multiply(0.7)));
    ui.horizontal(|ui| {
        let stopping = run.state == RunState::Stopping;
        if ui
            .add_enabled(!stopping, egui::Button::new("Stop"))
            .on_hover_text("Finished realisations are kept")
            .clicked()
        {
            commands.push(Command::Stop);
        }
        let stage = if stopping { "Stopping after this evaluation" } else { &run.stage };
        ui.label(RichText::new(format!("{stage} · {} finished", run.realisations.len())).small().weak());
    });
}
