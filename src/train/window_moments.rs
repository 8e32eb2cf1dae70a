//! Moments of the windows that a field is fitted to: by radial bin, and over all scales together.

use super::moments::{self, Moments};
use super::recipe::FieldRecipe;
use crate::modality::ModalityTable;
use crate::model::field::Layout;
use nalgebra::{DMatrix, DVector};
use std::collections::BTreeMap;

/// Frequencies that exist in every image modality: the scale at which levels and bands are compared.
const COARSE: usize = 16;

/// What one window holds.
pub(super) struct Held {
    /// Independent windows it counts for.
    pub weight: f64,
    /// By modality: network values, or coefficients of latents.
    pub values: Vec<Option<Vec<f32>>>,
}

/// Moments over all coarse frequencies, and by radial bin.
pub(super) fn gather(layout: &Layout, windows: impl Iterator<Item = Held>) -> (Vec<Moments>, Vec<Vec<Moments>>) {
    let mut total: BTreeMap<Vec<usize>, Moments> = BTreeMap::new();
    let mut bins: Vec<BTreeMap<Vec<usize>, Moments>> = vec![BTreeMap::new(); Layout::bins()];
    for Held { weight, values: coefficients } in windows {
        let held: Vec<usize> = (0..layout.parts.len()).filter(|&i| coefficients[i].is_some()).collect();
        let at = |i: usize, channel: usize, row: usize, column: usize| -> f64 {
            let side = layout.parts[i].side;
            match &coefficients[i] {
                Some(values) if row.max(column) < side => f64::from(values[(channel * side + row) * side + column]),
                _ => 0.0,
            }
        };
        // (channel, frequency) of some modalities.
        let columns = |modalities: &[usize], frequencies: &[(usize, usize)]| {
            let own = |&i: &usize| (0..layout.parts[i].channels).map(move |c| (i, c));
            let rows: Vec<(usize, usize)> = modalities.iter().flat_map(own).collect();
            DMatrix::from_fn(rows.len(), frequencies.len(), |r, f| {
                at(rows[r].0, rows[r].1, frequencies[f].0, frequencies[f].1)
            })
        };
        let coarse: Vec<(usize, usize)> = (0..COARSE * COARSE).map(|k| (k / COARSE, k % COARSE)).collect();
        let all = columns(&held, &coarse);
        let level = all.column(0).into_owned();
        let moments = total.entry(held.clone()).or_insert_with(|| Moments::empty(layout.stack_of(&held)));
        moments.add(weight, &level, &all, 1.0);
        for group in &layout.groups {
            let modalities: Vec<usize> = group.modalities.iter().copied().filter(|i| held.contains(i)).collect();
            if modalities.is_empty() {
                continue;
            }
            let columns = columns(&modalities, &group.frequencies);
            let level = if group.bin == 0 { columns.column(0).into_owned() } else { DVector::zeros(columns.nrows()) };
            let count = group.frequencies.len() as f64;
            // Frequencies of one window are not independent: they count as the root of their number.
            bins[group.bin]
                .entry(modalities.clone())
                .or_insert_with(|| Moments::empty(layout.stack_of(&modalities)))
                .add(weight * count.sqrt(), &level, &columns, 1.0 / count);
        }
    }
    let average = |moments: BTreeMap<Vec<usize>, Moments>| moments.into_values().map(Moments::averaged).collect();
    (average(total), bins.into_iter().map(average).collect())
}

/// Weighted sums of squares by channel, and the weights, which are added to `count`. The same band of two families counts
/// for one: what is seen of either in some scenes holds for both.
pub(super) fn squares(moments: &[Moments], count: Vec<f64>, same: &[Vec<usize>; 2]) -> (Vec<f64>, Vec<f64>) {
    let (mut sum, mut count) = moments::squares(moments, count);
    for (&a, &b) in same[0].iter().zip(&same[1]) {
        for values in [&mut sum, &mut count] {
            let both = values[a] + values[b];
            (values[a], values[b]) = (both, both);
        }
    }
    (sum, count)
}

/// [`same_bands`] of the recipe, if it names any.
pub(super) fn same_channels(settings: &FieldRecipe, table: &ModalityTable, layout: &Layout) -> [Vec<usize>; 2] {
    settings.same_band.as_ref().map(|same| same_bands(table, layout, &same.families)).unwrap_or_default()
}

/// Channels of two families that have the same name, in the same order.
pub(super) fn same_bands(table: &ModalityTable, layout: &Layout, families: &[String; 2]) -> [Vec<usize>; 2] {
    let bands = |family: &String| -> Vec<(&str, usize)> {
        let own = |i: usize| table[i].channels.iter().map(String::as_str).zip(layout.stack(i));
        (0..table.len()).filter(|&i| table[i].family == *family).flat_map(own).collect()
    };
    let (one, other) = (bands(&families[0]), bands(&families[1]));
    let pair = |(name, at): &(&str, usize)| Some((*one.iter().find(|(n, _)| n == name).map(|(_, at)| at)?, *at));
    let (one, other) = other.iter().filter_map(pair).unzip();
    [one, other]
}
