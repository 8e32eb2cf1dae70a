//! What a batch of denoiser training is made of: which windows, which modalities are given, withheld or noised.

use super::recipe::DenoiserRecipe;
use super::windows::{below, uniform};
use crate::modality::ModalityTable;
use crate::model::TRAIN_STEPS;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::RngCore;
use rand_distr::{Distribution, StandardNormal};

/// Items of a batch that are computed together on a CPU.
pub(super) const ITEMS_TOGETHER: usize = 4;

/// What one item of a batch is made of, drawn before the parts of the batch are computed side by side.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Which cached window.
    pub window: usize,
    /// Which of the eight flips and quarter turns.
    pub turn: usize,
    /// By modality.
    pub states: Vec<State>,
    /// Seed of the item's noise.
    pub seed: u64,
}

/// How a modality enters the network.
#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    /// Pure noise at time 1000, no loss: absent or withheld.
    Absent,
    /// Clean at time 0, no loss: as a condition.
    Given,
    /// Noised to this step of 1…1000.
    Noised(usize),
}

/// The items of one step; `present(window, modality)` says what the windows hold.
pub(super) fn draw_items(
    table: &ModalityTable,
    windows: usize,
    present: &dyn Fn(usize, usize) -> bool,
    settings: &DenoiserRecipe,
    generator: &mut ChaCha12Rng,
) -> Vec<Item> {
    let mut item = || {
        let window = below(generator, windows);
        let central = uniform(generator) < settings.central_times;
        let time = |generator: &mut ChaCha12Rng| {
            if !central {
                return 1 + below(generator, TRAIN_STEPS);
            }
            let normal: f64 = StandardNormal.sample(generator);
            ((TRAIN_STEPS as f64 / (1.0 + (-normal).exp())) as usize).clamp(1, TRAIN_STEPS)
        };
        let from_noise = uniform(generator) < settings.from_noise;
        let shared = from_noise
            .then_some(TRAIN_STEPS)
            .or_else(|| (uniform(generator) < settings.shared_time).then(|| time(generator)));
        // From nothing given to nearly everything; groups of one product mostly share their part, as in use.
        let given = 2.0 * settings.given * uniform(generator);
        let by_family = uniform(generator) < settings.by_family;
        let mut states: Vec<State> = Vec::new();
        for (k, m) in table.iter().enumerate() {
            let n = shared.unwrap_or_else(|| time(generator));
            let withheld =
                if m.is_scalar() { settings.scalars_withheld.max(settings.withheld) } else { settings.withheld };
            let chances = [uniform(generator) < withheld, uniform(generator) < given];
            let relative = (0..k).filter(|_| by_family).find(|&o| table[o].family == m.family && present(window, o));
            states.push(match (present(window, k), relative, chances) {
                (false, ..) => State::Absent,
                (true, Some(relative), _) => match states[relative] {
                    State::Noised(_) => State::Noised(n),
                    other => other,
                },
                (true, None, [true, _]) => State::Absent,
                (true, None, [false, true]) => State::Given,
                (true, None, [false, false]) => State::Noised(n),
            });
        }
        Item { window, turn: below(generator, 8), states, seed: generator.next_u64() }
    };
    let o = &settings.optimiser;
    (0..o.batch * o.accumulation).map(|_| item()).collect()
}
