//! Columns of a plan: each is an option of `generate` (or of `fetch`) by its name, and a row is read as a command line.

use crate::error::{Error, Result};
use crate::export::DeliveryOptions;
use crate::job::RequestOptions;
use crate::source::FetchOptions;
use clap::{ArgAction, Args, FromArgMatches};
use std::collections::BTreeMap;

/// The column that names a job.
pub(super) const NAME: &str = "name";
/// The column that names a place to fetch by its coordinates.
const AT: &str = "at";

/// What a row asks for.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RowOptions {
    #[command(flatten)]
    pub asked: RequestOptions,
    #[command(flatten)]
    pub files: DeliveryOptions,
    #[command(flatten)]
    pub fetch: FetchOptions,
}

/// How often an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Takes {
    Nothing,
    One,
    Several,
}

/// All columns there can be.
pub(super) struct Columns {
    command: clap::Command,
    options: BTreeMap<String, Takes>,
}

impl Columns {
    pub(super) fn new() -> Self {
        let command = clap::Command::new("row").no_binary_name(true).disable_help_flag(true);
        let mut command = RowOptions::augment_args(command);
        command.build();
        let takes = |argument: &clap::Arg| match argument.get_action() {
            ArgAction::SetTrue => Takes::Nothing,
            ArgAction::Append => Takes::Several,
            _ => Takes::One,
        };
        let mut options = BTreeMap::new();
        for argument in command.get_arguments() {
            let names = argument.get_long().into_iter().chain(argument.get_all_aliases().unwrap_or_default());
            options.extend(names.map(|name| (name.replace('-', "_"), takes(argument))));
        }
        Self { command, options }
    }

    /// The name of a column as it is kept, whichever way it is written.
    ///
    /// # Errors
    /// When there is no such column.
    pub(super) fn named(&self, column: &str) -> Result<String> {
        let name = column.trim().trim_start_matches('\u{feff}').trim_start_matches("--").replace('-', "_");
        match name.as_str() {
            NAME | AT => Ok(name),
            "model" | "device" | "precision" | "out" | "overwrite" | "stac" => Err(Error::request(format!(
                "The plan has a column \"{column}\", which is the same for all jobs; leave it out, and give --model, --device and --precision to the command."
            ))),
            _ if self.options.contains_key(&name) => Ok(name),
            _ => {
                let known: Vec<&str> = [NAME, AT].into_iter().chain(self.options.keys().map(String::as_str)).collect();
                Err(Error::request(format!(
                    "The plan has a column \"{column}\", which is no option of generate or fetch. Known: {}.",
                    known.join(", ")
                )))
            }
        }
    }

    /// Options after `--` on the command line, as columns for rows that say nothing else.
    ///
    /// # Errors
    /// When something is no option, or lacks its value.
    pub(super) fn defaults(&self, texts: &[String]) -> Result<BTreeMap<String, String>> {
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        let mut texts = texts.iter();
        while let Some(text) = texts.next() {
            let option = text.strip_prefix("--").ok_or_else(|| {
                Error::request(format!(
                    "\"{text}\" is no option; after -- stand options of generate, such as --steps 10."
                ))
            })?;
            let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
            let column = self.named(name)?;
            let takes = self.options.get(&column).copied().unwrap_or(Takes::One);
            let value = match (takes, value) {
                (Takes::Nothing, None) => "yes".to_owned(),
                (_, Some(value)) => value.to_owned(),
                (_, None) => {
                    texts.next().ok_or_else(|| Error::request(format!("The option {text} lacks its value.")))?.clone()
                }
            };
            match found.get_mut(&column).filter(|_| takes == Takes::Several) {
                Some(before) => *before += &format!(";{value}"),
                None => drop(found.insert(column, value)),
            }
        }
        Ok(found)
    }

    /// What a row asks for.
    ///
    /// # Errors
    /// When a value cannot be read.
    pub(super) fn read(&mut self, values: &BTreeMap<String, String>) -> Result<RowOptions> {
        let mut arguments: Vec<String> = Vec::new();
        for (column, value) in values.iter().filter(|(column, _)| ![NAME, AT].contains(&column.as_str())) {
            let option = format!("--{}", column.replace('_', "-"));
            match self.options.get(column).copied().unwrap_or(Takes::One) {
                Takes::Nothing => match value.to_lowercase().as_str() {
                    "yes" | "true" | "1" => arguments.push(option),
                    "no" | "false" | "0" => {}
                    _ => return Err(Error::request(format!("{column} is \"{value}\"; expected yes or no."))),
                },
                Takes::One => arguments.push(format!("{option}={value}")),
                Takes::Several => {
                    let parts = value.split(';').map(str::trim).filter(|part| !part.is_empty());
                    arguments.extend(parts.map(|part| format!("{option}={part}")));
                }
            }
        }
        let matches = self.command.try_get_matches_from_mut(arguments).map_err(|error| sentence(&error))?;
        RowOptions::from_arg_matches(&matches).map_err(|error| sentence(&error))
    }
}

/// What the reader of the command line says, in one sentence.
fn sentence(error: &clap::Error) -> Error {
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !line.trim().is_empty() && !line.starts_with("Usage"));
    let text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    Error::request(format!("{}.", text.trim_end_matches(['.', ':'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[(&str, &str)]) -> BTreeMap<String, String> {
        values.iter().map(|(column, value)| ((*column).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_row_is_read_as_the_command_line_would_be() {
        let mut columns = Columns::new();
        let read = columns.read(&row(&[
            ("name", "a"),
            ("scene", "places/a"),
            ("set", "date=2023-04-19; LULC=water"),
            ("steps", "3"),
            ("extent", "60,120"),
            ("cog", "yes"),
            ("png", "no"),
        ]));
        let read = read.expect("a row");
        assert_eq!(read.asked.scene.as_deref(), Some(std::path::Path::new("places/a")));
        assert_eq!(read.asked.set, ["date=2023-04-19", "LULC=water"]);
        assert_eq!(read.asked.window, crate::scene::Window::At { east_m: 60.0, south_m: 120.0 });
        assert!(read.files.cog && !read.files.png);
        assert_eq!(read.asked.solving.options().steps, 3);
        for (column, value, said) in [
            ("samples", "many", "--samples"),
            ("cog", "perhaps", "expected yes or no"),
            ("extent", "here", "expected metres east and south"),
        ] {
            let error = columns.read(&row(&[("scene", "a"), (column, value)])).expect_err("no such value").to_string();
            assert!(error.contains(said) && !error.contains('\n') && error.ends_with('.'), "{error}");
        }
    }

    #[test]
    fn columns_are_options_and_nothing_else() {
        let columns = Columns::new();
        assert_eq!(columns.named("keep-quality").expect("an option"), "keep_quality");
        assert_eq!(columns.named("\u{feff}name").expect("the name"), "name");
        assert!(columns.named("sceen").expect_err("none").to_string().contains("\"sceen\""));
        assert!(columns.named("model").expect_err("not of a row").to_string().contains("--model"));
        let texts = ["--steps", "3", "--set=date=2023-04-19", "--set", "LULC=water", "--cog"].map(str::to_owned);
        let found = columns.defaults(&texts).expect("options");
        assert_eq!(found, row(&[("steps", "3"), ("set", "date=2023-04-19;LULC=water"), ("cog", "yes")]));
        assert!(columns.defaults(&["--steps".to_owned()]).is_err() && columns.defaults(&["3".to_owned()]).is_err());
    }
}
