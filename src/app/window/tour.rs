//! Tours that take pictures of the true window: one picks the bundled scene, samples, shows the overlay, and closes; the
//! other begins with a grid cell without data and goes from open data to exported files.
//!
//! `copgen screenshots DIR` runs them, so that the project's pictures can be remade by the program itself.

use crate::app::command::Command;
use crate::app::state::place::Selection;
use crate::app::state::tools::{Brush, Stroked, Tool};
use crate::app::view::shown::Base;
use crate::app::window::explorer::ExplorerWindow;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::grid::GridCell;
use crate::modality::{Location, ModalityTable, Subject};
use crate::sampler::Role;
use crate::view::Spot;
use crossbeam_channel::{Receiver, Sender, unbounded};
use egui::{ColorImage, Context, ViewportCommand};
use image::ImageEncoder;
use jiff::civil::Date;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Frames to wait before a picture, so that tiles and textures have arrived.
const SETTLE: Duration = Duration::from_millis(1500);
/// A tour that has not ended by then has failed.
const LIMIT: Duration = Duration::from_secs(900);
/// How far in the map looks at a place.
const NEAR: f64 = 10.3;
/// What is given in the pictures: what changes slowly, radar, and how clear the sky is.
const GIVEN: [Subject; 5] = [Subject::Place, Subject::Elevation, Subject::LandCover, Subject::Radar, Subject::Clouds];

type Shot = (&'static str, Arc<ColorImage>);

/// One stage of a tour.
enum Stage {
    /// Wait for this.
    Until(fn(&ExplorerWindow) -> bool),
    /// Do this.
    Do(fn(&Tour, &ExplorerWindow) -> Vec<Command>),
    /// Take a picture of the settled window.
    Picture(&'static str),
}

/// The bundled scene, and most of what can be done with it.
const SCENE: &[Stage] = &[
    Stage::Until(|w| w.session().observed.is_some() && w.shown().thumbnails.iter().any(Option::is_some)),
    Stage::Do(|_, w| place(w).map(|at| Command::Centre(at, NEAR)).into_iter().collect()),
    Stage::Picture("map"),
    Stage::Do(question),
    Stage::Picture("roles"),
    Stage::Do(|_, _| vec![Command::Generate]),
    Stage::Until(sampled),
    Stage::Do(|_, _| vec![Command::Base(Base::Realisation(0)), Command::Spread(false)]),
    Stage::Picture("realisation"),
    Stage::Do(|_, _| vec![Command::Base(Base::Mean), Command::Spread(true), Command::Opacity(0.85)]),
    Stage::Picture("variance"),
    Stage::Do(|_, _| {
        let spot = Spot { x: 0.34, y: 0.62 };
        let swipe = Command::Swipe(Some(0.5));
        vec![Command::Spread(false), Command::Base(Base::Realisation(1)), swipe, Command::Inspect(Some(spot))]
    }),
    Stage::Picture("inspector"),
    Stage::Do(|_, _| {
        let area = [Spot { x: 0.3, y: 0.25 }, Spot { x: 0.8, y: 0.75 }];
        // Rank of the truth is the last measure.
        vec![
            Command::Inspect(None),
            Command::Swipe(None),
            Command::Area(Some(area)),
            Command::Spread(true),
            Command::Measure(5),
        ]
    }),
    Stage::Until(|w| w.shown().area_figures.is_some()),
    Stage::Picture("area"),
    Stage::Do(|_, w| painting(w)),
    Stage::Picture("painting"),
    Stage::Do(|_, _| vec![Command::Tool(Tool::Pointer), Command::ExportWindow(true)]),
    Stage::Picture("export"),
    Stage::Do(|_, _| vec![Command::ExportWindow(false), Command::ModelsWindow(true)]),
    Stage::Picture("models"),
    Stage::Do(|_, _| vec![Command::ModelsWindow(false), Command::Theme(egui::Theme::Light), Command::Palette(true)]),
    Stage::Picture("light"),
];

/// From a grid cell without data to exported files.
const OPEN_DATA: &[Stage] = &[
    Stage::Until(|w| w.session().observed.is_some()),
    Stage::Do(|tour, _| {
        let Some(Trip { cell, .. }) = &tour.trip else { return Vec::new() };
        vec![Command::Centre(cell.centre(), NEAR), Command::Pick(Selection::Cell(*cell))]
    }),
    Stage::Picture("cell"),
    Stage::Do(|tour, _| {
        let Some(Trip { from, to, .. }) = tour.trip else { return Vec::new() };
        vec![Command::DataDays(from, to, 100.0), Command::DataWindow(true)]
    }),
    Stage::Until(|w| w.data().found.is_some()),
    Stage::Picture("found"),
    Stage::Do(|_, _| vec![Command::FetchData]),
    Stage::Until(|w| matches!(w.session().selection, Some(Selection::Scene(_))) && w.session().observed.is_some()),
    Stage::Do(question),
    Stage::Picture("fetched"),
    Stage::Do(|_, _| vec![Command::Generate]),
    Stage::Until(sampled),
    Stage::Do(|_, _| vec![Command::Base(Base::Realisation(0))]),
    Stage::Picture("sampled"),
    Stage::Do(|tour, _| {
        let into = tour.trip.iter().map(|trip| Command::ExportOver(trip.exports.clone()));
        into.chain([Command::ExportWindow(true)]).collect()
    }),
    Stage::Picture("export"),
    Stage::Do(|_, _| vec![Command::Export]),
    Stage::Until(|w| w.session().notes.iter().any(|note| note.text.contains("files were written"))),
    Stage::Picture("exported"),
];

/// Where a tour of open data goes.
#[derive(Debug, Clone)]
pub struct Trip {
    /// The grid cell to fetch data of.
    pub cell: GridCell,
    /// First day of the images that are looked for.
    pub from: Date,
    /// Last day.
    pub to: Date,
    /// Folder to export to.
    pub exports: PathBuf,
}

/// See the module.
pub struct Tour {
    stages: &'static [Stage],
    trip: Option<Trip>,

    samples: usize,
    steps: usize,
    stage: usize,
    since: Instant,
    started: Instant,
    pictures: Sender<Shot>,
    report: Sender<String>,
    waiting: bool,
    notes_before: usize,
    times: Times,
}

/// When things happened for the first time, after the start.
#[derive(Default)]
struct Times {
    frame: Option<Duration>,
    place: Option<Duration>,
    asked: Option<Duration>,
    realisation: Option<Duration>,
}

/// Where the pictures of a tour arrive, and what was measured on the way.
pub struct Pictures {
    taken: Receiver<Shot>,
    report_line: Receiver<String>,
    expected: usize,
}

impl Tour {
    /// A tour with so many realisations of so many steps, of the bundled scene or of open data; the clock starts now.
    pub fn new(samples: usize, steps: usize, trip: Option<Trip>) -> (Self, Pictures) {
        let ((pictures, taken), (report, report_line)) = (unbounded(), unbounded());
        let now = Instant::now();
        let stages = if trip.is_some() { OPEN_DATA } else { SCENE };
        let expected = stages.iter().filter(|stage| matches!(stage, Stage::Picture(_))).count();
        let tour = Self {
            stages,
            trip,
            samples,
            steps,
            stage: 0,
            since: now,
            started: now,
            pictures,
            report,
            waiting: false,
            notes_before: 0,
            times: Times::default(),
        };
        (tour, Pictures { taken, report_line, expected })
    }

    /// What to do in this frame.
    pub fn next(&mut self, ctx: &Context, window: &ExplorerWindow) -> Vec<Command> {
        ctx.request_repaint_after(Duration::from_millis(50));
        self.look_at_the_clock(window);
        let problem = self.problem(window);
        let goes_on = self.started.elapsed() < LIMIT && problem.is_none();
        let Some(stage) = self.stages.get(self.stage).filter(|_| goes_on) else {
            let problem = problem.map(|problem| format!("{problem}\n")).unwrap_or_default();
            // Nobody listens if the program ends already.
            let _ = self.report.send(problem + &self.times.summary() + &window.frames().summary());
            ctx.send_viewport_cmd(ViewportCommand::Close);
            self.stage = self.stages.len();
            return Vec::new();
        };
        match stage {
            Stage::Until(done) => {
                if done(window) {
                    self.go();
                }
                Vec::new()
            }
            Stage::Do(commands_of) => {
                let commands = commands_of(self, window);
                self.go();
                commands
            }
            Stage::Picture(name) => {
                self.picture(ctx, name);
                Vec::new()
            }
        }
    }

    /// What a trip cannot go on after; what was said at the start is none of it.
    fn problem(&mut self, window: &ExplorerWindow) -> Option<String> {
        let (data, notes) = (window.data(), &window.session().notes);
        if self.stage == 0 {
            self.notes_before = notes.len();
        }
        self.trip.as_ref()?;
        if window.session().offline {
            return Some("The network is switched off, so no open data can be fetched.".into());
        }
        if let Some((_, survey)) = data.found.as_ref().filter(|_| data.order().is_none()) {
            let nothing = "Nothing was found of this cell and these days.".to_owned();
            return Some([vec![nothing], survey.problems.clone()].concat().join(" "));
        }
        let note = notes.iter().skip(self.notes_before).find(|note| note.problem);
        let problems = [data.problem.clone(), window.form.problem.clone(), note.map(|note| note.text.clone())];
        problems.into_iter().flatten().next()
    }

    fn look_at_the_clock(&mut self, window: &ExplorerWindow) {
        let (now, session) = (self.started.elapsed(), window.session());
        self.times.frame.get_or_insert(now);
        if session.observed.is_some() {
            self.times.place.get_or_insert(now);
        }
        if let Some(run) = session.run() {
            self.times.asked.get_or_insert(now);
            if !run.realisations.is_empty() {
                self.times.realisation.get_or_insert(now);
            }
        }
    }

    fn go(&mut self) {
        self.stage += 1;
        self.since = Instant::now();
        self.waiting = false;
    }

    fn picture(&mut self, ctx: &Context, name: &'static str) {
        if self.waiting {
            self.go();
        } else if self.since.elapsed() > SETTLE {
            let (pictures, repaint) = (self.pictures.clone(), ctx.clone());
            ctx.request_screenshot(move |image| {
                // The receiver outlives the window.
                let _ = pictures.send((name, image));
                repaint.request_repaint();
            });
            self.waiting = true;
        }
    }
}

impl Times {
    fn summary(&self) -> String {
        let text = |time: Option<Duration>| time.map_or("never".into(), |t| format!("{:.2} s", t.as_secs_f64()));
        let took = self.realisation.zip(self.asked).map(|(made, asked)| made.saturating_sub(asked));
        format!(
            "first frame after {}, first place after {}, first realisation {} after it was asked for\n",
            text(self.frame),
            text(self.place),
            text(took)
        )
    }
}

/// Whether the run has ended and is painted.
fn sampled(window: &ExplorerWindow) -> bool {
    window.session().run().is_some_and(|run| !run.active()) && window.shown().is_current()
}

/// What is asked at the picked scene, and the map there.
fn question(tour: &Tour, window: &ExplorerWindow) -> Vec<Command> {
    let mut commands = roles(window);
    let side = window.session().table().map_or(0.0, ModalityTable::window_m);
    commands.extend(place(window).map(|at| Command::Fit(at, side)));
    commands.extend([Command::Samples(tour.samples), Command::Steps(tour.steps), Command::Seed(7)]);
    commands
}

/// The middle of the picked scene.
fn place(window: &ExplorerWindow) -> Option<Location> {
    match window.session().selection {
        Some(Selection::Scene(i)) => window.session().scenes.get(i)?.scene.location(),
        _ => None,
    }
}

/// Roles of the pictures: what is not known cannot be given.
fn roles(window: &ExplorerWindow) -> Vec<Command> {
    let session = window.session();
    let role = |i: usize, subject: Subject| {
        let given = GIVEN.contains(&subject) && session.known(i).is_some();
        if given { Role::Given } else { Role::Generated }
    };
    let all = window.session().table().into_iter().flat_map(|table| table.iter().enumerate());
    all.map(|(i, m)| Command::Role(i, role(i, m.about.subject))).collect()
}

/// A lake across the window.
fn painting(window: &ExplorerWindow) -> Vec<Command> {
    let Some(table) = window.session().table() else { return Vec::new() };
    let Some(modality) = table.finest(Subject::LandCover) else { return Vec::new() };
    let water = table[modality].classes().and_then(|all| all.iter().find(|c| c.name.eq_ignore_ascii_case("water")));
    let Some(code) = water.map(|class| class.code) else { return Vec::new() };
    let brush = Brush { modality, code, keeps: false, radius_m: 110.0, outline: false };
    let stroke = |from: [f64; 2], to: [f64; 2]| {
        let [from, to] = [from, to].map(|[x, y]| Spot { x, y });
        Command::Paint(Stroked { brush, from, to })
    };
    vec![
        Command::Area(None),
        Command::Spread(false),
        Command::Modality(modality),
        Command::Base(Base::Observed),
        Command::Tool(Tool::Brush(brush)),
        stroke([0.2, 0.3], [0.45, 0.4]),
        stroke([0.45, 0.4], [0.6, 0.65]),
        Command::EndUndoStep,
    ]
}

impl Pictures {
    /// What was measured on the way: times to the first frame, place and realisation, and the window's own work.
    pub fn report(&self) -> String {
        self.report_line.try_recv().unwrap_or_default()
    }

    /// Writes all pictures that were taken as PNG files.
    ///
    /// # Errors
    /// When the tour was cut short or a file cannot be written.
    pub fn write(self, dir: &Path) -> Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        let expected = self.expected;
        while let Ok((name, picture)) = self.taken.try_recv() {
            let [width, height] = picture.size;
            let rgb: Vec<u8> = picture.pixels.iter().flat_map(|p| [p.r(), p.g(), p.b()]).collect();
            let path = dir.join(format!("{name}.png"));
            let mut bytes = Vec::new();
            image::codecs::png::PngEncoder::new_with_quality(
                &mut bytes,
                image::codecs::png::CompressionType::Best,
                image::codecs::png::FilterType::Adaptive,
            )
            .write_image(&rgb, width as u32, height as u32, image::ExtendedColorType::Rgb8)
            .map_err(|e| Error::file(&path, format!("The picture cannot be encoded: {e}")))?;
            write_atomically(&path, &bytes)?;
            written.push(path);
        }
        if written.len() < expected {
            return Err(Error::Compute(format!(
                "Only {} of {expected} pictures were taken: the window was closed too early, or sampling failed.",
                written.len()
            )));
        }
        Ok(written)
    }
}
