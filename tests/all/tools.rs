//! What the pointer does on the map: painting, marking, measuring, choosing places.

use crate::common::harness::*;
use copgen::app::{Base, Brush, Command, GuideStep, Question, RunState, Stroked, Tool};
use copgen::job::SetValue;
use copgen::modality::{ClassMap, Value};
use copgen::project::Project;
use copgen::sampler::Role;
use copgen::view::Spot;
use egui_kittest::kittest::Queryable;

const WATER: u8 = 1;

#[test]
fn land_cover_is_painted_undone_given_and_kept() {
    let dir = tempfile::tempdir().expect("folder");
    let mut harness = window_with(Some(dir.path().into()));
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Guide(None));
    let lulc = index(&harness, "LULC");
    let read = harness.state().session().class_map(lulc).expect("classes");
    press(&mut harness, "Paint LULC");
    press(&mut harness, "Paint Water");
    let brush = harness.state().shown().tool;
    assert!(matches!(brush, Tool::Brush(Brush { code: WATER, .. })), "{brush:?}");
    let canvas = harness.get_by_label("Paint").rect();
    drag(&mut harness, canvas.lerp_inside(egui::vec2(0.3, 0.3)), canvas.lerp_inside(egui::vec2(0.6, 0.4)));
    let once = harness.state().session().class_map(lulc).expect("classes");
    let water = |map: &ClassMap| map.codes().iter().filter(|code| **code == WATER).count();
    assert!(water(&once) > water(&read) + 100, "{} to {}", water(&read), water(&once));
    assert!(harness.state().shown().painting(lulc).is_some());
    drag(&mut harness, canvas.lerp_inside(egui::vec2(0.3, 0.7)), canvas.lerp_inside(egui::vec2(0.5, 0.8)));
    let twice = harness.state().session().class_map(lulc).expect("classes");
    assert!(water(&twice) > water(&once));
    // Each stroke is one step.
    press(&mut harness, "Undo stroke");
    assert_eq!(harness.state().session().class_map(lulc), Some(once.clone()));
    press(&mut harness, "Done");
    // What was painted is what is given.
    sample(&mut harness, 2, 2);
    let run = harness.state().session().run().expect("run");
    assert_eq!(run.request.set.get(&lulc), Some(&SetValue::Painted(once.clone())));
    let lineage = run.lineage.as_ref().expect("lineage");
    assert!(format!("{lineage:?}").contains("LULC set by hand to a painted map (Water"), "{lineage:?}");
    apply(&mut harness, Command::Undo);
    assert_eq!(harness.state().session().class_map(lulc), Some(read), "all of it is undone");
    press(&mut harness, "Recall");
    assert_eq!(harness.state().session().class_map(lulc), Some(once.clone()));
    // It survives the window. The run holds the map too, so the seed tells that the choices are written.
    apply(&mut harness, Command::Seed(77));
    wait(&mut harness, "keeping", |_| Project::read(dir.path()).is_ok_and(|project| project.seed == 77));
    drop(harness);
    let mut harness = window_with(Some(dir.path().into()));
    wait(&mut harness, "coming back", observed);
    assert_eq!(harness.state().session().class_map(lulc), Some(once));
}

#[test]
fn painting_beside_a_cell_without_data_starts_from_one_class() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Pick(copgen::app::Selection::Cell("618U_30L".parse().expect("cell"))));
    wait(&mut harness, "reading the cell", observed);
    let lulc = index(&harness, "LULC");
    let brush = Brush { modality: lulc, code: 2, keeps: false, radius_m: 100.0, outline: false };
    let at = Spot { x: 0.5, y: 0.5 };
    apply(&mut harness, Command::Paint(Stroked { brush, from: at, to: at }));
    let session = harness.state().session();
    assert_eq!(session.choices.now().roles[lulc], Role::Given);
    assert!(session.request().is_ok());
    let map = session.class_map(lulc).expect("classes");
    assert!((250..380).contains(&map.codes().iter().filter(|code| **code == 2).count()), "a disc of 100 m");
}

#[test]
fn an_area_is_marked_and_counted() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Ask(Question::CloudFree));
    sample(&mut harness, 2, 2);
    press(&mut harness, "Area");
    let canvas = harness.get_by_label("Mark an area").rect();
    drag(&mut harness, canvas.lerp_inside(egui::vec2(0.7, 0.75)), canvas.lerp_inside(egui::vec2(0.4, 0.35)));
    wait(&mut harness, "counting", |w| w.shown().area_figures.is_some());
    let [a, b] = harness.state().shown().area.expect("area");
    assert!(a.x < b.x && a.y < b.y && (b.x - a.x - 0.3).abs() < 0.06, "{a:?} {b:?}");
    let figures = harness.state().shown().area_figures.as_ref().expect("figures");
    assert!(
        (figures.observed.iter().sum::<f32>() - 1.0).abs() < 1e-3
            && (figures.made.iter().sum::<f32>() - 1.0).abs() < 1e-3
    );
    assert!(figures.classes.len() > 1 && figures.classes[0].bands.len() == 12, "{:?}", figures.classes);
    assert!(harness.query_by_label_contains("Mean spectra by land cover").is_some());
    // An index has its own figures.
    let before = figures.range;
    press(&mut harness, "Compare NDVI");
    wait(&mut harness, "counting again", |w| w.shown().area_figures.as_ref().is_some_and(|f| f.range != before));
    let range = harness.state().shown().area_figures.as_ref().expect("figures").range;
    assert!(range[0] >= -1.0 && range[1] <= 1.0, "{range:?}");
    harness.key_press(egui::Key::Escape);
    harness.run_steps(3);
    assert!(harness.state().shown().area.is_none());
}

#[test]
fn the_truth_is_compared_with_where_it_is_known() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Ask(Question::CloudFree));
    sample(&mut harness, 3, 2);
    // Error of the mean, then the rank of the truth.
    for (measure, words) in [(4, "Error of the mean"), (5, "Rank of the truth")] {
        let id = harness.state().shown().spread.as_ref().expect("spread").id;
        apply(&mut harness, Command::Measure(measure));
        wait(&mut harness, words, |w| w.shown().spread.as_ref().is_some_and(|s| s.id != id));
        assert!(harness.query_all_by_label_contains(words).count() > 0);
        let values = harness.state().shown().spread.as_ref().expect("spread").samples.spread().data;
        let (low, high) = values.iter().fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
        assert!(low >= 0.0 && high > low && (measure == 4 || high <= 1.0), "{words}: {low} … {high}");
    }
    apply(&mut harness, Command::Spread(true));
    harness.render().expect("a picture with the overlay");
}

#[test]
fn distances_are_measured_and_places_chosen_by_clicks() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    let location = index(&harness, "location");
    let before = harness.state().session().choices.now().clone();
    press(&mut harness, "Choose the place on the map");
    assert_eq!(harness.state().shown().tool, Tool::Place(location));
    let map = egui::pos2(1000.0, 700.0);
    click(&mut harness, map);
    harness.run_steps(3);
    let session = harness.state().session();
    let Some(SetValue::Location(at)) = session.request().expect("request").set.get(&location).cloned() else {
        panic!("no place was set: {:?}", session.choices.now())
    };
    let scene = session.scenes[0].scene.location().expect("place");
    assert!((at.lat - scene.lat).abs() < 0.1 && (at.lon - scene.lon).abs() < 0.1 && at != scene, "{at:?}");
    assert_eq!(harness.state().shown().tool, Tool::Pointer);
    apply(&mut harness, Command::Undo);
    assert_eq!(*harness.state().session().choices.now(), before);

    press(&mut harness, "Ruler");
    for at in [map, map - egui::vec2(200.0, 0.0)] {
        click(&mut harness, at);
        // Clicks in quick succession would be a double click.
        harness.run_steps(30);
    }
    let path = harness.state().shown().ruler.clone();
    assert_eq!(path.len(), 2, "{path:?}");
    harness.render().expect("a picture with the path");
}

#[test]
fn dates_are_picked_and_places_drawn() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    let [date, location] = ["date", "location"].map(|name| index(&harness, name));
    apply(&mut harness, Command::Set(date, "2021-07-09".into()));
    assert!(matches!(harness.state().session().request().expect("request").set[&date], SetValue::Date(_)));
    assert!(harness.query_by_label("Choose the date").is_some());
    apply(&mut harness, Command::Roles(vec![date, location], Role::Generated));
    apply(&mut harness, Command::Steps(2));
    apply(&mut harness, Command::Samples(3));
    press(&mut harness, "Generate");
    wait(&mut harness, "sampling", |w| w.session().run().is_some_and(|run| run.state == RunState::Finished));
    let made = harness.state().session().run().expect("run").realisations[0].clone();
    assert!(
        matches!(made.values[date], Some(Value::Date(_))) && matches!(made.values[location], Some(Value::Location(_)))
    );
    for (name, words) in [("Show date", "Mean day"), ("Show location", "Mean ")] {
        press(&mut harness, name);
        assert!(harness.query_all_by_label_contains(words).count() > 0, "{name}");
        harness.render().expect("a picture");
    }
}

#[test]
fn pictures_zoom_in_step_are_pinned_and_played() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    sample(&mut harness, 3, 2);
    let card = harness.get_by_label("Show realisation 1").rect().center();
    harness.hover_at(card);
    harness.run_steps(2);
    harness.event(egui::Event::Zoom(3.0));
    harness.run_steps(2);
    let lens = harness.state().shown().gallery_zoom;
    assert!((lens.zoom - 3.0).abs() < 1e-3, "{lens:?}");
    drag(&mut harness, card, card - egui::vec2(20.0, 10.0));
    assert_ne!(harness.state().shown().gallery_zoom, lens);
    apply(&mut harness, Command::Pin(2, true));
    let pinned = harness.state().session().run().expect("run").pinned.clone();
    assert_eq!(harness.state().shown().sorted(&pinned), [2, 0, 1]);
    apply(&mut harness, Command::Base(Base::Realisation(0)));
    press(&mut harness, "Play");
    assert!(harness.state().shown().playing.is_some());
    // Each comes after the one before it, after the last the first; on a busy machine some are over already.
    let (mut last, mut shown) = (None, 0);
    wait_until(&mut harness, "three pictures", |harness| {
        let Base::Realisation(now) = harness.state().shown().base else { panic!("no realisation") };
        if last != Some(now) {
            assert!(last.is_none_or(|last| now == (last + 1) % 3), "{now} after {last:?}");
            (last, shown) = (Some(now), shown + 1);
        }
        shown == 3
    });
    harness.key_press(egui::Key::P);
    harness.run_steps(2);
    assert!(harness.state().shown().playing.is_none());
}

#[test]
fn a_newcomer_is_led_to_a_result() {
    let dir = tempfile::tempdir().expect("folder");
    let mut harness = window_with(Some(dir.path().into()));
    wait(&mut harness, "reading the first scene", observed);
    press(&mut harness, "Go on");
    press(&mut harness, "Ask: cloud-free view");
    harness.get_all_by_label("Generate").last().expect("the guide's button").click();
    harness.run_steps(3);
    assert!(harness.state().session().run().is_some());
    wait(&mut harness, "the comparison", |w| compared(w) && !w.session().busy());
    press(&mut harness, "Show variance");
    assert!(harness.state().shown().spread_wanted);
    press(&mut harness, "Close the guide");
    assert!(harness.query_by_label_contains("Where they disagree").is_none());
    apply(&mut harness, Command::Guide(Some(GuideStep::Look)));
    assert!(harness.query_by_label_contains("A place, as satellites saw it").is_some());
}
