//! Names for widgets that show none: for screen readers, and for tests that find widgets as a person would.

use egui::{Response, Role, WidgetInfo};

/// Names a widget.
pub fn named(response: &Response, role: Role, name: impl AsRef<str>) {
    response.widget_info(|| WidgetInfo::labeled(role, response.enabled(), name.as_ref()));
}

/// Names a widget that is on or off.
pub fn choice(response: &Response, role: Role, enabled: bool, on: bool, name: &str) {
    response.widget_info(|| WidgetInfo::selected(role, enabled, on, name));
}
