//! The order of modalities inside a denoiser, read off its weights.
//!
//! The specification's table (A.1) lists location and date first. The published code keeps its table in a
//! configuration object that sorts its keys, so weights recorded from it have the modalities in ASCII order of
//! their keys. Scalars and images have parameters of different shapes, which tells the two apart.

use super::tensor_data::TensorData;
use crate::modality::ModalityTable;
use std::collections::BTreeMap;

/// `table`, reordered if that makes it fit the shapes of `patch_embeds.{i}.proj.weight`; else unchanged.
pub fn network_order(table: ModalityTable, weights: &BTreeMap<String, TensorData>) -> ModalityTable {
    if fits(&table, weights) {
        return table;
    }
    let sorted = table.sorted_by_key();
    if fits(&sorted, weights) { sorted } else { table }
}

fn fits(table: &ModalityTable, weights: &BTreeMap<String, TensorData>) -> bool {
    table.iter().enumerate().all(|(i, m)| {
        weights
            .get(&format!("patch_embeds.{i}.proj.weight"))
            .is_some_and(|w| w.shape.get(1..) == Some(&[m.latent[0], m.patch, m.patch]))
    })
}
