//! The bar at the top: where, base map, model, theme.

use crate::app::command::Command;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::panels::base_map_menu;
use crate::app::state::place::Selection;
use crate::app::state::place::around;
use crate::app::state::session::Session;
use egui::{Key, RichText, Ui};

/// What is being typed in it.
#[derive(Default)]
pub(crate) struct TopBar {
    place: String,
}

impl TopBar {
    /// Draws it.
    pub(crate) fn show(&mut self, ui: &mut Ui, session: &Session, names: bool, commands: &mut Vec<Command>) {
        ui.horizontal(|ui| {
            ui.label(RichText::new("COP-GEN Explorer").strong().size(15.0));
            ui.separator();
            places(ui, session, commands);
            self.search(ui, commands);
            if let Some(ground) = session.observed.as_ref().map(|observed| &observed.ground)
                && ground.corners.is_some()
                && ui.button("Go to place").on_hover_text("Move the map to the picked place").clicked()
                && let Ok(middle) = ground.footprint.centre()
            {
                commands.push(Command::Fit(middle, ground.footprint.width_m));
            }
            if ui
                .button("Open …")
                .on_hover_text(
                    "A scene, a project, a data set in the Major TOM layout, or parquet files of Major TOM Core",
                )
                .clicked()
            {
                commands.push(Command::SceneWindow(true));
            }
            if ui.button("Data …").on_hover_text("Find open data of the picked place and fetch it").clicked() {
                commands.push(Command::DataWindow(true));
            }
            if ui.button("Save …").on_hover_text("Place, choices and realisations as a project").clicked() {
                commands.push(Command::ProjectWindow(true));
            }
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| right(ui, session, names, commands));
        });
    }

    fn search(&mut self, ui: &mut Ui, commands: &mut Vec<Command>) {
        let field =
            egui::TextEdit::singleline(&mut self.place).hint_text("lat, lon · cell · scene").desired_width(150.0);
        let response = ui.add(field).on_hover_text("Find a place: 46.5, 11.35 or a grid cell such as 618U_30L");
        widgets::named(&response, egui::Role::TextInput, "Find a place");
        let entered = response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        if entered && !self.place.trim().is_empty() {
            commands.push(Command::Find(self.place.trim().to_owned()));
        }
    }
}

fn right(ui: &mut Ui, session: &Session, names: bool, commands: &mut Vec<Command>) {
    if ui.button("?").on_hover_text("Keys").clicked() {
        commands.push(Command::KeySheet(true));
    }
    let dark = ui.visuals().dark_mode;
    let (text, other) = if dark { ("Light", egui::Theme::Light) } else { ("Dark", egui::Theme::Dark) };
    if ui.button(text).on_hover_text("Colours of the window").clicked() {
        commands.push(Command::Theme(other));
    }
    let mut online = !session.offline;
    let response = ui.checkbox(&mut online, "Network");
    if response.on_hover_text("Whether this program may use the network at all").changed() {
        commands.push(Command::Offline(!online));
    }
    base_map_menu::show(ui, session, names, commands);
    let manifest = session.model.as_ref().map(|model| &model.manifest);
    let text = manifest.map_or("Models", |manifest| &manifest.name);
    let text = RichText::new(text).small().color(theme::ink(ui.visuals(), theme::SYNTHETIC));
    let mut response = ui.add(egui::Button::new(text).truncate());
    widgets::named(&response, egui::Role::Button, "Models");
    if let Some(manifest) = manifest {
        let text =
            format!("{}\n{}\nOther models can be fetched and used here.", manifest.description, manifest.licence);
        response = response.on_hover_text(text);
    }
    if response.clicked() {
        commands.push(Command::ModelsWindow(true));
    }
}

fn places(ui: &mut Ui, session: &Session, commands: &mut Vec<Command>) {
    let text = match &session.selection {
        Some(Selection::Scene(i)) => session.scenes.get(*i).map_or("", |known| known.scene.name()).to_owned(),
        Some(Selection::Cell(cell)) => format!("cell {cell}"),
        None => "Pick a place".into(),
    };
    let list = egui::ComboBox::from_id_salt("places").selected_text(text).width(220.0);
    let response = list.show_ui(ui, |ui| {
        for (i, known) in session.scenes.iter().enumerate() {
            let on = session.selection == Some(Selection::Scene(i));
            let suffix = match () {
                () if known.corners.is_none() => "  (no position)",
                () if session.is_kept(known) => "  (kept for offline use)",
                () => "",
            };
            let label = ui.selectable_label(on, format!("{}{suffix}", known.scene.name()));
            if label.on_hover_text(known.scene.attribution().unwrap_or("")).clicked() {
                commands.push(Command::Pick(Selection::Scene(i)));
            }
        }
        for collection in &session.collections {
            let text = format!("{}  ({} cells on the map)", collection.name(), collection.cells.len());
            let label = ui.selectable_label(false, text).on_hover_text("Move the map there; a click opens a cell");
            if label.clicked()
                && let Some((middle, side_m)) = around(collection)
            {
                commands.push(Command::Fit(middle, side_m));
            }
        }
    });
    widgets::named(&response.response, egui::Role::ComboBox, "Place");
}
