//! The steps of any training: gradients of independent parts, the optimiser, checkpoints, and when to stop.

use super::Progress;
use super::checkpoint::{checkpoint_file, read_checkpoint, write_checkpoint};
use super::output::OutputFolder;
use super::parameters::{Optimiser, Trainable};
use super::plot::write_plot;
use super::recipe::OptimiserRecipe;
use super::record::{Record, Row};
use crate::error::{Error, Result};
use crate::parallel;
use candle_core::{Device, Tensor};
use std::path::Path;
use std::time::Instant;

/// What is trained.
pub(super) trait Task: Sync {
    /// Items that are computed together.
    type Part: Sync;

    /// The parts of a step. The same step always has the same parts, so that a resumed training goes on alike.
    ///
    /// # Errors
    /// When data cannot be read.
    fn draw(&self, step: u64) -> Result<Vec<Self::Part>>;

    /// What a part adds to the loss of its step.
    ///
    /// # Errors
    /// When the device fails.
    fn loss(&self, part: &Self::Part) -> Result<Tensor>;

    /// Parts whose gradients may be in memory at once.
    fn together(&self) -> usize {
        8
    }

    /// Loss over fixed windows that are never trained on; `None` where there are none.
    ///
    /// # Errors
    /// When the device fails.
    fn validation(&self) -> Result<Option<f64>> {
        Ok(None)
    }
}

/// How a training runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Go on from the checkpoint in the output folder.
    pub resume: bool,
    /// Steps between checkpoints.
    pub save_every: u64,
    /// Steps between validations and contact sheets.
    pub validate_every: u64,
}

/// Where a training of autoencoders reads and writes, and how it runs.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// Folder of scene folders.
    pub scenes: &'a Path,
    /// Model folder.
    pub out: &'a OutputFolder,
    /// Where to compute.
    pub device: &'a Device,
    /// Resume, checkpoints, validation.
    pub options: &'a Options,
}

/// Names a training.
#[derive(Debug, Clone, Copy)]
pub(super) struct Training<'a> {
    /// Prefix of its files in the output folder, and its name on the screen.
    pub what: &'a str,
    /// Output folder.
    pub out: &'a Path,
    /// Optimiser.
    pub recipe: &'a OptimiserRecipe,
    /// Identifies the recipe and what it starts from.
    pub fingerprint: &'a str,
    /// How it runs.
    pub options: &'a Options,
}

/// Whether a step was looked at before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It was just computed.
    Never,
    /// The training went on from a checkpoint of this step, and may have ended before or after the look at it.
    Perhaps,
}

/// Adds the gradients of the losses of all parts, `together` at once; returns the sum of the losses.
///
/// Parts are independent: computed side by side they keep all cores busy, and their size does not depend on the number of cores,
/// so that neither does the result.
///
/// # Errors
/// When the device fails.
pub fn accumulate<P: Sync>(
    optimiser: &mut Optimiser,
    parts: &[P],
    together: usize,
    loss: impl Fn(&P) -> Result<Tensor> + Sync,
) -> Result<f64> {
    let mut value = 0.0;
    for round in parts.chunks(together.max(1)) {
        let gradients = parallel::map(round, |part| {
            let loss = loss(part)?;
            Ok((f64::from(loss.to_scalar::<f32>()?), loss.backward()?))
        })?;
        for (loss, gradients) in &gradients {
            value += loss;
            optimiser.accumulate(gradients)?;
        }
    }
    Ok(value)
}

/// Runs all steps. Writes checkpoints, `WHAT_metrics.csv` and `WHAT_loss.png`; `look` sees the optimiser every
/// `validate_every` steps, and at a checkpoint of such a step that the training goes on from. When `progress` fails (the
/// user stops it), a checkpoint is written first.
///
/// # Errors
/// When a loss or gradient is not finite (the last good checkpoint is kept), data cannot be read, or files cannot be
/// written.
pub(super) fn run<T: Task>(
    training: Training,
    parameters: Trainable,
    task: &T,
    look: &mut dyn FnMut(&Optimiser, Seen) -> Result<()>,
    progress: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<Optimiser> {
    let Training { what, out, recipe, fingerprint, options } = training;
    std::fs::create_dir_all(out).map_err(|e| Error::io(out, "create", &e))?;
    let path = checkpoint_file(out, what);
    let mut optimiser = Optimiser::new(parameters, recipe)?;
    if options.resume {
        read_checkpoint(&path, &mut optimiser, fingerprint)?;
    }
    let mut record = Record::open(out, what, optimiser.steps_done())?;
    let due = |done: u64, every: u64| every > 0 && done.is_multiple_of(every) || done == recipe.steps;
    let title = format!("Training of {what}");
    let plot = out.join(format!("{what}_loss.png"));
    if optimiser.steps_done() > 0 && due(optimiser.steps_done(), options.validate_every) {
        // The checkpoint was written before the plot and the look: a kill in between lost them.
        write_plot(&plot, record.rows(), &title)?;
        look(&optimiser, Seen::Perhaps)?;
    }
    let mut saved = (optimiser.steps_done() > 0).then(|| optimiser.steps_done());
    let mut spent = record.rows().last().map_or(0.0, |row| row.seconds);
    let mut begun = Instant::now();
    while optimiser.steps_done() < recipe.steps {
        let (step, rate) = (optimiser.steps_done(), optimiser.rate());
        let value = accumulate(&mut optimiser, &task.draw(step)?, task.together(), |part| task.loss(part))?;
        let kept = saved.map_or_else(
            || "no checkpoint was written yet".to_owned(),
            |saved| format!("the checkpoint of step {saved} is kept"),
        );
        if !value.is_finite() || !optimiser.step()? {
            return Err(Error::Compute(format!(
                "Loss or gradient of {what} is not finite at step {step}; training stopped, {kept}. Lower the learning rate and start anew."
            )));
        }
        let done = optimiser.steps_done();
        let validation = if due(done, options.validate_every) { task.validation()? } else { None };
        let seconds = begun.elapsed().as_secs_f64();
        begun = Instant::now();
        spent += seconds;
        let items_per_s = (recipe.batch * recipe.accumulation) as f64 / seconds.max(1e-9);
        let row = Row { step: done, loss: value, rate, seconds: spent, items_per_s, validation_loss: validation };
        record.add(row)?;
        let reported = progress(&Progress::Step { what: what.into(), row, steps: recipe.steps });
        if due(done, options.save_every) || reported.is_err() {
            write_checkpoint(&path, &optimiser, fingerprint)?;
            saved = Some(done);
        }
        reported?;
        if due(done, options.validate_every) {
            write_plot(&plot, record.rows(), &title)?;
            look(&optimiser, Seen::Never)?;
        }
    }
    Ok(optimiser)
}
