//! Everything that can be done, found by typing.

use crate::app::command::Command;
use crate::app::command::FileChoice;
use crate::app::dialogs::keys;
use crate::app::state::guide::GuideStep;
use crate::app::state::place::Selection;
use crate::app::state::questions::Question;
use crate::app::state::session::Session;
use egui::{Key, RichText};

/// At most so many are listed.
const LISTED: usize = 12;

/// What is being typed; closed without text.
#[derive(Default)]
pub(crate) struct Palette {
    /// Whether it is open.
    pub open: bool,
    text: String,
    chosen: usize,
}

impl Palette {
    /// Opens or closes it.
    pub(crate) fn set(&mut self, open: bool) {
        *self = Self { open, ..Self::default() };
    }

    /// Draws it; Enter does what is chosen, the arrows choose.
    pub(crate) fn show(&mut self, ctx: &egui::Context, session: &Session, commands: &mut Vec<Command>) {
        if !self.open {
            return;
        }
        let [up, down, enter, escape] = [Key::ArrowUp, Key::ArrowDown, Key::Enter, Key::Escape]
            .map(|key| ctx.input_mut(|input| input.consume_key(egui::Modifiers::NONE, key)));
        let found = found(session, &self.text);
        self.chosen = (self.chosen + usize::from(down)).saturating_sub(usize::from(up));
        self.chosen = self.chosen.min(found.len().saturating_sub(1));
        let mut done = enter.then(|| found.get(self.chosen).map(|(_, command)| command.clone()));
        let top = ctx.content_rect().center_top() + egui::vec2(0.0, 90.0);
        let window = egui::Window::new("Do").title_bar(false).resizable(false).pivot(egui::Align2::CENTER_TOP);
        window.fixed_pos(top).show(ctx, |ui| {
            ui.set_width(420.0);
            let field =
                egui::TextEdit::singleline(&mut self.text).hint_text("What to do?").desired_width(f32::INFINITY);
            let response = ui.add(field);
            crate::app::kit::widgets::named(&response, egui::Role::TextInput, "What to do");
            response.request_focus();
            if response.changed() {
                self.chosen = 0;
            }
            for (i, (name, command)) in found.iter().enumerate() {
                if ui.selectable_label(i == self.chosen, name).clicked() {
                    done = Some(Some(command.clone()));
                }
            }
            if found.is_empty() {
                ui.label(RichText::new("Nothing is called that.").weak());
            }
        });
        if done.is_some() || escape {
            commands.extend(done.flatten());
            commands.push(Command::Palette(false));
        }
    }
}

/// All that can be done now.
fn all(session: &Session) -> Vec<(String, Command)> {
    let mut all: Vec<(String, Command)> = keys::named(session).collect();
    let questions = Question::ALL.into_iter().filter(|question| session.choices_for(*question).is_ok());
    all.extend(questions.map(|question| (format!("Question: {}", question.name()), Command::Ask(question))));
    all.push(("Find open data of this place".into(), Command::DataWindow(true)));
    let text = if session.offline { "Switch the network on" } else { "Switch the network off" };
    all.push((text.into(), Command::Offline(!session.offline)));
    let layers = session.layers.all().into_iter();
    all.extend(layers.map(|layer| (format!("Base map: {}", session.layers.name(&layer)), Command::Basemap(layer))));
    all.push(("Open a map file".into(), Command::ChooseFolder(FileChoice::MapFile)));
    all.push(("Light colours".into(), Command::Theme(egui::Theme::Light)));
    all.push(("Dark colours".into(), Command::Theme(egui::Theme::Dark)));
    all.push(("Save the project".into(), Command::ProjectWindow(true)));
    all.push(("Models: fetch, use, check, remove".into(), Command::ModelsWindow(true)));
    all.push(("Guide".into(), Command::Guide(Some(GuideStep::Look))));
    let modalities = session.table().into_iter().flat_map(|table| table.iter().enumerate());
    all.extend(modalities.map(|(i, m)| (format!("Show {}", m.name), Command::Modality(i))));
    let scenes = session.scenes.iter().enumerate();
    all.extend(scenes.map(|(i, known)| (format!("Go to {}", known.scene.name()), Command::Pick(Selection::Scene(i)))));
    all
}

/// Those that hold every word of the text.
fn found(session: &Session, text: &str) -> Vec<(String, Command)> {
    let text = text.to_lowercase();
    let place =
        crate::app::state::find::place(&text).map(|_| (format!("Go to {}", text.trim()), Command::Find(text.clone())));
    let holds = |name: &str| text.split_whitespace().all(|word| name.to_lowercase().contains(word));
    let named = all(session).into_iter().filter(|(name, _)| holds(name));
    place.into_iter().chain(named).take(LISTED).collect()
}
