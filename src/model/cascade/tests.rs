//! The networks of a cascade with made-up weights: what holds whatever they have learned.

use super::*;
use crate::modality::{Mask, ModalityTable};
use crate::model::{Init, Known, MadeUp, NoisePredictor, Parameters};
use candle_core::{Device, Tensor};

const COARSE: CoarseSizes = CoarseSizes { width: 32, blocks: 1, middle_blocks: 1, heads: 2 };

pub(super) fn table() -> ModalityTable {
    let path = crate::files::bundled("models/recipes/cascade_modalities.json").expect("table");
    serde_json::from_str(&std::fs::read_to_string(path).expect("text")).expect("table")
}

/// Weights that are nowhere zero, also where training begins at zero.
struct Everywhere(MadeUp);

impl Parameters for Everywhere {
    fn get(&mut self, name: &str, shape: &[usize], _init: Init) -> crate::Result<Tensor> {
        self.0.get(name, shape, Init::Normal(0.02))
    }
}

fn coarse() -> Coarse {
    let cells = Cells::new(&table()).expect("cells");
    let statistics = Mixture::unrelated(cells.side, cells.channels);
    Coarse::new(&table(), &COARSE, statistics, &mut Everywhere(MadeUp::new(&Device::Cpu)), &Device::Cpu)
        .expect("network")
}

fn waves(shape: &[usize], phase: f32) -> Tensor {
    let data: Vec<f32> = (0..shape.iter().product()).map(|i| (i as f32 * 0.37 + phase).sin()).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).expect("tensor")
}

fn latents(batch: usize, phase: f32) -> Vec<Tensor> {
    let one = |m: &crate::modality::Modality| waves(&[batch, m.latent[0], m.latent[1], m.latent[2]], phase);
    table().iter().map(one).collect()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("values")
}

#[test]
fn nothing_is_learned_from_the_noise_that_stands_for_what_is_not_there() {
    let network = coarse();
    let i = table().index("S2L2A_10m").expect("modality");
    let times = |t: f32| (0..table().len()).map(|k| vec![if k == i { t } else { 400.0 }]).collect::<Vec<_>>();
    let answer = |t: f32, phase: f32| {
        let mut inputs = latents(1, 0.0);
        inputs[i] = waves(inputs[i].dims(), phase);
        let noise = network.noise(&inputs, &times(t)).expect("noise");
        noise.iter().enumerate().filter(|(k, _)| *k != i).map(|(_, t)| flat(t)).collect::<Vec<_>>()
    };
    assert_eq!(answer(1000.0, 1.0), answer(1000.0, 2.0));
    assert_ne!(answer(700.0, 1.0), answer(700.0, 2.0));
    // Nor is anything asked of what is given.
    let given = network.noise(&latents(1, 0.0), &times(0.0)).expect("noise");
    assert!(flat(&given[i]).iter().all(|v| *v == 0.0));
}

#[test]
fn the_mean_of_a_window_is_left_to_the_statistics_and_noise_is_hardly_trusted() {
    let network = coarse();
    let cells = network.cells().clone();
    let noisy: Vec<Vec<f32>> = latents(1, 0.0).iter().map(flat).collect();
    let added = |time: f32| {
        let inputs = network.prepare(&noisy, &vec![network.level(time); table().len()], &[]).expect("inputs");
        let told = inputs.told(&cells);
        let data = flat(&network.predict(&[inputs]).expect("data").0);
        data.iter().zip(&told).map(|(d, t)| d - t).collect::<Vec<f32>>()
    };
    let [early, late] = [900.0, 100.0].map(added);
    let size = |added: &[f32]| (added.iter().map(|v| v * v).sum::<f32>() / added.len() as f32).sqrt();
    assert!(size(&late) > 1e-3, "{}", size(&late));
    assert!(size(&early) < 0.7 * size(&late), "{} {}", size(&early), size(&late));
    for channel in 0..cells.channels {
        let mean = late.iter().skip(channel).step_by(cells.channels).sum::<f32>() / cells.count() as f32;
        assert!(mean.abs() < 1e-4, "{channel}: {mean}");
    }
}

#[test]
fn an_item_does_not_depend_on_its_neighbours() {
    let network = coarse();
    let (one, other) = (latents(1, 0.0), latents(1, 5.0));
    let both: Vec<Tensor> = one.iter().zip(&other).map(|(a, b)| Tensor::cat(&[a, b], 0).expect("two")).collect();
    let times = |n: usize| vec![vec![300.0; n]; table().len()];
    let alone = network.noise(&other, &times(1)).expect("noise");
    let together = network.noise(&both, &times(2)).expect("noise");
    for (a, b) in alone.iter().zip(&together) {
        assert_eq!(flat(a), flat(&b.narrow(0, 1, 1).expect("second")));
    }
}

#[test]
fn what_is_known_of_cells_is_seen_and_what_stands_beneath_it_is_not() {
    let network = coarse();
    let i = table().index("S2L2A_10m").expect("modality");
    let times = vec![vec![600.0]; table().len()];
    let mask = Mask::from_fn(24, 24, |cell| cell < 288);
    let answer = |beneath: f32, observed: f32| {
        let mut inputs = latents(1, 0.0);
        let other = waves(inputs[i].dims(), beneath);
        // Only cells that are known differ.
        let known = Known::cells(&other, &mask).expect("known");
        inputs[i] = known.put_into(&inputs[i]).expect("put");
        let known = Known::cells(&waves(inputs[i].dims(), observed), &mask).expect("known");
        let all: Vec<Option<Known>> = (0..table().len()).map(|k| (k == i).then(|| known.clone())).collect();
        let noise = network.noise_knowing(&inputs, &times, &all).expect("noise");
        flat(&noise[i].narrow(2, 12, 12).expect("the lower half"))
    };
    assert_eq!(answer(1.0, 3.0), answer(2.0, 3.0));
    assert_ne!(answer(1.0, 3.0), answer(1.0, 4.0));
}

#[test]
fn pixels_follow_from_cells_and_noise_and_only_of_what_is_drawn() {
    let table = table();
    let sizes = RefinerSizes { width: 16, cell_blocks: 1, half_blocks: 1, fine_blocks: 1 };
    let cells = Cells::new(&table).expect("cells");
    let standards = table.iter().zip(&cells.parts).filter_map(|(m, part)| {
        let part = part.as_ref()?;
        let spreads = if part.has_spreads() { part.channels } else { 0 };
        Some((m.key.clone(), Standard { pixels: vec![[0.1, 0.5]; part.channels], spreads: vec![[-1.0, 0.5]; spreads] }))
    });
    let weights = crate::model::WeightFile { file: "x".into(), sha256: String::new() };
    let entry = CascadeEntry {
        exemplars: None,
        first_guess: None,
        coarse: COARSE,
        refiner: sizes,
        statistics: weights.clone(),
        refiner_weights: weights,
        standards: standards.collect(),
    };
    let weights = &mut Everywhere(MadeUp::new(&Device::Cpu));
    let refiner = Refiner::new(&table, &entry.refiner, weights, &Device::Cpu).expect("refiner");
    let cascade = Cascade::new(&table, &entry, refiner).expect("cascade");
    let index = |name: &str| table.index(name).expect("modality");
    let (fine, half, coarse) = (index("S2L2A_10m"), index("S2L2A_20m"), index("S2L2A_60m"));
    let draw = |noise: f32| {
        let mut latents = vec![None; table.len()];
        for i in [fine, half, coarse] {
            latents[i] = Some(flat(&waves(&table[i].latent, 1.0)));
        }
        let noise = flat(&waves(&cascade.noise_shape(), noise));
        let known = vec![None; table.len()];
        cascade.draw(&Drawing { latents: &latents, known: &known, noise: &noise }).expect("drawn")
    };
    let (one, other) = (draw(1.0), draw(2.0));
    for (i, m) in table.iter().enumerate() {
        let wanted = [fine, half, coarse].contains(&i).then(|| m.network_channels() * m.pixels * m.pixels);
        assert_eq!(one[i].as_ref().map(Vec::len), wanted, "{}", m.name);
    }
    assert_ne!(one[fine], other[fine]);
    assert_eq!(one[coarse], other[coarse], "pixels larger than cells need no drawing");
    // Cells of an image lead back to what is left of it at their size.
    let image: Vec<f32> = (0..4 * 96 * 96).map(|k| (k / 96 % 96) as f32 / 96.0).collect();
    let back = cascade.smooth(fine, &cascade.encode(fine, image.clone()).expect("cells")).expect("smooth");
    let off = image.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 0.03, "{off}");
}

#[test]
fn tables_that_do_not_fit_are_refused_for_the_reason_that_holds() {
    let published = ModalityTable::published();
    let sizes = CoarseSizes { width: 32, blocks: 1, middle_blocks: 1, heads: 2 };
    let statistics = Mixture::unrelated(8, 1);
    let problem =
        Coarse::new(&published, &sizes, statistics, &mut MadeUp::new(&Device::Cpu), &Device::Cpu).expect_err("refused");
    assert!(problem.to_string().contains("In a cascade the latent of"), "{problem}");
    let odd = CoarseSizes { width: 40, ..sizes };
    assert!(odd.check().expect_err("refused").to_string().contains("multiple of 32"));
    let refiner = RefinerSizes { width: 20, cell_blocks: 1, half_blocks: 1, fine_blocks: 1 };
    assert!(refiner.check().expect_err("refused").to_string().contains("multiple of 16"));
}
