//! `copgen` without a command: the window.

use crate::app::{Options, open as open_with};
use crate::basemap::Folders;
use crate::error::Result;
use crate::files::Own;
use crate::hub::model_folder;
use std::path::PathBuf;
use std::process::ExitCode;

/// Opens the window with what is named, or with what is bundled and the session of last time; returns when it is closed.
///
/// # Errors
/// When there is no such model, no display or no graphics adapter.
pub(super) fn open(model: Option<PathBuf>, scene: Option<PathBuf>) -> Result<ExitCode> {
    let bundled = Options::bundled()?;
    // What is named on the command line comes before what was open last.
    let named = model.is_some() || scene.is_some();
    let session = if named { None } else { Own::Session.folder() };
    let model = model.map_or(Ok(bundled.model), |named| model_folder(&named))?;
    let first = scene.or(bundled.first);
    open_with(Options { model, first, session, maps: Folders::of_user(), ..bundled })?;
    Ok(ExitCode::SUCCESS)
}
