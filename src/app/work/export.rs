//! Writes what the export window asks for.

use crate::ensemble::Realisation;
use crate::error::Result;
use crate::export::{ExportRequest, Lineage};
use std::path::PathBuf;
use std::sync::Arc;

/// What to write, and of which realisations.
pub(crate) struct ExportOrder {
    /// What, where, in which formats.
    pub request: ExportRequest,
    /// How it was made.
    pub lineage: Arc<Lineage>,
    /// Which realisations.
    pub realisations: Vec<Arc<Realisation>>,
}

/// Writes files, all of them or none: the folder, and what was written.
///
/// # Errors
/// When one cannot be written; then none is there.
pub(crate) fn export(order: ExportOrder) -> Result<(PathBuf, Vec<PathBuf>)> {
    let dir = order.request.dir.clone();
    crate::export::export(order.request, &order.lineage, &order.realisations).map(|written| (dir, written))
}
