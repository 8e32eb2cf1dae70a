//! A short path from the first place to a first result, for those who open the program for the first time.

use super::command::Command;
use super::presets::Preset;
use super::session::Session;
use super::shown::{Base, Shown};
use super::{theme, widgets};
use egui::{Align2, Area, Frame, Rect, RichText, vec2};

/// Realisations and evaluations that are quick on a laptop.
const SAMPLES: usize = 4;
const STEPS: usize = 12;

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Look around.
    Look,
    /// Ask.
    Ask,
    /// Sample.
    Generate,
    /// Wait.
    Wait,
    /// See where realisations differ.
    Compare,
}

impl Step {
    /// The step that fits what has happened since.
    fn now(self, session: &Session) -> Self {
        match self {
            Self::Generate if session.busy() => Self::Wait,
            Self::Wait if !session.busy() && session.run().is_some_and(|run| !run.realisations.is_empty()) => {
                Self::Compare
            }
            Self::Wait if !session.busy() => Self::Generate,
            other => other,
        }
    }

    fn text(self) -> [&'static str; 2] {
        match self {
            Self::Look => [
                "A place, as satellites saw it",
                "The list at the left holds all that is known here: radar, elevation, land cover, optical bands. What is green \
                 is given to the model; what is orange it has to make up.",
            ],
            Self::Ask => [
                "A question",
                "What does the ground look like under a clear sky, as radar, elevation and land cover tell? There are more under \
                 Questions.",
            ],
            Self::Generate => [
                "Many answers",
                "The link between sensors is one-to-many, so the model draws several plausible answers. It takes seconds.",
            ],
            Self::Wait => ["Sampling", "Each realisation starts from its own noise and becomes clearer step by step."],
            Self::Compare => [
                "Where they disagree",
                "Click realisations below, or press the arrow keys; B shows what was observed. Variance shows where the \
                 realisations differ. They are synthetic, and this model is a small demonstration.",
            ],
        }
    }
}

/// Draws the card; `step` is where the path stands.
pub fn show(ctx: &egui::Context, map: Rect, session: &Session, shown: &Shown, step: Step, commands: &mut Vec<Command>) {
    let now = step.now(session);
    if now != step {
        commands.push(Command::Guide(Some(now)));
    }
    let area = Area::new(egui::Id::unique("guide"))
        .pivot(Align2::CENTER_BOTTOM)
        .fixed_pos(map.center_bottom() + vec2(0.0, -40.0))
        .constrain_to(map);
    area.show(ctx, |ui| {
        let frame = Frame::popup(ui.style()).inner_margin(14.0).stroke(egui::Stroke::new(1.5, theme::PICKED));
        frame.show(ui, |ui| {
            ui.set_width(380.0);
            let [title, text] = now.text();
            ui.label(RichText::new(title).strong());
            ui.label(text);
            ui.horizontal(|ui| {
                for (name, wish) in choices(now, session, shown) {
                    if ui.button(name).clicked() {
                        commands.extend(wish);
                    }
                }
                ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                    let last = now == Step::Compare;
                    let button = ui.button(if last { "Done" } else { "Skip" });
                    widgets::named(&button, egui::Role::Button, "Close the guide");
                    if button.clicked() {
                        commands.push(Command::Guide(None));
                    }
                });
            });
        });
    });
}

fn choices(step: Step, session: &Session, shown: &Shown) -> Vec<(&'static str, Vec<Command>)> {
    match step {
        Step::Look => vec![("Go on", vec![Command::Guide(Some(Step::Ask))])],
        Step::Ask => vec![(
            "Ask: cloud-free view",
            vec![Command::Preset(Preset::CloudFree), Command::Guide(Some(Step::Generate))],
        )],
        Step::Generate if session.request().is_ok() => {
            vec![("Generate", vec![Command::Samples(SAMPLES), Command::Steps(STEPS), Command::Generate])]
        }
        Step::Generate | Step::Wait => Vec::new(),
        Step::Compare => {
            let wanted = !shown.spread_wanted;
            vec![
                (if wanted { "Show variance" } else { "Hide variance" }, vec![Command::Spread(wanted)]),
                ("Show observed", vec![Command::Base(Base::Observed)]),
            ]
        }
    }
}
