//! Pictures made of exemplars: what holds for any set of windows.

use super::exemplars::FEWEST_WINDOWS;
use super::matching::{Pick, State, Wanted};
use super::mosaic::mosaic;
use super::tests::table;
use super::*;
use crate::modality::{ModalityTable, Raster, Value};
use crate::model::{MadeUp, write_weights};
use candle_core::Device;
use std::collections::BTreeMap;

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
    let images: BTreeMap<usize, Vec<f32>> =
        [3, 4].map(|window| (window, exemplars.windows()[window].pixels[i].clone().expect("pixels"))).into();
    let picks: Vec<Pick> = (0..exemplars.cells().count()).map(|cell| Pick { window: 3, cell }).collect();
    let off = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off(&mosaic(&images, 24, &part, &picks), &own) < 1e-3);
    // Of two windows: on the right all is the second's, but for what is broad.
    let picks: Vec<Pick> =
        picks.iter().map(|pick| Pick { window: if pick.cell % 24 < 12 { 3 } else { 4 }, ..*pick }).collect();
    let both = mosaic(&images, 24, &part, &picks);
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

#[test]
fn exemplars_add_to_a_first_guess_how_they_differ_from_it() {
    let table = table();
    let index = |name: &str| table.index(name).expect("modality");
    let (optical, classes) = (index("S2L2A_10m"), index("LULC"));
    let network = || FirstGuess::new(&table, 8, &mut MadeUp::new(&Device::Cpu), &Device::Cpu).expect("network");
    let (plain, guessing) = (exemplars(&table), exemplars(&table).with_first_guess(network()));
    let cells_of = |window: usize| plain.windows()[window].cells[classes].clone();
    let given_of = |cells: Option<Vec<f32>>| {
        let mut given = vec![None; table.len()];
        given[classes] = cells;
        given
    };
    // Of cells it guesses the means alone, by what lies around them; location and date say nothing.
    let likely = |given: &[Option<Vec<f32>>]| guessing.likely(given, &[optical]).expect("guess");
    let of_three = likely(&given_of(cells_of(3)));
    assert!(of_three.len() == 8 * 576 && of_three[4 * 576..].iter().all(|v| *v == 0.0));
    assert!(plain.likely(&given_of(cells_of(3)), &[optical]).expect("zeros").iter().all(|v| *v == 0.0));
    let mut dated = given_of(cells_of(3));
    dated[table.iter().position(|m| m.is_scalar()).expect("scalar")] = Some(vec![0.1, 0.2, 0.3]);
    assert_eq!(likely(&dated), of_three);
    let mut corner = cells_of(3).expect("cells");
    corner.iter_mut().step_by(576).for_each(|v| *v += 1.0);
    for (cell, (a, b)) in likely(&given_of(Some(corner))).iter().zip(&of_three).take(576).enumerate() {
        let near = cell / 24 <= 4 && cell % 24 <= 4;
        assert!(near || a == b, "cell {cell}");
    }
    assert_ne!(likely(&given_of(cells_of(4))), of_three);
    // A window itself, given what it holds, is told as it is: what differs is added to what is likely.
    let mut sampled = vec![false; table.len()];
    sampled[optical] = true;
    let given = given_of(cells_of(3));
    let conditions = guessing.conditions(Wanted { given, sampled }).expect("conditions").expect("something is drawn");
    let state = plain.windows()[3].cells[optical].clone().expect("cells");
    let told = conditions.tell(&State { noisy: &state, noise: &vec![0.02; state.len()] }).expect("told");
    let off = told.values.iter().zip(&state).filter(|(a, b)| (*a - *b).abs() > 0.05).count();
    assert!(off < state.len() / 20, "{off} of {}", state.len());
    assert_eq!(conditions.likely(None), of_three);
    let residual = conditions.residual(&state);
    assert!(residual.iter().zip(&state).zip(&of_three).all(|((r, v), likely)| (r + likely - v).abs() < 1e-5));
}
