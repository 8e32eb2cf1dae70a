//! `copgen generate`: the window's job without the window.

use super::chosen::ChosenModel;
use super::{interrupt, progress_bar};
use crate::error::Result;
use crate::export::{Delivery, DeliveryOptions, Export, ExportRequest};
use crate::job::{Event, RequestOptions, enough_memory, run};
use crate::model::{Manifest, Model};
use crate::process::memory_limit;
use crate::source::Kept;
use std::path::PathBuf;
use std::process::ExitCode;

/// Sample realisations of a place and write them as GeoTIFF.
#[derive(Debug, clap::Args)]
pub(super) struct Generate {
    #[command(flatten)]
    asked: RequestOptions,
    #[command(flatten)]
    chosen: ChosenModel,
    /// Folder to write to.
    #[arg(long)]
    out: PathBuf,
    /// Replace files that exist.
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    files: DeliveryOptions,
    /// Also write a STAC item that describes the files. Each band then has a file of its own, as readers of items expect.
    #[arg(long)]
    stac: bool,
}

impl Generate {
    pub(super) fn run(self) -> Result<ExitCode> {
        let (computing, dir) = (self.chosen.computing(), self.chosen.folder()?);
        let manifest = Manifest::open(&dir)?;
        let request = self.asked.request(&manifest, dir, computing)?;
        let ground = request.place.footprint(&manifest.modalities)?;
        enough_memory(&manifest, &request, &ground, memory_limit())?;
        let _in_use = Kept::usual().and_then(|kept| kept.hold(self.asked.scene.as_deref()?));
        let model = Model::open_on(&request.model, &computing, &mut |note| eprintln!("note: {note}"))?;
        let cancel = interrupt()?;

        let wanted = ExportRequest {
            dir: self.out.clone(),
            stac: self.stac,
            overwrite: self.overwrite,
            ..ExportRequest::default()
        };
        let mut out = Delivery::new(wanted, &self.files, &model, &request);
        // Hidden until there is something to count.
        let bar = progress_bar(0);
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        let result = run(&model, &request, &cancel, false, &mut |event| {
            match &event {
                Event::Stage(stage) => bar.set_prefix(stage.to_string()),
                Event::Progress { done, total, .. } => {
                    if bar.is_hidden() && bar.position() == 0 {
                        bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
                    }
                    bar.set_length(*total as u64);
                    bar.set_position(*done as u64);
                }
                _ => {}
            }
            out.take(event, &cancel, &mut |text| eprintln!("note: {text}"));
        });
        bar.finish_and_clear();
        let written = out.finish();
        let export = out.export().into_iter();
        export.flat_map(Export::written).for_each(|path| tell!("{}", path.display()));
        let finished = out.export().map_or(0, Export::finished);
        let result = written.and(result);
        if finished > 0 && result.is_err() {
            let samples = request.samples;
            eprintln!("{finished} of {samples} realisations were finished and are kept.");
        }
        result.map(|()| ExitCode::SUCCESS)
    }
}
