//! `copgen models`.

use super::interrupt;
use crate::error::{Error, Result};
use crate::files::size_text;
use crate::hub::{
    Hub, InstallRequest, Library, Listed, Progress, Source, State, import_files, install, model_folder, remove, verify,
};
use crate::model::{Engine, MANIFEST_FILE, Manifest, Model, count_values, sha256_of};
use crate::net::{Network, RetryPolicy};
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// List, fetch, import, inspect, check and remove models.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Models {
    /// Print the models that are known, and how much of each is installed.
    List,
    /// Fetch a model of the catalogue, or the parts of it that are not here yet. What was interrupted goes on.
    Download {
        /// Name in the catalogue.
        id: String,
        /// Only the autoencoders of these modalities, comma-separated: S2L2A,DEM. The rest can be fetched later.
        #[arg(long, value_delimiter = ',')]
        modalities: Option<Vec<String>>,
        /// Store half-precision weights: half the size.
        #[arg(long)]
        half: bool,
    },
    /// Convert published files that are on this machine into a model folder.
    Import {
        /// Name in the catalogue: its files are looked for below --from, and it is installed like a download.
        #[arg(required_unless_present = "denoiser", requires = "from", conflicts_with_all = ["denoiser", "autoencoders", "out", "heads"])]
        id: Option<String>,
        /// Folder that holds the published files, in whatever folders below; one of the Hugging Face cache will do.
        #[arg(long, requires = "id")]
        from: Option<PathBuf>,
        /// With a name: only the autoencoders of these modalities.
        #[arg(long, value_delimiter = ',', requires = "id")]
        modalities: Option<Vec<String>>,
        /// Without a name: the denoiser, `500000_nnet_ema.pth`.
        #[arg(long, requires_all = ["autoencoders", "out"])]
        denoiser: Option<PathBuf>,
        /// Without a name: folder with one folder per autoencoder, each with `model-50-ema.pth`.
        #[arg(long)]
        autoencoders: Option<PathBuf>,
        /// Without a name: new model folder.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Store half-precision weights: half the size.
        #[arg(long)]
        half: bool,
        /// Attention heads, for a denoiser of none of the published sizes.
        #[arg(long)]
        heads: Option<usize>,
    },
    /// Print what a model holds, after checking every file.
    Inspect {
        /// Name or folder of the model.
        dir: PathBuf,
    },
    /// Compare the hash of every file with what was installed.
    Verify {
        /// Name or folder of the model; all installed ones if left out.
        model: Option<PathBuf>,
    },
    /// Remove an installed model, or what was fetched of one.
    Remove {
        /// Its name.
        id: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

impl Models {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self {
            Self::List => list()?,
            Self::Download { id, modalities, half } => {
                let network = Network::new(RetryPolicy::default());
                let hub = Hub::from_env();
                fetch(&InstallRequest { id, modalities, half }, &Source::Hub(&hub, &network))?;
            }
            Self::Import { id: Some(id), from: Some(from), modalities, half, .. } => {
                fetch(&InstallRequest { id, modalities, half }, &Source::Folder(&from))?;
            }
            Self::Import {
                denoiser: Some(denoiser),
                autoencoders: Some(autoencoders),
                out: Some(out),
                half,
                heads,
                ..
            } => {
                // The published layout.
                let mut entry = crate::hub::Catalogue::bundled()
                    .get("cop-gen")
                    .cloned()
                    .ok_or_else(|| Error::request("The catalogue does not hold the published layout."))?;
                entry.heads = heads;
                let manifest =
                    import_files(&entry, &denoiser, &autoencoders, &out, half, &mut |what| eprintln!("{what}"))?;
                tell!("imported {} into {}", manifest.name, out.display());
            }
            Self::Import { .. } => {
                return Err(Error::request(
                    "Say what to import: ID --from FOLDER, or --denoiser FILE --autoencoders FOLDER --out FOLDER.",
                ));
            }
            Self::Inspect { dir } => inspect(&model_folder(&dir)?)?,
            Self::Verify { model } => return check(model),
            Self::Remove { id, yes } => {
                let library = Library::open()?;
                if !yes {
                    ask(&format!("Remove {id} from {}? [y/N] ", library.dir.display()))?;
                }
                remove(&library, &id)?;
                tell!("removed {id}");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn state(listed: &Listed) -> String {
    let missing = listed.parts.iter().filter(|part| !part.here).flat_map(|part| part.modalities.clone());
    match &listed.state {
        State::Bundled => "bundled".into(),
        State::Installed => "installed".into(),
        State::Partly => format!("installed without {}", missing.collect::<Vec<_>>().join(", ")),
        State::Begun => "begun; copgen models download goes on".into(),
        State::Absent => "not here".into(),
        State::Broken(problem) => format!("cannot be read: {problem}"),
    }
}

fn list() -> Result<()> {
    let library = Library::open()?;
    for listed in library.list() {
        tell!("{:<14} {}: {}", listed.id, listed.name, state(&listed));
        if matches!(listed.state, State::Broken(_)) {
            if listed.removable {
                tell!("{:14} remove it with: copgen models remove {}", "", listed.id);
            }
            continue;
        }
        let (fetch, memory) = (listed.missing_bytes(), size_text(listed.memory_bytes));
        let half = if listed.half { " in half precision" } else { "" };
        let here =
            if listed.bytes > 0 { format!("{} on disk{half}, ", size_text(listed.bytes)) } else { String::new() };
        let fetch = if fetch > 0 { format!("about {} to fetch, ", size_text(fetch)) } else { String::new() };
        tell!("{:14} {here}{fetch}about {memory} of memory; licence: {}", "", listed.licence);
        tell!("{:14} {}", "", listed.description);
    }
    tell!("Models are installed in {}", library.dir.display());
    Ok(())
}

fn fetch(request: &InstallRequest, source: &Source) -> Result<()> {
    let library = Library::open()?;
    let stop = interrupt()?;
    let mut shown = Shown::new();
    let done = install(&library, request, source, &stop, &mut |progress| shown.show(progress));
    shown.bar.finish_and_clear();
    if matches!(done, Err(Error::Cancelled)) {
        library.pause(&request.id)?;
    }
    if done.is_err() && library.is_begun(&request.id) {
        let dir = library.dir.join(&request.id);
        eprintln!("What has arrived is kept in {}; the same command goes on from there.", dir.display());
    }
    let manifest = done?;
    tell!("installed {} in {}", manifest.name, library.dir.join(&request.id).display());
    let absent: Vec<usize> = (0..manifest.modalities.len()).filter(|&i| manifest.is_absent(i)).collect();
    if !absent.is_empty() {
        let names: Vec<&str> = absent.iter().map(|&i| manifest.modalities[i].name.as_str()).collect();
        tell!("without the autoencoders of {}", names.join(", "));
    }
    Ok(())
}

/// A bar on a terminal, a line now and then elsewhere.
struct Shown {
    bar: indicatif::ProgressBar,
    line: Option<(String, Instant)>,
}

impl Shown {
    /// Lines about the same thing come at most this often.
    const PAUSE: Duration = Duration::from_secs(10);

    fn new() -> Self {
        let bar = indicatif::ProgressBar::new(0);
        let template = "{prefix} {wide_bar} {bytes}/{total_bytes} {msg}";
        let style = indicatif::ProgressStyle::with_template(template);
        Self { bar: style.map(|style| bar.clone().with_style(style)).unwrap_or(bar), line: None }
    }

    fn show(&mut self, progress: &Progress) {
        let speed = progress.pace();
        if std::io::stderr().is_terminal() {
            self.bar.set_length(progress.total);
            self.bar.set_position(progress.done);
            self.bar.set_prefix(progress.what.clone());
            self.bar.set_message(speed);
            return;
        }
        if self.line.as_ref().is_some_and(|(what, at)| *what == progress.what && at.elapsed() < Self::PAUSE) {
            return;
        }
        self.line = Some((progress.what.clone(), Instant::now()));
        eprintln!("{} ({} of {}) {speed}", progress.what, size_text(progress.done), size_text(progress.total));
    }
}

fn check(model: Option<PathBuf>) -> Result<ExitCode> {
    let named = model.is_some();
    let there = |listed: &Listed| listed.usable() || matches!(listed.state, State::Broken(_));
    let folders = match model {
        Some(model) => vec![model_folder(&model)?],
        None => Library::open()?.list().into_iter().filter(there).map(|listed| listed.dir).collect(),
    };
    let mut whole = true;
    for dir in folders {
        tell!("{}", dir.display());
        let files = match verify(&dir, &AtomicBool::new(false), &mut |_| {}) {
            // The others may be whole.
            Err(error) if !named => {
                tell!("  {error}");
                whole = false;
                continue;
            }
            files => files?,
        };
        for checked in files {
            whole &= checked.problem.is_none();
            let found = checked.problem.unwrap_or_else(|| "as installed".into());
            tell!("  {} ({}): {found}", checked.file.display(), size_text(checked.bytes));
        }
    }
    if !whole {
        eprintln!("Remove what is damaged and fetch it again: copgen models remove ID, copgen models download ID.");
    }
    Ok(ExitCode::from(u8::from(!whole)))
}

fn ask(question: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::request("Nobody can be asked here; add --yes to remove it."));
    }
    let mut err = std::io::stderr();
    let mut answer = String::new();
    let asked = write!(err, "{question}")
        .and_then(|()| err.flush())
        .and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    asked.map_err(|e| Error::Compute(format!("The question could not be asked: {e}")))?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::Cancelled),
    }
}

fn inspect(dir: &Path) -> Result<()> {
    let manifest = Manifest::open(dir)?;
    tell!(
        "{}\n{}\nlicence: {}\nattribution: {}",
        manifest.name,
        manifest.description,
        manifest.licence,
        manifest.attribution
    );
    tell!("sha256 of the manifest: {}", sha256_of(&dir.join(MANIFEST_FILE))?);
    let window = manifest.modalities.window_m();
    match &manifest.cascade {
        Some(_) => tell!("window: {window} m"),
        None => tell!("window: {window} m, {} tokens", manifest.modalities.tokens()),
    }
    let count = |file: &Path| -> Result<(usize, u64)> {
        let values = count_values(file)?;
        let bytes = std::fs::metadata(file).map_err(|e| crate::Error::io(file, "read", &e))?.len();
        Ok((values, bytes))
    };
    // Loading checks hashes, names and shapes.
    let model = Model::open(dir, &Engine::cpu())?;
    let (values, bytes) = count(&dir.join(&manifest.denoiser_weights.file))?;
    if let Some(d) = &manifest.denoiser {
        tell!(
            "denoiser: width {}, depth {} + 1, {} heads, {values} parameters, {bytes} bytes",
            d.width,
            d.depth,
            d.heads
        );
    }
    if let Some(cascade) = &manifest.cascade {
        tell!("coarse network: width {}, {values} parameters, {bytes} bytes", cascade.coarse.width);
        let (values, bytes) = count(&dir.join(&cascade.refiner_weights.file))?;
        tell!("refiner: width {}, {values} parameters, {bytes} bytes", cascade.refiner.width);
    }
    for (i, m) in manifest.modalities.iter().enumerate() {
        let [c, h, w] = m.latent;
        let mut line = format!("  {i:>2} {:<12} {:<32} latent {c}×{h}×{w}", m.name, m.key);
        if manifest.is_absent(i) {
            line += "  not installed";
        } else if let Some(entry) = manifest.autoencoders.get(&m.key) {
            model.autoencoder(i)?;
            let (values, bytes) = count(&dir.join(&entry.weights.file))?;
            line += &format!("  {} px of {} m, {values} parameters, {bytes} bytes", m.pixels, m.ground_m);
        } else if manifest.cascade.is_some() && !m.is_scalar() {
            line += &format!("  {} px of {} m", m.pixels, m.ground_m);
        }
        tell!("{line}");
    }
    Ok(())
}
