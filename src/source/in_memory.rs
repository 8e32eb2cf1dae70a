//! Files in memory that GDAL opens by a name, as long as they are needed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A GeoTIFF or JPEG 2000 in memory; gone when dropped.
pub(super) struct InMemory(PathBuf);

impl InMemory {
    /// Takes a file's bytes.
    ///
    /// # Errors
    /// When GDAL has no room for it.
    pub(super) fn new(bytes: Vec<u8>) -> gdal::errors::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let path = PathBuf::from(format!("/vsimem/copgen-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        gdal::vsi::create_mem_file(&path, bytes)?;
        Ok(Self(path))
    }

    /// Its name for GDAL.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        // It may only be left in memory.
        let _ = gdal::vsi::unlink_mem_file(&self.0);
    }
}
