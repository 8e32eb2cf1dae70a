//! `copgen` without a command: the window.

use crate::app::{Options, open as open_with};
use crate::basemap::Folders;
use crate::error::{Error, Result};
use crate::files::UserFolder;
use crate::hub::model_folder;
use std::path::PathBuf;
use std::process::ExitCode;

/// Opens the window with the session of last time, or what is bundled; what is named comes before both. Returns when it is
/// closed.
///
/// # Errors
/// When there is no such model, no display or no graphics adapter.
pub(super) fn open(model: Option<PathBuf>, scene: Option<PathBuf>) -> Result<ExitCode> {
    open_with(options(model, scene)?)?;
    Ok(ExitCode::SUCCESS)
}

fn options(model: Option<PathBuf>, scene: Option<PathBuf>) -> Result<Options> {
    let bundled = Options::bundled()?;
    // The session remembers them: they are found from other folders too.
    let absolute = |path: PathBuf| std::path::absolute(&path).map_err(|e| Error::io(&path, "find", &e));
    let named_model = model.is_some();
    let model = model.map_or(Ok(bundled.model), |named| model_folder(&named).and_then(absolute))?;
    let scene = scene.map(absolute).transpose()?;
    let session = UserFolder::Session.folder();
    Ok(Options { model, named_model, scene, session, maps: Folders::of_user(), ..bundled })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_keeps_the_session_and_knows_what_was_named() {
        let session = UserFolder::Session.folder();
        let bare = options(None, None).expect("options");
        assert_eq!((bare.named_model, bare.scene, &bare.session), (false, None, &session));
        let named = options(Some("models/demo".into()), Some("assets/scenes".into())).expect("options");
        assert!(named.named_model && named.model.is_absolute() && named.model.ends_with("models/demo"));
        assert!(named.scene.is_some_and(|scene| scene.is_absolute() && scene.ends_with("assets/scenes")));
        assert_eq!(named.session, session);
    }
}
