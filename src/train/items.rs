//! What a batch of denoiser training is made of: which windows, which modalities are given, withheld or noised.

use super::recipe::DenoiserRecipe;
use super::windows::{below, uniform};
use crate::modality::{Modality, ModalityTable};
use crate::model::{Schedule, TRAIN_STEPS};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::RngCore;
use rand_distr::{Distribution, StandardNormal};
use std::collections::{BTreeMap, BTreeSet};

/// Items of a batch that are computed together on a CPU.
pub(super) const ITEMS_TOGETHER: usize = 4;

/// The least time of those that are even in their levels.
const LEAST_TIME: f64 = 0.005;

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

/// So many items of one step; `present(window, modality)` says what the windows hold.
pub(super) fn draw_items(
    table: &ModalityTable,
    windows: usize,
    present: &dyn Fn(usize, usize) -> bool,
    settings: &DenoiserRecipe,
    count: usize,
    generator: &mut ChaCha12Rng,
) -> Vec<Item> {
    let schedule = Schedule::new();
    let mut item = || {
        let window = below(generator, windows);
        let central = uniform(generator) < settings.central_times;
        let even_levels = settings.even_levels > 0.0 && uniform(generator) < settings.even_levels;
        let time = |generator: &mut ChaCha12Rng| {
            if even_levels {
                let [low, high] = [LEAST_TIME, 1.0].map(|t| schedule.lambda(t));
                let t = schedule.inverse_lambda(low + (high - low) * uniform(generator));
                return ((t * TRAIN_STEPS as f64).round() as usize).clamp(1, TRAIN_STEPS);
            }
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
        if uniform(generator) < settings.questions {
            let n = shared.unwrap_or_else(|| time(generator));
            let states = question(table, &|i| present(window, i), State::Noised(n), settings, generator);
            return Item { window, turn: below(generator, 8), states, seed: generator.next_u64() };
        }
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
    (0..count).map(|_| item()).collect()
}

/// What a user would ask of a window.
fn question(
    table: &ModalityTable,
    present: &dyn Fn(usize) -> bool,
    asked: State,
    settings: &DenoiserRecipe,
    generator: &mut ChaCha12Rng,
) -> Vec<State> {
    let backwards = uniform(generator) < 0.25;
    // One level of an optical sensor from another, now and then.
    let given_level = (!backwards && uniform(generator) < 0.35)
        .then(|| table.iter().enumerate().filter(|(i, m)| m.about.is_optical() && present(*i)))
        .and_then(|optical| {
            let families: BTreeSet<&str> = optical.map(|(_, m)| m.family.as_str()).collect();
            let chosen = below(generator, families.len().max(1));
            families.into_iter().nth(chosen).map(str::to_owned)
        });
    let mut fates: BTreeMap<String, State> = BTreeMap::new();
    let state = |(i, m): (usize, &Modality)| {
        let fate = *fates.entry(m.family.clone()).or_insert_with(|| {
            let withheld = if m.is_scalar() { settings.scalars_withheld } else { 0.2 };
            match () {
                () if m.about.is_optical() && given_level.as_deref() == Some(m.family.as_str()) => State::Given,
                () if m.about.is_optical() != backwards => asked,
                () if uniform(generator) < withheld => State::Absent,
                () => State::Given,
            }
        });
        if present(i) { fate } else { State::Absent }
    };
    table.iter().enumerate().map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn a_question_asks_for_whole_families_and_never_for_what_is_not_there() {
        let table = ModalityTable::published();
        let text = r#"cached_windows = 1
            scalars_withheld = 0.5
            questions = 1.0
            optimiser = { steps = 1, batch = 1, learning_rate = 1.0, warm_up = 1, betas = [0.9, 0.9], weight_decay = 0.0, ema = 0.9, clip = 1.0 }"#;
        let settings: DenoiserRecipe = toml::from_str(text).expect("settings");
        let mut generator = ChaCha12Rng::seed_from_u64(1);
        let cover = table.index("LULC").expect("modality");
        let items = draw_items(&table, 1, &|_, i| i != cover, &settings, 200, &mut generator);
        let (mut optical_asked, mut others_asked, mut level_from_level) = (0, 0, 0);
        for Item { states, .. } in &items {
            assert!(matches!(states[cover], State::Absent));
            for (i, m) in table.iter().enumerate().filter(|(i, _)| *i != cover) {
                let first = table.iter().position(|o| o.family == m.family).expect("itself");
                assert_eq!(std::mem::discriminant(&states[i]), std::mem::discriminant(&states[first]), "{}", m.name);
            }
            let any = |optical: bool, wanted: fn(&State) -> bool| {
                table.iter().zip(states).any(|(m, s)| m.about.is_optical() == optical && wanted(s))
            };
            let asked = |optical| any(optical, |s| matches!(s, State::Noised(_)));
            optical_asked += usize::from(asked(true));
            others_asked += usize::from(asked(false));
            level_from_level += usize::from(asked(true) && any(true, |s| matches!(s, State::Given)));
        }
        assert!(optical_asked > 120 && others_asked > 20 && level_from_level > 20);
    }
}
