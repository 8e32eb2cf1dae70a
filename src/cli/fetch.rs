//! `copgen fetch`: open data of a place as a scene folder, without the window.

use super::{interrupt, progress_bar};
use crate::error::{Error, Result};
use crate::grid::GridCell;
use crate::modality::Catalogue;
use crate::modality::Location;
use crate::net::Network;
use crate::source::{
    Acquisition, FetchOptions, Kept, Order, Query, Survey, best, days, fetch, middle, parse_place, providers, remarks,
    survey,
};
use jiff::civil::Date;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Search open data of a place and fetch it as a scene folder.
#[derive(Debug, clap::Args)]
pub(super) struct Fetch {
    /// Major TOM cell, such as 618U_30L.
    #[arg(long, required_unless_present = "at", conflicts_with = "at")]
    cell: Option<GridCell>,
    /// Latitude and longitude of the middle, such as 46.5,11.35.
    #[arg(long, value_parser = parse_place, allow_hyphen_values = true)]
    at: Option<Location>,
    #[command(flatten)]
    asked: FetchOptions,
    /// Only list what there is.
    #[arg(long)]
    list: bool,
    /// Another acquisition than the best, by its number in the list: S2L2A=3; S2L2A=none leaves it out.
    #[arg(long, value_name = "FAMILY=NUMBER")]
    choose: Vec<String>,
    /// Folder to make the scene folder in; the kept places if left out, where the window finds it.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn no_choice(text: &str) -> Error {
    Error::request(format!(
        "\"{text}\" is no choice; expected FAMILY=NUMBER from the list, such as S2L2A=3, or S2L2A=none."
    ))
}

/// A family, and a number from the list or none of it.
fn choice(text: &str) -> Result<(&str, Option<usize>)> {
    let known = Catalogue::of_user();
    let (family, number) =
        text.split_once('=').filter(|(f, _)| known.product(f).is_some()).ok_or_else(|| no_choice(text))?;
    match number {
        "none" => Ok((family, None)),
        _ => Ok((family, Some(number.parse().map_err(|_| no_choice(text))?))),
    }
}

impl Fetch {
    pub(super) fn run(self) -> Result<ExitCode> {
        let network = Network::default();
        let stop = interrupt()?;
        let providers = providers()?;
        let beyond = || Error::request("The grid ends at 85 degrees of latitude.");
        let cell = match (self.cell, self.at) {
            (Some(cell), _) => cell,
            (None, Some(at)) => GridCell::containing(at).ok_or_else(beyond)?,
            (None, None) => return Err(Error::request("Name a place: --cell or --at.")),
        };
        let footprint = self.asked.area.ground(cell, self.at)?;
        let (from, to) = days(self.asked.from, self.asked.to);
        if from > to {
            return Err(Error::request(format!("The first day {from} comes after the last day {to}.")));
        }
        self.choose.iter().try_for_each(|text| choice(text).map(drop))?;
        let query = Query { corners: footprint.corners()?, from, to, most_cloud: self.asked.max_cloud };
        let families: Vec<String> = self.asked.families.split(',').map(|f| f.trim().to_owned()).collect();
        let known = Catalogue::of_user();
        if let Some(odd) = families.iter().find(|f| known.product(f).is_none()) {
            let known = known.product_names().join(", ");
            return Err(Error::request(format!("There is no \"{odd}\" to fetch. Known: {known}.")));
        }
        let mut asked: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
        asked.dedup();
        eprintln!("Asking {} …", asked.join(", "));
        let survey = survey(&network, &providers, &families, &query, &stop)?;
        survey.problems.iter().for_each(|problem| eprintln!("note: {problem}"));
        let chosen = self.chosen(&survey, middle(from, to))?;
        print(&survey, &chosen);
        if self.list {
            return Ok(ExitCode::SUCCESS);
        }
        let chosen: Vec<Acquisition> = chosen.iter().map(|(family, &i)| survey.found[family][i].clone()).collect();
        if chosen.is_empty() {
            return Err(Error::request("Nothing was found; allow more days or more cloud."));
        }
        let kept = Kept::usual();
        let within = match (self.out, &kept) {
            (Some(out), _) => out,
            (None, Some(kept)) => kept.scenes_dir(),
            (None, None) => return Err(Error::request("There is no folder to keep places in; name one with --out.")),
        };
        let order = Order { name: cell.to_string(), footprint, chosen };
        let bar = progress_bar(0);
        let dir = fetch(&network, &providers, &order, &within, &stop, &mut |progress| {
            bar.set_length(progress.total as u64);
            bar.set_position(progress.done as u64);
            bar.set_message(progress.what);
        })?;
        bar.finish_and_clear();
        remarks(&dir)?.iter().for_each(|remark| eprintln!("note: {remark}"));
        tell!("{}", dir.display());
        if let Some(kept) = kept.filter(|kept| kept.holds(&dir)) {
            for removed in kept.make_room(&dir)? {
                eprintln!("note: {} was removed to keep within the limit of kept places.", removed.display());
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The best of each family, or what was asked for.
    fn chosen(&self, survey: &Survey, asked: Date) -> Result<BTreeMap<String, usize>> {
        let mut chosen = best(&survey.found, Some(asked));
        for text in &self.choose {
            let (family, number) = choice(text)?;
            let Some(number) = number else {
                chosen.remove(family);
                continue;
            };
            let there = survey.found.get(family).is_some_and(|all| (1..=all.len()).contains(&number));
            if !there {
                return Err(no_choice(text));
            }
            chosen.insert(family.to_owned(), number - 1);
        }
        Ok(chosen)
    }
}

fn print(survey: &Survey, chosen: &BTreeMap<String, usize>) {
    for (family, all) in &survey.found {
        tell!("{family}");
        for (i, a) in all.iter().enumerate() {
            let mark = if chosen.get(family) == Some(&i) { '*' } else { ' ' };
            let cloud = a.cloud.map_or(String::new(), |cloud| format!("  cloud {cloud:.0} %"));
            let platform = a.platform.as_deref().unwrap_or("");
            let day = if a.day.is_empty() { "no date" } else { &a.day };
            tell!(
                "{mark}{:>3}  {day}{cloud}  covers {:.0} %  {platform}  {}, {}",
                i + 1,
                a.coverage * 100.0,
                a.provider,
                a.collection
            );
        }
    }
}
