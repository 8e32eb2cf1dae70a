//! Writes what the export window asks for; runs on the queue's thread.

use crate::app::work::queue::Reply;
use crate::ensemble::Realisation;
use crate::export::{ExportRequest, Lineage};
use std::sync::Arc;

/// What to write, and of which realisations.
pub struct ExportOrder {
    /// What, where, in which formats.
    pub request: ExportRequest,
    /// How it was made.
    pub lineage: Arc<Lineage>,
    /// Which realisations.
    pub members: Vec<Arc<Realisation>>,
}

/// Writes files: all of them appear, or none.
pub fn export(order: ExportOrder) -> Reply {
    let dir = order.request.dir.clone();
    Reply::Exported(dir, crate::export::export(order.request, &order.lineage, &order.members))
}
