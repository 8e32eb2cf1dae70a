//! Asks which cell of parquet files to open, and tells how reading goes.

use crate::app::command::Command;
use crate::app::kit::widgets;
use crate::app::state::ongoing::Ongoing;
use crate::app::state::ticket::{Requests, Ticket};
use crate::app::work::cells::Choice;
use crate::grid::GridCell;
use crate::source::major_tom::{Origin, Row};
use egui::{Align, Button, Key, Layout, RichText, ScrollArea, TextEdit, vec2};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const WIDTH: f32 = 460.0;

/// The form.
#[derive(Default)]
pub(crate) struct CellsForm {
    state: State,
    /// Requests to read files.
    requests: Requests,
    text: String,
}

#[derive(Default)]
enum State {
    #[default]
    Closed,
    /// What is being read, bytes so far, and what ends it when dropped.
    Reading { what: String, read: Arc<AtomicU64>, _ongoing: Option<Ongoing> },
    /// An index needs the name of a cell.
    Cell(Vec<Origin>),
    /// Scenes that can be made, and which of them are listed.
    Choose { scenes: Vec<Choice>, listed: Vec<usize> },
}

/// Products of a scene, and where they are.
fn details(rows: &[Row]) -> String {
    let each = rows.iter().map(|row| {
        let product = row.product.as_deref().unwrap_or("no name");
        let time = row.time.as_deref().unwrap_or("no date");
        format!("{}: {product}, {time}\n{}", row.family, row.origin)
    });
    each.collect::<Vec<_>>().join("\n")
}

impl CellsForm {
    /// Reading begins: the request, which counts until the next one or until the window is closed, and a counter of bytes.
    pub(crate) fn begin(&mut self, what: String) -> (Ticket, Arc<AtomicU64>) {
        let read = Arc::<AtomicU64>::default();
        self.state = State::Reading { what, read: read.clone(), _ongoing: None };
        (self.requests.next(), read)
    }

    /// Reading goes on.
    pub(crate) fn going(&mut self, ongoing: Ongoing) {
        if let State::Reading { _ongoing, .. } = &mut self.state {
            *_ongoing = Some(ongoing);
        }
    }

    /// Asks for the name of a cell.
    pub(crate) fn ask_for_cell(&mut self, files: Vec<Origin>, cell: Option<GridCell>) {
        self.text = cell.map(|cell| cell.to_string()).unwrap_or_default();
        self.state = State::Cell(files);
    }

    /// Asks which scene to make.
    pub(crate) fn choose(&mut self, scenes: Vec<Choice>) {
        self.text.clear();
        let listed = (0..scenes.len()).collect();
        self.state = State::Choose { scenes, listed };
    }

    /// Ends what goes on.
    pub(crate) fn close(&mut self) {
        self.requests.next();
        self.state = State::Closed;
    }

    /// Draws the window.
    pub(crate) fn show(&mut self, ctx: &egui::Context, commands: &mut Vec<Command>) {
        let title = match &self.state {
            State::Closed => return,
            State::Reading { .. } => "Reading",
            State::Cell(_) | State::Choose { .. } => "Which cell?",
        };
        let mut open = !widgets::escaped(ctx);
        let window = egui::Window::new(title).open(&mut open).resizable(false).collapsible(false);
        window.anchor(egui::Align2::CENTER_CENTER, egui::Vec2::ZERO).show(ctx, |ui| {
            ui.set_width(WIDTH);
            match &mut self.state {
                State::Closed => {}
                State::Reading { what, read, .. } => {
                    ui.horizontal(|ui| {
                        ui.spinner();
                        ui.add(egui::Label::new(&*what).truncate());
                    });
                    ui.horizontal(|ui| {
                        let megabytes = read.load(Ordering::Relaxed) as f64 / 1e6;
                        ui.label(RichText::new(format!("{megabytes:.1} MB read")).small().weak());
                        if ui.button("Cancel").clicked() {
                            commands.push(Command::CloseCells);
                        }
                    });
                    ctx.request_repaint_after(Duration::from_millis(100));
                }
                State::Cell(files) => cell(ui, files, &mut self.text, commands),
                State::Choose { scenes, listed } => choice(ui, scenes, listed, &mut self.text, commands),
            }
        });
        if !open {
            commands.push(Command::CloseCells);
        }
    }
}

fn cell(ui: &mut egui::Ui, files: &[Origin], text: &mut String, commands: &mut Vec<Command>) {
    let names: BTreeSet<String> = files.iter().map(Origin::name).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    ui.label(format!("{names} is an index of cells. Name one; the map shows their names when it is close enough."));
    ui.horizontal(|ui| {
        let label = ui.label("Cell");
        let field = ui.add(TextEdit::singleline(text).hint_text("618U_30L").desired_width(120.0)).labelled_by(label.id);
        let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        let named = text.trim().parse::<GridCell>();
        let pressed = ui.add_enabled(named.is_ok(), Button::new("Find")).clicked() || entered;
        if let (Ok(cell), true) = (&named, pressed) {
            commands.push(Command::OpenTables(files.to_vec(), Some(*cell)));
        }
        if named.is_err() && !text.trim().is_empty() {
            ui.label(RichText::new("no name of a cell, such as 618U_30L").small().weak());
        }
    });
}

fn choice(
    ui: &mut egui::Ui,
    scenes: &[Choice],
    listed: &mut Vec<usize>,
    text: &mut String,
    commands: &mut Vec<Command>,
) {
    let field = ui.add(
        TextEdit::singleline(text)
            .hint_text("part of a cell's name or of a date: 618U 2023-04")
            .desired_width(f32::INFINITY),
    );
    widgets::named(&field, egui::Role::TextInput, "Find a cell or a date");
    if field.changed() {
        let words: Vec<String> = text.split([' ', ',']).map(str::to_uppercase).collect();
        let fits = |scene: &Choice| words.iter().all(|word| scene.capitals.contains(word.as_str()));
        *listed = (0..scenes.len()).filter(|&i| fits(&scenes[i])).collect();
    }
    let height = ui.text_style_height(&egui::TextStyle::Button) + 2.0 * ui.spacing().button_padding.y;
    let area = ScrollArea::vertical().max_height(320.0).auto_shrink([false, true]);
    area.show_rows(ui, height, listed.len(), |ui, rows| {
        ui.with_layout(Layout::top_down_justified(Align::LEFT), |ui| {
            for &i in &listed[rows] {
                let button = Button::selectable(false, &scenes[i].line).truncate().min_size(vec2(0.0, height));
                if ui.add(button).on_hover_text(details(&scenes[i].rows)).clicked() {
                    commands.push(Command::FetchRows(scenes[i].rows.clone()));
                }
            }
        });
    });
    let count = format!("{} of {} listed; a click reads one and opens it as a scene", listed.len(), scenes.len());
    ui.label(RichText::new(count).small().weak());
}
