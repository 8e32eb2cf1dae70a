//! A short path from the first place to a first result, for those who open the program for the first time.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::state::guide::GuideStep;
use crate::app::state::questions::Question;
use crate::app::state::session::Session;
use crate::app::view::shown::{Base, Shown};
use egui::{Align2, Area, Frame, Rect, RichText, vec2};

/// Realisations and evaluations that are quick on a laptop.
const SAMPLES: usize = 4;
const STEPS: usize = 12;

/// Draws the card; `step` is where the path stands.
pub(crate) fn show(
    ctx: &egui::Context,
    map: Rect,
    session: &Session,
    shown: &Shown,
    step: GuideStep,
    commands: &mut Vec<Command>,
) {
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
                for (name, command) in choices(now, session, shown) {
                    if ui.button(name).clicked() {
                        commands.extend(command);
                    }
                }
                ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                    let last = now == GuideStep::Compare;
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

fn choices(step: GuideStep, session: &Session, shown: &Shown) -> Vec<(&'static str, Vec<Command>)> {
    match step {
        GuideStep::Look => vec![("Go on", vec![Command::Guide(Some(GuideStep::Ask))])],
        GuideStep::Ask => vec![(
            "Ask: cloud-free view",
            vec![Command::Ask(Question::CloudFree), Command::Guide(Some(GuideStep::Generate))],
        )],
        GuideStep::Generate if session.request().is_ok() => {
            vec![("Generate", vec![Command::Samples(SAMPLES), Command::Steps(STEPS), Command::Generate])]
        }
        GuideStep::Generate | GuideStep::Wait => Vec::new(),
        GuideStep::Compare => {
            let wanted = !shown.spread_wanted;
            vec![
                (if wanted { "Show variance" } else { "Hide variance" }, vec![Command::Spread(wanted)]),
                ("Show observed", vec![Command::Base(Base::Observed)]),
            ]
        }
    }
}
