//! Names for widgets that show none (for screen readers, and for tests that find widgets as a person would), and lines
//! that several windows share.

use egui::{Response, Role, WidgetInfo};

/// Names a widget.
pub(crate) fn named(response: &Response, role: Role, name: impl AsRef<str>) {
    response.widget_info(|| WidgetInfo::labeled(role, response.enabled(), name.as_ref()));
}

/// Names a widget that is on or off.
pub(crate) fn choice(response: &Response, role: Role, enabled: bool, on: bool, name: &str) {
    response.widget_info(|| WidgetInfo::selected(role, enabled, on, name));
}

/// A button that removes a thing for good, and asks once more before; whether it was pressed twice.
pub(crate) fn removal<T: PartialEq + Clone>(
    ui: &mut egui::Ui,
    enabled: bool,
    asked: &mut Option<T>,
    thing: &T,
    name: &str,
) -> bool {
    let sure = asked.as_ref() == Some(thing);
    let text = if sure { "Remove for good?" } else { "Remove" };
    let button = ui.add_enabled(enabled, egui::Button::new(text));
    named(&button, Role::Button, format!("{text} {name}"));
    let pressed = button.on_disabled_hover_text("It is in use: picked, or a run was made of it").clicked();
    if pressed {
        *asked = (!sure).then(|| thing.clone());
    }
    pressed && sure
}

/// Whether Escape was pressed and nothing has taken it yet; takes it.
pub(crate) fn escaped(ctx: &egui::Context) -> bool {
    ctx.input_mut(|input| input.consume_key(egui::Modifiers::NONE, egui::Key::Escape))
}
