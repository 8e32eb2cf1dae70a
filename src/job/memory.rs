//! Whether there is memory for a run.

use super::Request;
use crate::error::{Error, Result};
use crate::grid::Footprint;
use crate::model::Manifest;
use crate::sampler::Role;

/// Whether there is memory for a run.
///
/// # Errors
/// How much is missing, and how to go on.
pub fn enough_memory(manifest: &Manifest, request: &Request, ground: &Footprint, free: Option<u64>) -> Result<()> {
    let weights = manifest.weight_bytes(&request.model);
    let generated = request.roles.with(Role::Generated);
    let need = |samples: usize, batch: usize| manifest.run_bytes(weights, &generated, ground, samples, batch);
    let (samples, needed) = (request.samples, need(request.samples, request.batch));
    let Some(free) = free.filter(|free| needed > *free) else { return Ok(()) };
    let together = (1..request.batch.min(samples)).rev().find(|batch| need(samples, *batch) <= free);
    let advice = match (together, (1..samples).rev().find(|samples| need(*samples, 1) <= free)) {
        (Some(batch), _) => format!("compute fewer realisations together, with --batch {batch} or less"),
        (None, Some(most)) => format!(
            "make them in several runs, with --batch 1, --samples {most} or less, and --first for the number of the next one"
        ),
        (None, None) => "not even one realisation fits; close other programs, or use a smaller model".into(),
    };
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    Err(Error::request(format!(
        "This needs about {:.1} GB of memory, and {:.1} GB are free: {advice}.",
        gigabytes(needed),
        gigabytes(free)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::bundled;
    use crate::job::Place;
    use crate::modality::PostOptions;
    use crate::sampler::{Roles, SamplerOptions};
    use crate::scene::Window;
    use std::collections::BTreeMap;

    fn request(samples: usize, batch: usize) -> (Manifest, Request) {
        let model = bundled("models/demo").expect("model");
        let manifest = Manifest::open(&model).expect("manifest");
        let roles = Roles::new(&manifest.modalities, &[], None).expect("roles");
        let (computing, set) = Default::default();
        let place = Place::scene("", Window::Centre);
        let (options, post) = (SamplerOptions::default(), PostOptions::default());
        let request = Request {
            model,
            place,
            roles,
            set,
            keep: BTreeMap::new(),
            samples,
            first: 0,
            seed: 0,
            batch,
            computing,
            options,
            post,
        };
        (manifest, request)
    }

    #[test]
    fn what_is_told_to_save_memory_is_enough_and_no_more_than_needed() {
        let number = |text: &str, option: &str| -> usize {
            let rest = text.split(option).nth(1).unwrap_or_else(|| panic!("no {option} in {text}"));
            rest.trim_start().split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok()).expect("number")
        };
        let ground = Footprint { crs: None, left: 0.0, top: 0.0, width_m: 960.0, height_m: 960.0 };
        let estimate = |samples: usize, batch: usize, free: u64| {
            let (manifest, request) = request(samples, batch);
            enough_memory(&manifest, &request, &ground, Some(free)).map_err(|e| e.to_string())
        };
        let (manifest, all) = request(3000, 3000);
        let (weights, generated) = (manifest.weight_bytes(&all.model), all.roles.with(Role::Generated));
        let need = |samples: usize, batch: usize| manifest.run_bytes(weights, &generated, &ground, samples, batch);
        assert_eq!(estimate(3000, 3000, need(3000, 3000)), Ok(()));
        assert_eq!(enough_memory(&manifest, &all, &ground, None).map_err(|e| e.to_string()), Ok(()));
        let text = estimate(3000, 3000, need(3000, 17)).expect_err("too much");
        assert_eq!(number(&text, "--batch"), 17, "{text}");
        assert!(text.contains(&format!("{:.1} GB of memory", need(3000, 3000) as f64 / 1e9)), "{text}");
        let text = estimate(3000, 3000, need(40, 1)).expect_err("too much");
        assert_eq!((number(&text, "--batch"), number(&text, "--samples")), (1, 40), "{text}");
        assert!(estimate(3000, 3000, 1 << 20).expect_err("too much").contains("not even one"));
        // A batch is never larger than what is asked for.
        assert_eq!(estimate(4, usize::MAX, need(4, 4)), Ok(()));
    }
}
