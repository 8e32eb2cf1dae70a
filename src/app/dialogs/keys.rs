//! What keys do: one list for the handler and for the sheet that explains it.

use crate::app::command::Command;
use crate::app::kit::widgets;
use crate::app::state::session::Session;
use crate::sampler::Role;
use egui::{Context, Grid, Key, KeyboardShortcut, Modifiers, RichText};

/// A key and what it does.
struct Binding {
    shortcut: KeyboardShortcut,
    what: &'static str,
    command: fn() -> Command,
    /// Whether it works while text is being typed.
    in_text: bool,
}

const fn plain(key: Key, what: &'static str, command: fn() -> Command) -> Binding {
    Binding { shortcut: KeyboardShortcut::new(Modifiers::NONE, key), what, command, in_text: false }
}

const fn command(key: Key, what: &'static str, command: fn() -> Command) -> Binding {
    Binding { shortcut: KeyboardShortcut::new(Modifiers::COMMAND, key), what, command, in_text: true }
}

/// Longer combinations first: a shorter one would take their key.
const BINDINGS: [Binding; 16] = [
    Binding {
        shortcut: KeyboardShortcut::new(Modifiers::COMMAND.plus(Modifiers::SHIFT), Key::Z),
        what: "Make the change again",
        command: || Command::Redo,
        in_text: false,
    },
    Binding { in_text: false, ..command(Key::Z, "Take the last change of roles or values back", || Command::Undo) },
    command(Key::Enter, "Generate", || Command::Generate),
    command(Key::M, "More realisations of the same kind", || Command::More),
    command(Key::E, "Export", || Command::ExportWindow(true)),
    command(Key::O, "Open a scene or a project", || Command::SceneWindow(true)),
    command(Key::K, "Find something to do", || Command::Palette(true)),
    plain(Key::Num1, "Give the modality that is shown", || Command::RoleOfShown(Role::Given)),
    plain(Key::Num2, "Generate it", || Command::RoleOfShown(Role::Generated)),
    plain(Key::Num3, "Ignore it", || Command::RoleOfShown(Role::Ignored)),
    plain(Key::P, "One realisation after another, or stop", || Command::TogglePlay),
    plain(Key::ArrowLeft, "The picture before this one", || Command::Step(-1)),
    plain(Key::ArrowRight, "The picture after this one", || Command::Step(1)),
    plain(Key::B, "Observed, and back", || Command::Blink),
    plain(Key::S, "Stop sampling", || Command::Stop),
    plain(Key::F1, "This sheet", || Command::KeySheet(true)),
];

/// The commands of keys that were pressed in this frame.
pub(crate) fn pressed(ctx: &Context, session: &Session) -> Vec<Command> {
    let typing = ctx.memory(|memory| memory.focused().is_some()) && ctx.egui_wants_keyboard_input();
    let usable = |binding: &&Binding| binding.in_text || !typing;
    let hit = |binding: &Binding| ctx.input_mut(|input| input.consume_shortcut(&binding.shortcut));
    let commands = BINDINGS.iter().filter(usable).filter(|binding| hit(binding)).map(|binding| (binding.command)());
    commands.filter(|command| possible(command, session)).collect()
}

/// Whether a key makes sense now; what a button would not allow, a key does not do.
fn possible(command: &Command, session: &Session) -> bool {
    match command {
        Command::More => session.more().is_ok(),
        Command::Stop => session.busy(),
        Command::TogglePlay => session.run().is_some_and(|run| run.realisations.len() > 1),
        Command::RoleOfShown(_) => session.observed.is_some(),
        Command::Undo => session.choices.can_undo(),
        Command::Redo => session.choices.can_redo(),
        Command::ExportWindow(_) => session.run().is_some_and(|run| !run.realisations.is_empty()),
        _ => true,
    }
}

/// What keys do and makes sense now, by name.
pub(crate) fn named(session: &Session) -> impl Iterator<Item = (String, Command)> {
    let all = BINDINGS.iter().map(|binding| (binding.what.to_owned(), (binding.command)()));
    all.filter(|(_, command)| !matches!(command, Command::Palette(_)) && possible(command, session))
}

/// Draws the sheet.
pub(crate) fn sheet(ctx: &Context, commands: &mut Vec<Command>) {
    let mut open = !widgets::escaped(ctx);
    let window = egui::Window::new("Keys").open(&mut open).resizable(false).collapsible(false);
    window.anchor(egui::Align2::CENTER_CENTER, egui::Vec2::ZERO).show(ctx, |ui| {
        Grid::new("keys").num_columns(2).spacing(egui::vec2(24.0, 6.0)).show(ui, |ui| {
            for binding in &BINDINGS {
                ui.label(RichText::new(ctx.format_shortcut(&binding.shortcut)).monospace());
                ui.label(binding.what);
                ui.end_row();
            }
        });
    });
    if !open {
        commands.push(Command::KeySheet(false));
    }
}
