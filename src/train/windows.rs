//! Random training windows from a folder of scenes.

use super::recipe::DataRecipe;
use super::split::Use;
use crate::error::{Error, Result};
use crate::files::folders;
use crate::modality::{Mask, ModalityTable, Raster, Subject, Value};
use crate::scene::{Remarks, Scene, SceneOptions, Window};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::RngCore;
use std::path::Path;

/// Scenes to draw windows from.
pub struct Windows {
    table: ModalityTable,
    scenes: Vec<Entry>,
    turns: bool,
    /// What was said of the scenes.
    remarks: Remarks,
}

struct Entry {
    scene: Scene,
    available: Vec<usize>,
    weight: f64,
    /// Whether the scene is known to be free of clouds.
    clear: bool,
    /// Free play of the window in steps of 60 m, eastwards and southwards.
    play: [usize; 2],
}

/// Windows start at multiples of this, so that all resolutions stay aligned.
const STEP_M: f64 = 60.0;

impl Windows {
    /// Opens all scene folders below `dir` that hold a window: those that the recipe means for this use.
    ///
    /// # Errors
    /// When the folder cannot be read or holds no usable scene.
    pub fn open(dir: &Path, table: &ModalityTable, recipe: &DataRecipe, purpose: Use) -> Result<Self> {
        let options = SceneOptions { accept_stand_ins: recipe.accept_grd_as_rtc, ..SceneOptions::of(table) };
        let mut scenes = Vec::new();
        for path in folders(dir)? {
            let scene = match Scene::open_with(&path, &options) {
                Ok(scene) => scene,
                Err(error) => {
                    tracing::warn!("left out: {error}");
                    continue;
                }
            };
            let begins = |prefix: &String| scene.name().starts_with(prefix.as_str());
            if !recipe.is_for(scene.name(), purpose) {
                continue;
            }
            let extent = scene.footprint();
            let play =
                [extent.width_m, extent.height_m].map(|side| ((side - table.window_m() + 1e-3) / STEP_M).floor());
            let available = scene.available(table);
            if play.iter().any(|p| *p < 0.0) || available.is_empty() {
                continue;
            }
            let weight = recipe.weights.iter().find(|(prefix, _)| begins(prefix)).map_or(1.0, |(_, w)| *w);
            let clear = recipe.clear.iter().any(begins);
            scenes.push(Entry { clear, play: play.map(|p| p as usize), scene, available, weight });
        }
        if scenes.is_empty() {
            return Err(Error::file(dir, "No scene here holds a window of this model"));
        }
        Ok(Self { table: table.clone(), scenes, turns: recipe.turns, remarks: Remarks::default() })
    }

    /// The same without flips and quarter turns.
    pub fn without_turns(mut self) -> Self {
        self.turns = false;
        self
    }

    /// Number of scenes that hold a modality.
    pub fn holding(&self, modality: usize) -> usize {
        self.scenes.iter().filter(|entry| entry.available.contains(&modality)).count()
    }

    /// A random window: all its values, or only `only` (then from scenes that hold it). Windows that are mostly
    /// without data of something are drawn again; smaller holes are filled on the way to the network, and are no truth
    /// to it.
    ///
    /// # Errors
    /// When no scene holds `only`, or 50 windows in a row cannot be read.
    pub fn draw(&self, generator: &mut ChaCha12Rng, only: Option<usize>) -> Result<Vec<Option<Value>>> {
        Ok(self.draw_from(generator, only)?.1)
    }

    /// As [`draw`](Self::draw), with the number of the scene.
    ///
    /// # Errors
    /// As there.
    pub fn draw_from(&self, generator: &mut ChaCha12Rng, only: Option<usize>) -> Result<(usize, Vec<Option<Value>>)> {
        let mut last = self.try_draw(generator, only);
        for _ in 0..50 {
            match last {
                Err(Error::File { problem, path }) => {
                    tracing::debug!("{}: {problem}", path.display());
                    last = self.try_draw(generator, only);
                }
                done => return done,
            }
        }
        last
    }

    fn try_draw(&self, generator: &mut ChaCha12Rng, only: Option<usize>) -> Result<(usize, Vec<Option<Value>>)> {
        let fits = |(_, entry): &(usize, &Entry)| only.is_none_or(|m| entry.available.contains(&m));
        let total: f64 = self.scenes.iter().enumerate().filter(fits).map(|(_, e)| e.weight).sum();
        let mut at = uniform(generator) * total;
        let mut chosen = None;
        for (number, entry) in self.scenes.iter().enumerate().filter(fits) {
            chosen = Some((number, entry));
            at -= entry.weight;
            if at < 0.0 {
                break;
            }
        }
        let (number, entry) = chosen.ok_or_else(|| Error::request("No training scene holds this modality."))?;
        let at = entry.play.map(|play| below(generator, play + 1));
        let values = self.read(number, at, only)?;
        let turn = if self.turns { below(generator, 8) } else { 0 };
        Ok((number, values.into_iter().map(|value| value.map(|v| turned_value(&v, turn))).collect()))
    }

    /// Places of windows side by side, at most so many along a side of a scene: numbers of scenes, and steps eastwards and
    /// southwards.
    pub fn side_by_side(&self, along: usize) -> Vec<(usize, [usize; 2])> {
        let step = (self.table.window_m() / STEP_M).ceil() as usize;
        let mut places = Vec::new();
        for (scene, entry) in self.scenes.iter().enumerate() {
            let [east, south] = entry.play.map(|play| (play / step + 1).min(along));
            places.extend((0..east * south).map(|k| (scene, [k % east * step, k / east * step])));
        }
        places
    }

    /// The window at such a place: all its values, or only `only`.
    ///
    /// # Errors
    /// When it cannot be read, or something in it is mostly without data.
    pub fn read(&self, number: usize, at: [usize; 2], only: Option<usize>) -> Result<Vec<Option<Value>>> {
        let entry = &self.scenes[number];
        let [east_m, south_m] = at.map(|steps| steps as f64 * STEP_M);
        let footprint = entry.scene.window(self.table.window_m(), Window::At { east_m, south_m })?;
        let wanted = only.map_or_else(|| entry.available.clone(), |m| vec![m]);
        let observation = entry.scene.read(&self.table, &footprint, &wanted)?;
        self.remarks.tell(entry.scene.name(), &observation);
        for (i, m) in self.table.iter().enumerate() {
            observation.mostly_missing(m, i).map_or(Ok(()), Err)?;
        }
        let mut values: Vec<Option<Value>> = observation.truth(&self.table)?;
        if let (true, Some(mask)) = (entry.clear, self.table.telling_of(Subject::Clouds).first().copied())
            && only.is_none_or(|m| m == mask)
        {
            let side = self.table[mask].pixels;
            values[mask].get_or_insert_with(|| Value::Image(Raster::constant(1, side, side, 0.0)));
        }
        Ok(values)
    }
}

/// A value after one of the eight flips and quarter turns.
pub(super) fn turned_value(value: &Value, turn: usize) -> Value {
    match value {
        Value::Image(raster) => Value::Image(turned(raster, turn)),
        other => other.clone(),
    }
}

/// A number in 0…1.
pub(super) fn uniform(generator: &mut ChaCha12Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A whole number below `n`.
pub(super) fn below(generator: &mut ChaCha12Rng, n: usize) -> usize {
    (uniform(generator) * n as f64) as usize
}

/// One of the eight flips and quarter turns of a square raster, with its holes.
fn turned(raster: &Raster, turn: usize) -> Raster {
    let n = raster.width;
    let source = |pixel: usize| {
        let (row, column) = (pixel / n, pixel % n);
        let (mut r, mut k) = if turn & 4 == 0 { (row, column) } else { (column, row) };
        if turn & 1 != 0 {
            r = n - 1 - r;
        }
        if turn & 2 != 0 {
            k = n - 1 - k;
        }
        r * n + k
    };
    let out = Raster::from_fn(raster.channels, n, n, |c, pixel| raster.channel(c)[source(pixel)]);
    match raster.valid() {
        Some(_) => {
            let valid = Mask::from_fn(n, n, |pixel| raster.is_valid(source(pixel)));
            // The mask has the raster's size.
            out.clone().with_valid(&valid).unwrap_or(out)
        }
        None => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eight_turns_differ_and_keep_all_values() {
        let raster = Raster::from_fn(1, 3, 3, |_, pixel| pixel as f32);
        let mut seen: Vec<Vec<f32>> = Vec::new();
        for turn in 0..8 {
            let data = turned(&raster, turn).data;
            assert!(!seen.contains(&data));
            let mut sorted = data.clone();
            sorted.sort_by(f32::total_cmp);
            assert_eq!(sorted, raster.data);
            seen.push(data);
            // A hole goes where its pixel goes.
            let holed = raster.clone().with_valid(&Mask::from_fn(3, 3, |pixel| pixel != 1)).expect("mask");
            let holed = turned(&holed, turn);
            let at = (0..9).find(|&pixel| !holed.is_valid(pixel)).expect("a hole");
            assert_eq!(turned(&raster, turn).data[at], 1.0);
        }
    }
}
