//! What the commands of the window say in a program that was built without it.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

fn not_built<T>() -> Result<T> {
    let text = "This program was built without its window. Work from the command line (\"copgen --help\" lists the \
        commands, \"copgen generate\" is the main one), or build it with the feature \"window\", which is on by default.";
    Err(Error::Compute(text.into()))
}

/// There is no window to open.
///
/// # Errors
/// Always.
pub(super) fn open(_model: Option<PathBuf>, _scene: Option<PathBuf>) -> Result<ExitCode> {
    not_built()
}

/// Take pictures of the window at work (this program was built without it).
#[derive(Debug, clap::Args)]
pub(super) struct Screenshots {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _arguments: Vec<OsString>,
}

impl Screenshots {
    pub(super) fn run(self) -> Result<ExitCode> {
        not_built()
    }
}
