//! What is asked for when results leave the program.

use super::pictures::Pictures;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What to write, where, and in which formats; the same from the window and the command line.
#[derive(Debug, Clone, Default)]
pub struct ExportRequest {
    /// Folder to write to; made if it is not there.
    pub dir: PathBuf,
    /// Which of the generated modalities, by index in the model's table.
    pub modalities: BTreeSet<usize>,
    /// Whether to write a GeoTIFF of each realisation and image modality, and tables (CSV) of places and dates.
    pub realisations: bool,
    /// Whether to write GeoTIFFs of mean and variance (of classes: the most frequent one and disagreement); from two
    /// realisations on.
    pub statistics: bool,
    /// Whether GeoTIFFs are cloud-optimised.
    pub cloud_optimised: bool,
    /// Pictures (PNG), if any are wanted.
    pub pictures: Option<Pictures>,
    /// A table of one spot over realisations (CSV), if one is wanted.
    pub inspected: Option<String>,
    /// Whether to write a STAC item that describes all files; each band then has a file of its own, since some readers of
    /// items take one band of a file.
    pub stac: bool,
    /// Whether files that exist may be replaced.
    pub overwrite: bool,
    /// When the files are said to be made; the present time if left out.
    pub created: Option<Timestamp>,
    /// The STAC collection that an item is part of, if it is part of one.
    pub collection: Option<InCollection>,
}

/// A STAC collection, as an item of it knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct InCollection {
    /// Identifies the collection.
    pub id: String,
    /// Its address, seen from the item.
    pub href: String,
    /// Identifies the item in it.
    pub item: String,
}
