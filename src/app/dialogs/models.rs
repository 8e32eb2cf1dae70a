//! The list of models: what each is, how much of it is here, and what can be done with it.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::state::models::{ModelTask, Models, TaskKind};
use crate::app::state::session::Session;
use crate::files::size_text;
use crate::hub::{InstallRequest, Listed, State};
use egui::{Align, Button, Layout, RichText, Ui};
use std::collections::{BTreeMap, BTreeSet};

const WIDTH: f32 = 640.0;

/// The window, and what is ticked in it.
#[derive(Default)]
pub(crate) struct ModelsForm {
    /// Whether it is open.
    pub open: bool,
    /// By model: modalities whose autoencoders are not to be fetched.
    left_out: BTreeMap<String, BTreeSet<String>>,
    /// Models to be stored in half precision.
    half: BTreeSet<String>,
    /// The model whose removal was asked for once.
    removing: Option<String>,
}

impl ModelsForm {
    /// Draws the window.
    pub(crate) fn show(
        &mut self,
        ctx: &egui::Context,
        session: &Session,
        models: &Models,
        commands: &mut Vec<Command>,
    ) {
        if !self.open {
            self.removing = None;
            return;
        }
        let mut open = !widgets::escaped(ctx);
        let window = egui::Window::new("Models").open(&mut open).resizable(false).collapsible(false);
        let most = (ctx.content_rect().height() - 140.0).max(200.0);
        window.anchor(egui::Align2::CENTER_CENTER, egui::Vec2::ZERO).show(ctx, |ui| {
            ui.set_width(WIDTH);
            egui::ScrollArea::vertical().auto_shrink([false, true]).max_height(most).min_scrolled_height(most).show(
                ui,
                |ui| {
                    ui.set_width(WIDTH - 26.0);
                    if models.listed.is_empty() {
                        ui.label(RichText::new("Looking for models …").weak());
                    }
                    for listed in &models.listed {
                        let frame = egui::Frame::group(ui.style()).fill(ui.visuals().faint_bg_color).inner_margin(10.0);
                        frame.show(ui, |ui| {
                            ui.set_width(WIDTH - 48.0);
                            ui.push_id(&listed.id, |ui| self.model(ui, session, models, listed, commands));
                        });
                        ui.add_space(2.0);
                    }
                    if let Some(dir) = &models.dir {
                        let text = format!("Models are installed in {}.", dir.display());
                        ui.label(RichText::new(text).small().weak());
                    }
                },
            );
        });
        if !open {
            commands.push(Command::ModelsWindow(false));
        }
    }

    fn model(&mut self, ui: &mut Ui, session: &Session, models: &Models, listed: &Listed, commands: &mut Vec<Command>) {
        let going = models.going.get(&listed.id);
        let used = session.model.as_ref().is_some_and(|model| model.dir == listed.dir);
        ui.horizontal(|ui| {
            ui.label(RichText::new(&listed.name).strong().size(15.0));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let (text, colour) = state(listed, going, used);
                ui.colored_label(theme::ink(ui.visuals(), colour), text);
            });
        });
        // Of a model whose manifest cannot be read, nothing more is known than why.
        if !listed.description.is_empty() {
            ui.label(&listed.description);
        }
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing.x = 4.0;
            if !listed.licence.is_empty() {
                ui.label(RichText::new("Licence:").small().weak());
                link(ui, &listed.licence, listed.licence_url.as_deref());
            }
            if let Some(page) = &listed.homepage {
                ui.label(RichText::new("·").small().weak());
                link(ui, "page of the model", Some(page));
            }
        });
        if !listed.attribution.is_empty() {
            ui.label(RichText::new(&listed.attribution).small().weak());
        }
        figures(ui, session, listed);
        self.autoencoders(ui, listed, going.is_some());
        match going {
            Some(going) => progress(ui, listed, going, commands),
            None => self.buttons(ui, session, listed, used, commands),
        }
        if let Some(outcome) = models.outcomes.get(&listed.id) {
            let colour = if outcome.problem { theme::ALERT } else { theme::OBSERVED };
            ui.colored_label(theme::ink(ui.visuals(), colour), &outcome.text);
        }
    }

    /// Which autoencoders are here, and which are wanted.
    fn autoencoders(&mut self, ui: &mut Ui, listed: &Listed, busy: bool) {
        let several = listed.parts.iter().filter(|part| !part.modalities.is_empty());
        let (several, missing) = (several.clone().count() > 1, listed.parts.iter().any(|part| !part.here));
        if !several || !missing {
            return;
        }
        let left_out = self.left_out.entry(listed.id.clone()).or_default();
        ui.label(RichText::new("Autoencoders; a modality can be given or generated only with its own:").small());
        ui.horizontal_wrapped(|ui| {
            for part in listed.parts.iter().filter(|part| !part.modalities.is_empty()) {
                let name = part.modalities.join(", ");
                let mut wanted = part.here || !left_out.contains(&name);
                let response =
                    ui.add_enabled(!part.here && !busy, egui::Checkbox::new(&mut wanted, RichText::new(&name).small()));
                let label = format!("Fetch {} {name}", listed.id);
                widgets::choice(&response, egui::Role::CheckBox, !part.here && !busy, wanted, &label);
                let response = response.on_hover_text(size_text(part.bytes)).on_disabled_hover_text("installed");
                if response.changed() {
                    if wanted {
                        left_out.remove(&name)
                    } else {
                        left_out.insert(name)
                    };
                }
            }
        });
    }

    fn wanted<'a>(&self, listed: &'a Listed) -> Vec<&'a crate::hub::ListedPart> {
        let left_out = self.left_out.get(&listed.id);
        let out = |names: &[String]| left_out.is_some_and(|left_out| left_out.contains(&names.join(", ")));
        listed.parts.iter().filter(|part| !part.here && !out(&part.modalities)).collect()
    }

    fn buttons(&mut self, ui: &mut Ui, session: &Session, listed: &Listed, used: bool, commands: &mut Vec<Command>) {
        let named = |ui: &mut Ui, enabled: bool, text: &str| {
            let response = ui.add_enabled(enabled, Button::new(text));
            let word = text.split(' ').next().unwrap_or_default();
            widgets::named(&response, egui::Role::Button, format!("{word} {}", listed.id));
            response
        };
        let wanted = self.wanted(listed);
        let bytes: u64 = wanted.iter().map(|part| part.bytes).sum();
        ui.horizontal(|ui| {
            if !used && listed.usable() && named(ui, true, "Use").clicked() {
                commands.push(Command::UseModel(listed.dir.clone()));
            }
            if listed.parts.iter().any(|part| !part.here) {
                let text = match listed.state {
                    State::Begun => format!("Download the rest ({})", size_text(bytes)),
                    _ => format!("Download ({})", size_text(bytes)),
                };
                let response = named(ui, !session.offline && !wanted.is_empty(), &text);
                let hover = "About so much; what is interrupted goes on where it stopped";
                let why = if session.offline { "Switch the network on first" } else { "Tick an autoencoder first" };
                if response.on_hover_text(hover).on_disabled_hover_text(why).clicked() {
                    let names = listed.parts.iter().filter(|part| part.here || wanted.contains(part));
                    let modalities = names.flat_map(|part| part.modalities.clone()).collect();
                    let half = listed.half || self.half.contains(&listed.id);
                    commands.push(Command::FetchModel(InstallRequest {
                        id: listed.id.clone(),
                        modalities: Some(modalities),
                        half,
                    }));
                }
            }
            if listed.usable() && named(ui, true, "Verify").on_hover_text("Compare every file with its hash").clicked()
            {
                commands.push(Command::VerifyModel(listed.id.clone()));
            }
            if listed.removable && !used && widgets::removal(ui, true, &mut self.removing, &listed.id, &listed.id) {
                commands.push(Command::RemoveModel(listed.id.clone()));
            }
            if listed.state == State::Absent {
                let mut half = self.half.contains(&listed.id);
                let hover = "Weights of 16 bits: half the room on disk, and a little less exact";
                let response = ui.checkbox(&mut half, RichText::new("half precision").small()).on_hover_text(hover);
                widgets::choice(&response, egui::Role::CheckBox, true, half, &format!("Half {}", listed.id));
                if response.changed() {
                    if half {
                        self.half.insert(listed.id.clone())
                    } else {
                        self.half.remove(&listed.id)
                    };
                }
            }
        });
    }
}

fn link(ui: &mut Ui, text: &str, url: Option<&str>) {
    let text = RichText::new(text).small();
    match url {
        Some(url) => ui.hyperlink_to(text, url).on_hover_text(url),
        None => ui.label(text),
    };
}

fn state(listed: &Listed, going: Option<&ModelTask>, used: bool) -> (&'static str, egui::Color32) {
    match (&listed.state, going) {
        (_, Some(going)) if going.kind == TaskKind::Fetching => ("downloading", theme::SYNTHETIC),
        _ if used => ("in use", theme::OBSERVED),
        (State::Bundled, _) => ("bundled", theme::OBSERVED),
        (State::Installed, _) => ("installed", theme::OBSERVED),
        (State::Partly, _) => ("partly installed", theme::SYNTHETIC),
        (State::Begun, _) => ("begun", theme::SYNTHETIC),
        (State::Absent, _) => ("not here", theme::IGNORED),
        (State::Broken(_), _) => ("cannot be read", theme::ALERT),
    }
}

/// Sizes, and the memory it needs against what is free.
fn figures(ui: &mut Ui, session: &Session, listed: &Listed) {
    if let State::Broken(problem) = &listed.state {
        ui.colored_label(theme::ink(ui.visuals(), theme::ALERT), problem);
        return;
    }
    let mut parts = Vec::new();
    if listed.bytes > 0 {
        let half = if listed.half { " in half precision" } else { "" };
        parts.push(format!("{} on disk{half}", size_text(listed.bytes)));
    }
    if listed.missing_bytes() > 0 {
        parts.push(format!("about {} not here", size_text(listed.missing_bytes())));
    }
    let short = session.memory_limit.is_some_and(|limit| listed.memory_bytes > limit);
    let free = session.memory_limit.map(|limit| format!(", {} are free", size_text(limit))).unwrap_or_default();
    parts.push(format!("a run with all of it takes about {} of memory{free}", size_text(listed.memory_bytes)));
    let text = RichText::new(parts.join(" · ")).small();
    match short {
        true => ui.colored_label(theme::ink(ui.visuals(), theme::ALERT), text),
        false => ui.label(text.weak()),
    };
}

fn progress(ui: &mut Ui, listed: &Listed, going: &ModelTask, commands: &mut Vec<Command>) {
    let progress = &going.progress;
    let share = if progress.total > 0 { progress.done as f32 / progress.total as f32 } else { 0.0 };
    ui.horizontal(|ui| {
        let bar = egui::ProgressBar::new(share).desired_width(ui.available_width() - 90.0);
        ui.add(bar.fill(theme::SYNTHETIC.gamma_multiply(0.7)).show_percentage());
        if going.kind == TaskKind::Removing {
            return;
        }
        let response = ui.button("Cancel");
        widgets::named(&response, egui::Role::Button, format!("Cancel {}", listed.id));
        let hover = if going.kind == TaskKind::Fetching { "What has arrived is kept" } else { "Nothing is changed" };
        if response.on_hover_text(hover).clicked() {
            commands.push(Command::StopModel(listed.id.clone()));
        }
    });
    let mut text = progress.what.clone();
    if progress.total > 0 {
        text += &format!(" · {} of {}", size_text(progress.done), size_text(progress.total));
    }
    let pace = progress.pace();
    if !pace.is_empty() {
        text += &format!(" · {pace}");
    }
    ui.label(RichText::new(text).small());
}
