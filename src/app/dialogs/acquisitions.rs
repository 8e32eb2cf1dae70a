//! Images that were found, to choose one from.

use crate::app::kit::widgets;
use crate::source::Acquisition;
use egui::{Color32, CornerRadius, RichText, Sense, TextureHandle, Ui, vec2};
use std::collections::BTreeMap;

/// Side of a small picture, points.
const PICTURE: f32 = 46.0;

fn words(a: &Acquisition) -> String {
    let day = if a.day.is_empty() { "no date" } else { &a.day };
    let cloud = a.cloud.map_or(String::new(), |cloud| format!(" · {cloud:.0} % cloud"));
    let part = if a.coverage < 0.999 { format!(" · covers {:.0} %", a.coverage * 100.0) } else { String::new() };
    format!("{day}{cloud}{part} · {}", a.provider)
}

/// Images with their small pictures.
pub(crate) fn rows(
    ui: &mut Ui,
    family: &str,
    all: &[Acquisition],
    choice: &mut Option<usize>,
    pictures: &BTreeMap<String, TextureHandle>,
) {
    let area =
        egui::ScrollArea::vertical().id_salt(family).max_height(4.2 * (PICTURE + 6.0)).auto_shrink([false, true]);
    area.show_rows(ui, PICTURE, all.len(), |ui, visible| {
        for i in visible {
            let (a, on) = (&all[i], *choice == Some(i));
            let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), PICTURE), Sense::click());
            let visuals = ui.style().interact_selectable(&response, on);
            if on || response.hovered() {
                ui.painter().rect_filled(rect, 4.0, visuals.weak_bg_fill);
            }
            let square = egui::Rect::from_min_size(rect.min, vec2(PICTURE, PICTURE)).shrink(2.0);
            match a.thumbnail.as_ref().and_then(|url| pictures.get(url)) {
                Some(texture) => {
                    let whole = egui::Rect::from_min_max(egui::pos2(0.0, 0.0), egui::pos2(1.0, 1.0));
                    ui.painter().image(texture.id(), square, whole, Color32::WHITE);
                }
                None => {
                    ui.painter().rect_filled(square, CornerRadius::same(3), ui.visuals().extreme_bg_color);
                }
            }
            let at = rect.left_center() + vec2(PICTURE + 8.0, 0.0);
            let font = egui::TextStyle::Body.resolve(ui.style());
            ui.painter().text(at, egui::Align2::LEFT_CENTER, words(a), font, visuals.text_color());
            let name = format!("{family} of {}", words(a));
            widgets::choice(&response, egui::Role::RadioButton, true, on, &name);
            if response.clicked() {
                *choice = Some(i);
            }
        }
    });
}

/// A choice without pictures.
pub(crate) fn list(ui: &mut Ui, family: &str, all: &[Acquisition], choice: &mut Option<usize>) {
    let text = choice.and_then(|i| all.get(i)).map_or("left out".into(), words);
    if all.len() == 1 {
        ui.label(RichText::new(text).small());
        return;
    }
    let combo = egui::ComboBox::from_id_salt(("acquisition", family)).selected_text(text).width(420.0);
    let response = combo.show_ui(ui, |ui| {
        for (i, a) in all.iter().enumerate() {
            ui.selectable_value(choice, Some(i), words(a));
        }
    });
    widgets::named(&response.response, egui::Role::ComboBox, format!("Acquisition of {family}"));
}
