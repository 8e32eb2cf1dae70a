//! Open data of the picked place: what there is, a choice of it, and what is kept for offline use.

use crate::app::command::Command;
use crate::app::dialogs::acquisitions;
use crate::app::kit::theme;
use crate::app::kit::widgets;
use crate::app::state::ongoing::Ongoing;
use crate::app::state::open_data::{Fetching, KeptPlaces, Site};
use crate::app::state::session::Session;
use crate::app::state::ticket::Requests;
use crate::files::size_text;
use crate::modality::Catalogue;
use crate::source::{Acquisition, Order, Survey, best, days, middle};
use egui::{RichText, TextureHandle, Ui, vec2};
use egui_extras::DatePickerButton;
use jiff::civil::Date;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The window.
pub struct DataForm {
    /// Whether it is open.
    pub open: bool,
    /// First day.
    pub from: Date,
    /// Last day.
    pub to: Date,
    /// Largest share of cloud, percent.
    pub most_cloud: f64,
    /// Fetch the whole cell instead of one window.
    pub whole_cell: bool,
    /// Requests to search.
    pub searches: Requests,
    /// A search that goes on.
    pub search: Option<Ongoing>,
    /// What was found, and where.
    pub found: Option<(Site, Survey)>,
    /// What is chosen of each family; `None` leaves it out.
    chosen: BTreeMap<String, Option<usize>>,
    /// Small pictures by address.
    pub pictures: BTreeMap<String, TextureHandle>,
    /// Those still on their way.
    pub picturing: Option<Ongoing>,
    /// Requests to fetch.
    pub fetches: Requests,
    /// A fetch that goes on.
    pub fetching: Option<Fetching>,
    /// Why the last search or fetch failed.
    pub problem: Option<String>,
    /// What is kept.
    pub store: KeptPlaces,
    /// The limit that is being typed or dragged, GB.
    limit_typed: Option<f64>,
    /// The kept place whose removal was asked for once.
    removing: Option<PathBuf>,
}

impl Default for DataForm {
    fn default() -> Self {
        let (from, to) = days(None, None);
        Self {
            open: false,
            from,
            to,
            most_cloud: 30.0,
            whole_cell: false,
            searches: Requests::default(),
            search: None,
            found: None,
            chosen: BTreeMap::new(),
            pictures: BTreeMap::new(),
            picturing: None,
            fetches: Requests::default(),
            fetching: None,
            problem: None,
            store: KeptPlaces::default(),
            limit_typed: None,
            removing: None,
        }
    }
}

impl DataForm {
    /// Takes what a search has found, and chooses the best of it.
    pub fn surveyed(&mut self, site: Site, survey: Survey) {
        let asked = Some(middle(self.from, self.to));
        self.chosen = best(&survey.found, asked).into_iter().map(|(family, i)| (family, Some(i))).collect();
        self.found = Some((site, survey));
    }

    /// What is chosen, to be fetched.
    pub fn order(&self) -> Option<Order> {
        let (site, survey) = self.found.as_ref()?;
        let pick = |(family, i): (&String, &Option<usize>)| survey.found.get(family)?.get((*i)?).cloned();
        let chosen: Vec<Acquisition> = self.chosen.iter().filter_map(pick).collect();
        let order = Order { name: site.cell.to_string(), footprint: site.footprint.clone(), chosen };
        (!order.chosen.is_empty()).then_some(order)
    }

    /// Draws it.
    pub fn show(&mut self, ctx: &egui::Context, session: &Session, commands: &mut Vec<Command>) {
        if !self.open {
            self.removing = None;
            return;
        }
        let mut open = !widgets::escaped(ctx);
        let title = match &self.found {
            Some((site, _)) => format!("Open data of cell {}", site.cell),
            None => "Open data".into(),
        };
        let window = egui::Window::new(title).id(egui::Id::unique("open data")).open(&mut open).collapsible(false);
        let most = (ctx.content_rect().height() - 170.0).clamp(220.0, 640.0);
        let window = window.anchor(egui::Align2::CENTER_CENTER, vec2(60.0, 0.0)).resizable(false);
        window.show(ctx, |ui| {
            ui.set_width(560.0);
            self.question(ui, session, commands);
            if let Some(problem) = &self.problem {
                ui.colored_label(theme::ink(ui.visuals(), theme::ALERT), problem);
            }
            if session.offline {
                ui.label(RichText::new("The network is switched off; kept places lie on the map.").weak());
            }
            egui::ScrollArea::vertical().max_height(most - 150.0).auto_shrink([false, true]).show(ui, |ui| {
                self.answer(ui);
                self.kept(ui, session, commands);
            });
            ui.separator();
            self.bottom(ui, session, commands);
        });
        if !open {
            commands.push(Command::DataWindow(false));
        }
    }

    fn question(&mut self, ui: &mut Ui, session: &Session, commands: &mut Vec<Command>) {
        ui.spacing_mut().interact_size.y = 24.0;
        ui.horizontal(|ui| {
            for (label, day) in [("First day", &mut self.from), ("Last day", &mut self.to)] {
                ui.label(RichText::new(label).small());
                let button = DatePickerButton::new(day).id_salt(label).show_icon(false).calendar_week(false);
                let response = ui.add(button);
                widgets::named(&response, egui::Role::Button, label);
            }
            let drag = egui::DragValue::new(&mut self.most_cloud).range(0.0..=100.0).speed(1.0).suffix(" %");
            ui.label(RichText::new("cloud up to").small());
            let response = ui.add(drag.max_decimals(0));
            widgets::named(&response, egui::Role::SpinButton, "Largest share of cloud");
        });
        ui.horizontal(|ui| {
            let window = ui.radio_value(&mut self.whole_cell, false, "One window");
            let cell = ui.radio_value(&mut self.whole_cell, true, "Whole cell");
            let changed = window.changed() || cell.changed();
            window.on_hover_text("What the model looks at, 1.9 km at least: quick");
            cell.on_hover_text("10.7 km: the window can be moved over it later");
            // Another ground has other files.
            if changed && self.found.is_some() && !session.offline {
                commands.push(Command::SearchData);
            }
            let (searching, place) = (self.search.is_some(), session.selection.is_some());
            let ready = !session.offline && !searching && place && self.from <= self.to;
            let response = ui.add_enabled(ready, egui::Button::new("Search"));
            let why = match () {
                () if session.offline => "The network is switched off",
                () if !place => "Pick a place on the map first",
                () => "The first day comes after the last one",
            };
            if response.on_disabled_hover_text(why).clicked() {
                commands.push(Command::SearchData);
            }
            if searching {
                ui.spinner();
                ui.label(RichText::new("asking the catalogues …").small().weak());
            }
        });
    }

    fn answer(&mut self, ui: &mut Ui) {
        let Self { found, chosen, pictures, .. } = self;
        let Some((_, survey)) = found else { return };
        let catalogue = Catalogue::of_user();
        for about in catalogue.products() {
            let family = about.name.as_str();
            let Some(all) = survey.found.get(family) else { continue };
            let choice = chosen.entry(family.to_owned()).or_insert(None);
            let number = if all.len() == 1 { String::new() } else { format!("  {} to choose from", all.len()) };
            ui.horizontal(|ui| {
                let mut wanted = choice.is_some();
                let response = ui.checkbox(&mut wanted, RichText::new(about.title()).strong());
                widgets::choice(&response, egui::Role::CheckBox, true, wanted, &format!("Fetch {family}"));
                if response.changed() {
                    *choice = wanted.then_some(0);
                }
                ui.label(RichText::new(number).small().weak());
            });
            ui.indent(family, |ui| {
                if all.len() > 1 && all.iter().any(|a| a.cloud.is_some()) {
                    acquisitions::rows(ui, family, all, choice, pictures);
                } else {
                    acquisitions::list(ui, family, all, choice);
                }
            });
        }
        let names = catalogue.products().map(|about| about.name.as_str());
        let absent: Vec<&str> = names.filter(|name| !survey.found.contains_key(*name)).collect();
        if !absent.is_empty() {
            ui.label(RichText::new(format!("Nothing found of {}.", absent.join(", "))).small().weak());
        }
        for problem in &survey.problems {
            ui.label(RichText::new(problem).small().color(theme::ink(ui.visuals(), theme::SYNTHETIC)));
        }
    }

    fn kept(&mut self, ui: &mut Ui, session: &Session, commands: &mut Vec<Command>) {
        let store = &self.store;
        let text = format!("Kept for offline use: {}, {}", places(store.scenes.len()), size_text(store.bytes));
        ui.collapsing(RichText::new(text).small(), |ui| {
            ui.horizontal(|ui| {
                ui.label(RichText::new("Keep at most").small());
                let mut limit = self.limit_typed.unwrap_or(store.limit as f64 / 1e9);
                let drag = egui::DragValue::new(&mut limit).range(0.1..=1000.0).speed(0.1).suffix(" GB");
                let response = ui.add(drag.max_decimals(1));
                widgets::named(&response, egui::Role::SpinButton, "Size of what is kept");
                if response.changed() {
                    self.limit_typed = Some(limit);
                }
                // What is too much goes at once, so not while the value is still being dragged.
                let done = response.drag_stopped() || response.lost_focus();
                if let Some(limit) = self.limit_typed.take_if(|_| done) {
                    commands.push(Command::KeepAtMost((limit * 1e9) as u64));
                }
                ui.label(RichText::new("then what was used longest ago goes first").small().weak());
            });
            for scene in store.scenes.iter().rev() {
                ui.horizontal(|ui| {
                    let name = scene.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    if ui.link(RichText::new(&name).small()).clicked() {
                        commands.push(Command::OpenScene(scene.dir.clone()));
                    }
                    ui.label(RichText::new(size_text(scene.bytes)).small().weak());
                    let used = session.uses(&scene.dir);
                    if widgets::removal(ui, !used, &mut self.removing, &scene.dir, &name) {
                        commands.push(Command::RemoveKept(scene.dir.clone()));
                    }
                });
            }
        });
    }

    fn bottom(&mut self, ui: &mut Ui, session: &Session, commands: &mut Vec<Command>) {
        let order = self.order();
        ui.horizontal(|ui| match &self.fetching {
            Some(Fetching { progress, .. }) => {
                let share = progress.done as f32 / progress.total.max(1) as f32;
                ui.add(egui::ProgressBar::new(share).desired_width(380.0).text(&progress.what));
                if ui.button("Cancel").clicked() {
                    commands.push(Command::StopFetch);
                }
            }
            None => {
                let ready = order.is_some() && !session.offline;
                let button = egui::Button::new(RichText::new("Fetch").strong());
                if ui.add_enabled(ready, button).on_disabled_hover_text("Search first, and choose something").clicked()
                {
                    commands.push(Command::FetchData);
                }
                let text = match &order {
                    Some(order) => {
                        let names: Vec<&str> = order.chosen.iter().map(|a| a.family.as_str()).collect();
                        let side = order.footprint.width_m / 1000.0;
                        format!(
                            "{} on {side:.1} × {side:.1} km; only this ground is read, and kept for offline use",
                            names.join(", ")
                        )
                    }
                    None => "What is found is read from open catalogues; nothing is sent but place and dates.".into(),
                };
                ui.add(egui::Label::new(RichText::new(text).small().weak()).wrap());
            }
        });
    }

    /// Small pictures that are wanted and not there yet.
    pub fn wanted_pictures(&self) -> Vec<Acquisition> {
        /// More are not worth asking for.
        const MOST: usize = 40;
        let all = self.found.iter().flat_map(|(_, survey)| survey.found.values().flatten());
        let missing = |a: &&Acquisition| a.thumbnail.as_ref().is_some_and(|url| !self.pictures.contains_key(url));
        all.filter(missing).take(MOST).cloned().collect()
    }
}

fn places(number: usize) -> String {
    match number {
        1 => "1 place".into(),
        n => format!("{n} places"),
    }
}
