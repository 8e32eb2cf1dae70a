//! The list of layers below everything.

use crate::app::command::Command;
use crate::app::command::FileChoice;
use crate::app::kit::widgets;
use crate::app::state::session::Session;
use crate::basemap::LayerId;
use egui::Ui;

/// Draws it; `names`: whether borders and names are drawn.
pub(crate) fn show(ui: &mut Ui, session: &Session, names: bool, commands: &mut Vec<Command>) {
    let layers = &session.layers;
    let list =
        egui::ComboBox::from_id_salt("basemap").selected_text(layers.name(layers.shown())).width(190.0).truncate();
    let response = list.show_ui(ui, |ui| {
        for choice in layers.all() {
            ui.horizontal(|ui| {
                let name = layers.name(&choice);
                let mut label = ui.selectable_label(choice == *layers.shown(), &name);
                if let LayerId::File(path) = &choice {
                    label = label.on_hover_text(path.display().to_string());
                    let button = ui.small_button("×").on_hover_text("Take it off the list; the file stays");
                    widgets::named(&button, egui::Role::Button, format!("Forget map {name}"));
                    if button.clicked() {
                        commands.push(Command::ForgetMap(path.clone()));
                    }
                }
                if label.clicked() {
                    commands.push(Command::Basemap(choice));
                }
            });
        }
        ui.separator();
        let hover = "Tiles of your own: a .pmtiles or .mbtiles file. It can also be dropped on the window.";
        if ui.button("Open a map file …").on_hover_text(hover).clicked() {
            commands.push(Command::ChooseFolder(FileChoice::MapFile));
        }
        let mut on = names;
        if ui.checkbox(&mut on, "Borders and names").changed() {
            commands.push(Command::MapNames(on));
        }
    });
    widgets::named(&response.response, egui::Role::ComboBox, "Base map");
}
