//! The command line. Exit codes: 0 done, 1 the job failed, 2 wrong arguments.

/// A line on the standard output, formatted as by `println!`. Whoever reads it may have seen enough (`… | head`): then the
/// program ends without a word.
macro_rules! tell {
    ($($text:tt)*) => { crate::cli::tell(format_args!($($text)*)) };
}

mod bar;
mod batch;
mod bench;
mod chosen;
mod evaluate;
mod fetch;
mod generate;
mod log;
mod models;
mod scene;
#[cfg(feature = "window")]
mod screenshots;
mod solvers;
mod train;
mod verify;
#[cfg(feature = "window")]
mod window;
#[cfg(not(feature = "window"))]
mod windowless;

use crate::error::{Error, Result};
use crate::modality::Catalogue;
use crate::model::{DeviceChoice, Engine};
use crate::process;
use candle_core::Device;
use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(feature = "window"))]
use windowless::{self as screenshots, self as window};

fn tell(text: std::fmt::Arguments) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}")
        && error.kind() == std::io::ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}

/// Explore what a place on Earth could plausibly look like (COP-GEN). Without a command, the window opens.
#[derive(Debug, Parser)]
#[command(name = "copgen", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Model for the window: a folder, or a name of "copgen models list"; the bundled demonstration model if left out.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Scene folder that the window opens with; a bundled one if left out.
    #[arg(long)]
    scene: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sample realisations of a place and write them as GeoTIFF, without a window.
    Generate(Box<generate::Generate>),
    /// Do all jobs of a plan, on one machine or a cluster; say how far it is; make a catalogue of the results.
    Batch(Box<batch::Batch>),
    /// Search open data of a place and fetch it as a scene folder.
    Fetch(fetch::Fetch),
    /// Compare with recorded numbers, tensor by tensor.
    Verify(verify::Verify),
    /// List, fetch, import, inspect, check and remove models.
    #[command(subcommand)]
    Models(models::Models),
    /// List and fetch places with real data.
    #[command(subcommand)]
    Scene(scene::Scene),
    /// Take pictures of the window at work.
    Screenshots(screenshots::Screenshots),
    /// Train autoencoders, a denoiser or a cascade from a recipe.
    #[command(subcommand)]
    Train(train::Train),
    /// Measure a model on places it was never trained on.
    Evaluate(evaluate::Evaluate),
    /// Measure how fast the networks are on this machine.
    Bench(bench::Bench),
    /// List what --device can stand for here.
    Devices,
    /// Measure how far solvers with few evaluations end from the solution.
    Solvers(solvers::Solvers),
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // No thread runs yet.
    process::keep_freed_memory();
    process::keep_to_own_threads(matches!(arguments.command, Some(Command::Train(_))));
    log::begin();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("copgen: {error}");
            // A request that cannot be meant is a wrong argument.
            ExitCode::from(if matches!(error, Error::Request(_)) { 2 } else { 1 })
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    if arguments.command.is_some() {
        // The window says it and goes on.
        Catalogue::checked()?;
    }
    match arguments.command {
        None => window::open(arguments.model, arguments.scene),
        Some(Command::Screenshots(command)) => command.run(),
        Some(Command::Generate(command)) => command.run(),
        Some(Command::Batch(command)) => command.run(),
        Some(Command::Fetch(command)) => command.run(),
        Some(Command::Verify(command)) => command.run(),
        Some(Command::Models(command)) => command.run(),
        Some(Command::Scene(command)) => command.run(),
        Some(Command::Train(command)) => command.run(),
        Some(Command::Evaluate(command)) => command.run(),
        Some(Command::Bench(command)) => command.run(),
        Some(Command::Devices) => {
            Engine::all().iter().for_each(|device| tell!("{device}"));
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Solvers(command)) => command.run(),
    }
}

/// A progress bar on a terminal, nothing otherwise.
fn progress_bar(length: u64) -> indicatif::ProgressBar {
    let style = indicatif::ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {eta} {msg}");
    let bar = indicatif::ProgressBar::new(length);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A flag that Ctrl-C sets: the job stops after the evaluation it is in and keeps what is finished. A second Ctrl-C
/// ends the program at once.
fn interrupt() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let handler = move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("Stopping after this step; once more to quit at once.");
    };
    ctrlc::set_handler(handler).map_err(|e| Error::Compute(format!("The program cannot listen for Ctrl-C: {e}")))?;
    Ok(stop)
}

/// The device to train on.
///
/// # Errors
/// When networks cannot be trained on it, or this build or this machine does not have it.
fn device(choice: DeviceChoice) -> Result<Device> {
    let missing = |e: candle_core::Error| {
        Error::request(format!(
            "There is no {choice} device: {e}. Build with --features {choice} on a machine that has one, or use cpu."
        ))
    };
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda => Device::new_cuda(0).map_err(missing),
        DeviceChoice::Metal => Device::new_metal(0).map_err(missing),
        DeviceChoice::Auto | DeviceChoice::Gpu => {
            Err(Error::request(format!("Training does not run on {choice}; choose cpu, cuda or metal.")))
        }
    }
}
