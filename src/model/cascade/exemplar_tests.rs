//! Pictures made of exemplars: what holds for any set of windows.

use super::exemplars::FEWEST_WINDOWS;
use super::matching::{State, Wanted};
use super::mosaic::mosaic;
use super::tests::table;
use super::*;
use crate::modality::{ModalityTable, Raster, Value};
use crate::model::write_weights;

/// Windows of which each is a landscape of its own: fields of some pixels, a class on its left that differs.
fn windows(table: &ModalityTable) -> Vec<Vec<Option<Value>>> {
    let window = |number: usize| {
        let mut values: Vec<Option<Value>> = vec![None; table.len()];
        for (name, of) in [("S2L2A_10m", 0), ("LULC", 1), ("S1RTC", 2)] {
            let i = table.index(name).expect("modality");
            let m = &table[i];
            let side = m.pixels;
            let value = |channel: usize, pixel: usize| {
                let (row, column) = (pixel / side, pixel % side);
                let field = (row / (5 + number) * 7 + column / (4 + number) * 13 + number * 5 + channel) % 17;
                match of {
                    0 => 300.0 + 100.0 * field as f32 + ((row * 31 + column * 17) % 23) as f32,
                    1 => {
                        if column < 8 * (number + 1) {
                            1.0
                        } else {
                            5.0
                        }
                    }
                    _ => 0.02 + 0.01 * field as f32,
                }
            };
            values[i] = Some(Value::Image(Raster::from_fn(m.channels.len(), side, side, value)));
        }
        values
    };
    (0..FEWEST_WINDOWS).map(window).collect()
}

fn standards(table: &ModalityTable) -> Vec<Option<Standard>> {
    let cells = Cells::new(table).expect("cells");
    let standard = |part: &Option<Part>| {
        let part = part.as_ref()?;
        let spreads = if part.has_spreads() { part.channels } else { 0 };
        Some(Standard { pixels: vec![[-0.5, 0.3]; part.channels], spreads: vec![[-2.0, 0.7]; spreads] })
    };
    cells.parts.iter().map(standard).collect()
}

fn exemplars(table: &ModalityTable) -> Exemplars {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("exemplars.safetensors");
    let tensors = Exemplars::tensors(table, &standards(table), &windows(table)).expect("tensors");
    let sha256 = write_weights(&path, &tensors, true).expect("written");
    let problem = Exemplars::open(&path, Some("0"), table, &standards(table)).expect_err("another file");
    assert!(problem.to_string().contains("exemplars.safetensors"), "{problem}");
    Exemplars::open(&path, Some(&sha256), table, &standards(table)).expect("exemplars")
}

#[test]
fn a_mosaic_of_one_window_is_that_window_and_has_no_seams() {
    let table = table();
    let exemplars = exemplars(&table);
    let i = table.index("S2L2A_10m").expect("modality");
    let part = exemplars.cells().parts[i].clone().expect("image");
    let own = exemplars.windows()[3].pixels[i].clone().expect("pixels");
    let picks: Vec<(usize, usize)> = (0..exemplars.cells().count()).map(|cell| (3, cell)).collect();
    let off = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off(&mosaic(&exemplars, i, &part, &picks), &own) < 1e-3);
    // Of two windows: on the right all is the second's, but for what is broad.
    let picks: Vec<(usize, usize)> = picks.iter().map(|&(_, c)| (if c % 24 < 12 { 3 } else { 4 }, c)).collect();
    let both = mosaic(&exemplars, i, &part, &picks);
    let steps =
        |image: &[f32], row: usize| (60..90).map(|c| image[row * 96 + c + 1] - image[row * 96 + c]).collect::<Vec<_>>();
    let other = exemplars.windows()[4].pixels[i].clone().expect("pixels");
    assert!(off(&steps(&both, 40), &steps(&other, 40)) < 0.1);
}

#[test]
fn what_fits_best_is_found_and_given_classes_are_followed() {
    let table = table();
    let exemplars = exemplars(&table);
    let index = |name: &str| table.index(name).expect("modality");
    let (optical, classes, radar) = (index("S2L2A_10m"), index("LULC"), index("S1RTC"));
    let cells_of = |window: usize, i: usize| exemplars.windows()[window].cells[i].clone();
    let mut given = vec![None; table.len()];
    given[classes] = cells_of(3, classes);
    let mut sampled = vec![false; table.len()];
    sampled[optical] = true;
    let wanted = |given: &[Option<Vec<f32>>], sampled: &[bool]| Wanted { given: given.into(), sampled: sampled.into() };
    assert_eq!(exemplars.drawn(&wanted(&given, &sampled)), [optical]);
    sampled[radar] = true;
    assert_eq!(exemplars.drawn(&wanted(&given, &sampled)), [optical, radar]);
    sampled[radar] = false;
    let conditions = exemplars.conditions(wanted(&given, &sampled)).expect("conditions").expect("something is drawn");
    let state = cells_of(3, optical).expect("cells");
    let told = conditions.tell(&State { noisy: &state, noise: &vec![0.02; state.len()] }).expect("told");
    let right = told
        .picks
        .iter()
        .enumerate()
        .filter(|(cell, pick)| (conditions.number(pick.window), pick.cell) == (3, *cell))
        .count();
    assert!(right > 500, "{right} of 576 cells");
    // Under noise that drowns everything the given classes alone decide: on the left, what was forest somewhere.
    let drowned = vec![0.0; state.len()];
    let told = conditions.tell(&State { noisy: &drowned, noise: &vec![1e4; state.len()] }).expect("told");
    for (cell, pick) in told.picks.into_iter().enumerate() {
        let (window, other) = (conditions.number(pick.window), pick.cell);
        let class = |window: usize, cell: usize| cells_of(window, classes).expect("cells")[5 * 576 + cell] > 0.0;
        if ![7, 8].contains(&(cell % 24)) {
            assert_eq!(class(window, other), class(3, cell), "cell {cell} is cell {other} of {window}");
        }
    }
    // From reflectance, statistics and the refiner tell reflectance; and clouds are not drawn of clear windows.
    let l1c = index("S2L1C_10m");
    given[l1c] = Some(vec![0.0; 8 * 576]);
    assert!(exemplars.drawn(&wanted(&given, &sampled)).is_empty());
    assert!(exemplars.conditions(wanted(&given, &sampled)).expect("conditions").is_none());
}
