//! Partly given modalities in the window: proposed by a question, hatched, painted, sampled, told apart, kept.

use crate::common;
use crate::common::harness::*;
use copgen::app::{Base, Brush, Command, ExplorerWindow, Question, Tool};
use copgen::job::KnownWhere;
use copgen::project::Project;
use copgen::sampler::Role;
use copgen::view::Spot;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use std::path::PathBuf;

fn window_on(names: &[&str], session: Option<PathBuf>) -> Harness<'static, ExplorerWindow> {
    let scenes: Vec<PathBuf> = names.iter().map(|name| common::scene(name)).collect();
    let first = scenes.first().cloned();
    let mut harness = window_opening(copgen::app::Options { scenes, first, ..options(session) });
    wait(&mut harness, "reading the scene", observed);
    apply(&mut harness, Command::Guide(None));
    harness
}

#[test]
fn a_cloudy_image_keeps_its_clear_pixels() {
    let dir = tempfile::tempdir().expect("folder");
    let mut harness = window_on(&["bolzano_2022-06-02"], Some(dir.path().into()));
    let optical = index(&harness, "S2L2A_10m");
    apply(&mut harness, Command::Modality(optical));
    apply(&mut harness, Command::Ask(Question::CloudFree));
    let choices = harness.state().session().choices.now().clone();
    assert_eq!(choices.roles[optical], Role::Generated);
    assert!(matches!(choices.keep[&optical].known, KnownWhere::Clear { .. }) && choices.keep.len() == 1);
    // What will be sampled is hatched, and how much is kept is said.
    let share = harness.state().shown().kept_share(optical).expect("share");
    assert!((0.4..0.6).contains(&share) && harness.state().shown().hatching(optical).is_some(), "{share}");
    press(&mut harness, "Band groups of S2L2A");
    wait_for(&mut harness, "S2L2A_10m kept");

    snapshot(&mut harness, "partly_given");
    // The mask can be painted; each stroke is one step, and undone.
    press(&mut harness, "Paint what is kept of S2L2A_10m");
    assert!(matches!(harness.state().shown().tool, Tool::Brush(Brush { keeps: true, code: 0, .. })));
    press(&mut harness, "Paint kept as observed");
    let canvas = harness.get_by_label("Paint").rect();
    drag(&mut harness, canvas.lerp_inside(egui::vec2(0.1, 0.1)), canvas.lerp_inside(egui::vec2(0.9, 0.2)));
    let painted = harness.state().shown().kept_share(optical).expect("share");
    assert!(painted > share + 0.02, "{share} to {painted}");
    assert!(matches!(harness.state().session().choices.now().keep[&optical].known, KnownWhere::Painted(_)));
    press(&mut harness, "Undo stroke");
    assert_eq!(harness.state().shown().kept_share(optical), Some(share));
    // An area that is drawn round is painted as a whole, in one step.
    press(&mut harness, "Paint sampled");
    press(&mut harness, "outline an area");
    let corners = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]];
    let corners = corners.map(|[x, y]: [f32; 2]| canvas.lerp_inside(egui::vec2(x, y)));
    drag_along(&mut harness, &corners);
    let left = harness.state().shown().kept_share(optical).expect("share");
    assert!(left < 0.36 && left < share, "only the edge of the window, of which some is clouded: {left}");
    press(&mut harness, "Undo stroke");
    assert_eq!(harness.state().shown().kept_share(optical), Some(share));
    press(&mut harness, "Done");

    sample(&mut harness, 2, 3);
    let run = harness.state().session().run().expect("run");
    let kept = run.realisations[0].kept[&optical].clone();
    assert!((kept.share() - share).abs() < 1e-9);
    // There is spread where something was sampled and nowhere else; what lay under the cloud is no truth.
    let spread = harness.state().shown().spread.as_ref().expect("spread").samples.spread();
    assert_eq!(spread.valid(), Some(&kept.inverted()));
    let table = harness.state().session().table().expect("table").clone();
    let measures = copgen::ensemble::Measure::of(&table[optical], true);
    let shown = harness.state().shown().measure(&table[optical]);
    assert!(!shown.needs_truth() && measures.iter().any(|measure| measure.needs_truth()));
    assert!(harness.state().shown().distances.values().all(|far| far.observed.is_none() && far.mean.is_some()));
    snapshot(&mut harness, "partly_sampled");
    // The inspector tells kept pixels from sampled ones.
    let at = |set: bool| {
        let pixel = (0..96 * 96).find(|pixel| kept.at(*pixel) == set).expect("a pixel");
        Spot { x: ((pixel % 96) as f64 + 0.5) / 96.0, y: ((pixel / 96) as f64 + 0.5) / 96.0 }
    };
    let (inside, outside) = (at(true), at(false));
    apply(&mut harness, Command::Inspect(Some(inside)));
    wait_for_words(&mut harness, "Observed, not synthetic here: S2L2A_10m");
    apply(&mut harness, Command::Inspect(Some(outside)));
    assert!(harness.query_all_by_label_contains("Observed, not synthetic here").next().is_none());
    apply(&mut harness, Command::Inspect(None));

    // It is recalled, and survives the window.
    let asked = harness.state().session().run().expect("run").request.clone();
    apply(&mut harness, Command::Ask(Question::Nothing));
    assert!(harness.state().session().choices.now().keep.is_empty());
    press(&mut harness, "Recall");
    assert_eq!(harness.state().session().choices.now().keep, asked.keep);
    apply(&mut harness, Command::Seed(77));
    wait(&mut harness, "keeping", |_| Project::read(dir.path()).is_ok_and(|project| project.seed == 77));
    drop(harness);
    let mut harness = window_with(Some(dir.path().into()));
    wait(&mut harness, "coming back", observed);
    let session = harness.state().session();
    assert_eq!(session.choices.now().keep, asked.keep);
    let back = session.run().expect("run");
    assert_eq!((&back.request, back.realisations[0].kept[&optical].share()), (&asked, share));
}

#[test]
fn where_nothing_is_clear_all_is_sampled_and_the_gallery_is_not_black() {
    let mut harness = window_on(&["slovenia_2015-08-20"], None);
    let optical = index(&harness, "S2L1C_10m");
    apply(&mut harness, Command::Modality(optical));
    apply(&mut harness, Command::Ask(Question::CloudFree));
    assert!(harness.state().session().choices.now().keep.is_empty());
    let said = harness.state().session().notes.iter().any(|note| note.text.contains("all of it is sampled"));
    assert!(said, "{:?}", harness.state().session().notes);
    // Nothing is clear enough to set the contrast, so the realisations do.
    press(&mut harness, "S2L1C partly given");
    assert_eq!(harness.state().shown().kept_share(optical), Some(0.0));
    apply(&mut harness, Command::Ask(Question::CloudFree));
    sample(&mut harness, 2, 3);
    let shown = harness.state().shown();
    let ends = shown.stretch().expect("a contrast").0[0];
    let run = harness.state().session().run().expect("run");
    let raster = run.realisations[0].values[optical].as_ref().and_then(copgen::modality::Value::image).expect("image");
    let mut values: Vec<f32> = raster.data.clone();
    values.sort_by(f32::total_cmp);
    let middle = values[values.len() / 2];
    assert!(ends[0] < middle && middle < ends[1], "{ends:?} around {middle}");
}

#[test]
fn a_clear_day_beside_a_cloudy_one_is_swiped_and_measured() {
    let mut harness = window_on(&["bolzano_2022-06-02", "bolzano_2022-06-15", "slovenia_2015-08-20"], None);
    let optical = index(&harness, "S2L2A_10m");
    apply(&mut harness, Command::Modality(optical));
    apply(&mut harness, Command::Ask(Question::CloudFree));
    sample(&mut harness, 2, 3);
    let table = harness.state().session().table().expect("table").clone();
    assert!(!harness.state().shown().has_truth());
    // Of the scenes on the map only the other day shows this ground.
    let others: Vec<String> =
        harness.state().session().references().map(|known| known.scene.name().to_owned()).collect();
    assert_eq!(others, ["bolzano_2022-06-15"]);
    press(&mut harness, "Reference");
    press(&mut harness, "bolzano_2022-06-15");
    wait(&mut harness, "reading the other day", |window| window.shown().reference.is_some());
    let agreement = |harness: &Harness<'static, ExplorerWindow>| harness.state().shown().agreement;
    let [Some(sampled), Some(kept)] = agreement(&harness) else { panic!("{:?}", agreement(&harness)) };
    // Kept pixels are what was observed; under the clouds anything is nearer to the clear day than they are.
    assert_eq!((Some(kept.mean), Some(kept.single)), (kept.observed, kept.observed));
    assert!(sampled.observed.is_some_and(|clouds| clouds > kept.mean && clouds > sampled.mean), "{sampled:?} {kept:?}");
    assert!(sampled.mean <= sampled.single && sampled.pixels + kept.pixels == 96 * 96);
    // It is the truth now, of every realisation and of spread.
    let shown = harness.state().shown();
    assert!(shown.has_truth() && shown.distances.values().all(|far| far.observed.is_some()));
    let error = copgen::ensemble::Measure::of(&table[optical], true)
        .iter()
        .position(|measure| measure.needs_truth())
        .expect("a measure");
    apply(&mut harness, Command::Measure(error));
    wait(&mut harness, "the error", |window| {
        window.shown().spread.as_ref().is_some_and(|spread| spread.samples.measure.needs_truth())
    });
    apply(&mut harness, Command::Measure(0));
    press(&mut harness, "swipe with reference");
    snapshot(&mut harness, "partly_reference");
    // What is exported says pixel by pixel what was observed.
    let out = tempfile::tempdir().expect("folder");
    press(&mut harness, "Export …");
    fill(&mut harness, "Folder", &out.path().display().to_string());
    press(&mut harness, "Write files");
    wait(&mut harness, "exporting", |w| w.session().notes.iter().any(|note| note.text.contains("files were written")));
    let names = common::files(out.path());
    assert!(names.iter().any(|name| name.contains("S2L2A_10m") && name.ends_with("_observed.tif")), "{names:?}");
    press(&mut harness, "Show reference");
    assert_eq!(harness.state().shown().base, Base::Reference);
    // Other bands are measured by themselves.
    let before = agreement(&harness);
    apply(&mut harness, Command::Quantity(3));
    wait(&mut harness, "another band", |window| window.shown().agreement != before);
    apply(&mut harness, Command::Compare(None));
    wait(&mut harness, "no reference", |window| window.shown().reference.is_none());
    assert_eq!((agreement(&harness), harness.state().shown().base), ([None; 2], Base::Observed));
    assert!(!harness.state().shown().has_truth());
}
