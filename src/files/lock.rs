//! Folders that one process at a time may change.

use crate::error::{Error, Result};
use std::fs::{File, TryLockError};
use std::path::Path;

/// The file in a folder whose lock is held by whoever changes the folder. It stays there: to remove it would let two
/// processes hold locks of the same name.
pub const LOCK_FILE: &str = "lock";

/// Locks a folder for as long as the returned file is held; the folder is made if it is not there. The system releases
/// the lock when the process ends, however it ends.
///
/// # Errors
/// `busy`, said of the folder, while another process (or another part of this one) holds the lock; or when the folder
/// cannot be written.
pub fn lock_folder(dir: &Path, busy: &str) -> Result<File> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, "create", &e))?;
    let path = dir.join(LOCK_FILE);
    let lock = File::create(&path).map_err(|e| Error::io(&path, "create", &e))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::file(dir, busy)),
        Err(TryLockError::Error(e)) => Err(Error::io(&path, "lock", &e)),
    }
}
