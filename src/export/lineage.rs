//! What files say about how they were made.

use crate::grid::Footprint;
use crate::job::{Request, SETTINGS_KEY, SetValue, Settings};
use crate::modality::{ModalityTable, Value};
use crate::model::ModelIdentity;
use crate::sampler::Role;
use crate::scene::Observation;
use std::collections::BTreeSet;
use std::path::Path;

/// What is written into every file about how it was made.
#[derive(Debug, Clone)]
pub struct Lineage {
    /// The modality table of the model.
    pub table: ModalityTable,
    /// Name of the place and window; begins every file name.
    pub tile: String,
    /// Ground the files cover.
    pub footprint: Footprint,
    /// Seed of the run; part of every file name.
    pub seed: u64,
    /// Modalities of which a part is kept as observed, by index.
    pub kept: BTreeSet<usize>,
    /// Date of the place (ISO 8601 day), if known.
    pub date: Option<String>,
    pub(super) metadata: Vec<(String, String)>,
}

impl Lineage {
    /// Collects what there is to say about a run. The number of realisations computed together is left out: it does
    /// not matter, and files stay the same whatever it was.
    pub fn new(model: &ModelIdentity, table: &ModalityTable, request: &Request, observation: &Observation) -> Self {
        let given = |i: &usize| -> String {
            let name = &table[*i].name;
            if let Some(set @ (SetValue::Class(_) | SetValue::Painted(_) | SetValue::Location(_) | SetValue::Date(_))) =
                request.set.get(i)
            {
                return format!("{name} set by hand to {}", set.describe(&table[*i]));
            }
            let Some(given) = &observation.values[*i] else { return name.clone() };
            let date = given.date.as_ref().map(|d| format!(" of {d}")).unwrap_or_default();
            let files: Vec<String> = given.sources.iter().map(|p| short(p)).collect();
            match (&given.value, files.is_empty()) {
                (_, false) => {
                    let origin = given.origin.as_ref().map(|origin| format!(" ({origin})")).unwrap_or_default();
                    format!("{name}{date} from {}{origin}", files.join(" and "))
                }
                (Value::Location(at), true) => format!("{name} {:.6},{:.6}", at.lat, at.lon),
                (Value::Date(date), true) => format!("{name} {date}"),
                (Value::Image(_), true) => format!("{name} set by hand"),
            }
        };
        let roles = |role: Role| request.roles.with(role);
        let names = |role: Role| roles(role).iter().map(|&i| table[i].name.clone()).collect::<Vec<_>>().join(" ");
        let options = &request.options;
        let condition = format!("{:?}", options.condition);
        let solver = format!(
            "{} on a grid even in {}, {} evaluations{}",
            options.solver.name(),
            options.method().grid.name(),
            options.steps,
            if options.final_denoise { " and a final denoising one" } else { "" }
        );
        let kept: BTreeSet<usize> = request.keep.keys().copied().filter(|i| observation.values[*i].is_some()).collect();
        let kept_from = |i: &usize| {
            let keep = &request.keep[i];
            format!("{}, kept where {}, {} m from what is not", given(i), keep.known.describe(), keep.buffer_m)
        };
        let method = format!(
            "estimates kept to what is observed by the model itself if it takes what is known, else by at most {} probes a step",
            options.keep.probes()
        );
        let settings = serde_json::json!(Settings::of(table, request)).to_string();
        let mut metadata = vec![
            ("synthetic", "yes".to_owned()),
            ("model", model.name.clone()),
            ("model_sha256", model.sha256.clone()),
            ("model_licence", model.licence.clone()),
            ("model_attribution", model.attribution.clone()),
            ("seed", request.seed.to_string()),
            ("steps", options.steps.to_string()),
            ("solver", solver),
            ("condition_latent", condition),
            ("ignored_modalities", format!("{:?}", options.ignored)),
            ("given", names(Role::Given)),
            ("given_from", roles(Role::Given).iter().map(given).collect::<Vec<_>>().join("; ")),
            ("generated", names(Role::Generated)),
            ("clip_reflectance", yes_no(request.post.clip_reflectance)),
            ("normalise_location", yes_no(request.post.normalise_location)),
            (SETTINGS_KEY, settings),
            ("tile", observation.tile.clone()),
            ("program", format!("COP-GEN Explorer {}", env!("CARGO_PKG_VERSION"))),
        ];
        if !kept.is_empty() {
            metadata.push(("kept_from", kept.iter().map(kept_from).collect::<Vec<_>>().join("; ")));
            metadata.push(("kept_by", method));
        }
        Self {
            tile: observation.tile.clone(),
            footprint: observation.footprint.clone(),
            seed: request.seed,
            kept,
            date: observation.date(table),
            metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            table: table.clone(),
        }
    }
}

fn yes_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// Folder and name of a source file: enough to find it, the same on every machine.
fn short(path: &Path) -> String {
    let parts: Vec<_> = path.components().rev().take(2).map(|c| c.as_os_str().to_string_lossy()).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}
