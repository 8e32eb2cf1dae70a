//! A tour that takes pictures of the true window: picks a scene, samples, shows the overlay, and closes.
//!
//! `copgen screenshots DIR` runs it, so that the project's pictures can be remade by the program itself.

use super::command::Command;
use super::runs::RunState;
use super::session::Selection;
use super::shown::Base;
use super::window::Window;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::modality::{Location, ModalityTable};
use crate::sampler::Role;
use crate::view::Spot;
use crossbeam_channel::{Receiver, Sender, unbounded};
use egui::{ColorImage, Context, ViewportCommand};
use image::ImageEncoder;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pictures of a whole tour.
const PICTURES: usize = 5;
/// Frames to wait before a picture, so that tiles and textures have arrived.
const SETTLE: Duration = Duration::from_millis(1500);
/// A tour that has not ended by then has failed.
const LIMIT: Duration = Duration::from_secs(900);
/// What is given in the pictures: what changes slowly, and radar.
const GIVEN: [&str; 4] = ["location", "DEM", "LULC", "S1RTC"];

type Shot = (&'static str, Arc<ColorImage>);

/// See the module.
pub struct Tour {
    samples: usize,
    steps: usize,
    stage: usize,
    since: Instant,
    started: Instant,
    pictures: Sender<Shot>,
    waiting: bool,
}

/// Where the pictures of a tour arrive.
pub struct Pictures(Receiver<Shot>);

impl Tour {
    /// A tour with so many realisations of so many steps.
    pub fn new(samples: usize, steps: usize) -> (Self, Pictures) {
        let (pictures, taken) = unbounded();
        let now = Instant::now();
        (Self { samples, steps, stage: 0, since: now, started: now, pictures, waiting: false }, Pictures(taken))
    }

    /// What to do in this frame.
    pub fn next(&mut self, ctx: &Context, window: &Window) -> Vec<Command> {
        ctx.request_repaint_after(Duration::from_millis(50));
        if self.started.elapsed() > LIMIT {
            ctx.send_viewport_cmd(ViewportCommand::Close);
            return Vec::new();
        }
        let session = window.session();
        let Some(table) = session.table() else { return Vec::new() };
        let ready = session.observed.is_some() && window.shown().thumbnails.iter().any(Option::is_some);
        let place = match &session.selection {
            Some(Selection::Scene(i)) => session.scenes.get(*i).and_then(|known| known.scene.location()),
            _ => None,
        };
        match self.stage {
            0 if ready => self.go(vec![Command::Centre(place.unwrap_or(Location { lat: 0.0, lon: 0.0 }), 10.3)]),
            1 => self.picture(ctx, "map"),
            2 => {
                let mut commands = roles(table);
                commands.extend(place.map(|at| Command::Fit(at, table.window_m())));
                commands.extend([Command::Samples(self.samples), Command::Steps(self.steps), Command::Seed(7)]);
                self.go(commands)
            }
            3 => self.picture(ctx, "roles"),
            4 => self.go(vec![Command::Generate]),
            5 => match session.run().map(|run| run.state) {
                Some(RunState::Finished) if window.shown().spread.is_some() => {
                    self.go(vec![Command::Base(Base::Realisation(0)), Command::Spread(false)])
                }
                Some(RunState::Failed | RunState::Cancelled) => {
                    ctx.send_viewport_cmd(ViewportCommand::Close);
                    Vec::new()
                }
                _ => Vec::new(),
            },
            6 => self.picture(ctx, "realisation"),
            7 => self.go(vec![Command::Base(Base::Mean), Command::Spread(true), Command::Opacity(0.85)]),
            8 => self.picture(ctx, "variance"),
            9 => self.go(vec![
                Command::Spread(false),
                Command::Base(Base::Realisation(1)),
                Command::Swipe(Some(0.5)),
                Command::Inspect(Some(Spot { x: 0.34, y: 0.62 })),
            ]),
            10 => self.picture(ctx, "inspector"),
            11 => {
                ctx.send_viewport_cmd(ViewportCommand::Close);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn go(&mut self, commands: Vec<Command>) -> Vec<Command> {
        self.stage += 1;
        self.since = Instant::now();
        self.waiting = false;
        commands
    }

    /// Takes a picture of the settled window, then goes on.
    fn picture(&mut self, ctx: &Context, name: &'static str) -> Vec<Command> {
        if self.waiting {
            return self.go(Vec::new());
        }
        if self.since.elapsed() > SETTLE {
            let (pictures, repaint) = (self.pictures.clone(), ctx.clone());
            ctx.request_screenshot(move |image| {
                // The receiver outlives the window.
                let _ = pictures.send((name, image));
                repaint.request_repaint();
            });
            self.waiting = true;
        }
        Vec::new()
    }
}

/// Roles of the pictures: radar and what changes slowly given, all else generated.
fn roles(table: &ModalityTable) -> Vec<Command> {
    let role = |name: &String| if GIVEN.contains(&name.as_str()) { Role::Given } else { Role::Generated };
    table.iter().enumerate().map(|(i, m)| Command::Role(i, role(&m.name))).collect()
}

impl Pictures {
    /// Writes all pictures that were taken as PNG files.
    ///
    /// # Errors
    /// When the tour was cut short or a file cannot be written.
    pub fn write(self, dir: &Path) -> Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        while let Ok((name, picture)) = self.0.try_recv() {
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
        if written.len() < PICTURES {
            return Err(Error::Compute(format!(
                "Only {} of {PICTURES} pictures were taken: the window was closed too early, or sampling failed.",
                written.len()
            )));
        }
        Ok(written)
    }
}
