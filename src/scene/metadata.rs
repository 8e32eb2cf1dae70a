//! `scene.json`: what is known about a scene besides its pixels. Every field may be missing.

use crate::error::{Error, Result};
use crate::text::printable;
use jiff::civil::Date;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The fields this program uses.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Metadata {
    /// Licence and origin in one line.
    #[serde(default)]
    pub attribution: Option<String>,
    /// By modality: rasters that lie elsewhere; relative paths start at the folder.
    #[serde(default)]
    pub files: BTreeMap<String, PathBuf>,
    /// By family: where it comes from and what was done to it, in one sentence.
    #[serde(default)]
    pub origins: BTreeMap<String, String>,
    /// By family or modality: ISO 8601 instant, day, month, or year.
    #[serde(default)]
    pub dates: BTreeMap<String, Option<String>>,
    /// Whether each raster keeps the pixel grid of its source, so that they lie up to a pixel beside each other, as in
    /// Major TOM.
    #[serde(default)]
    pub own_grids: bool,
    /// By family: the legend whose codes its rasters hold, by the name it has in `legends.toml`; `own` for the family's own.
    #[serde(default)]
    pub legends: BTreeMap<String, String>,
    /// What a careful reader should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What was done to the numbers, in sentences; anything else in their place says nothing.
    #[serde(default)]
    conversions: serde_json::Value,
}

impl Metadata {
    /// Reads `DIR/scene.json`; a folder without one has no metadata.
    pub(super) fn read(dir: &Path) -> Result<Self> {
        if dir.is_file() {
            return Err(Error::file(dir, "A scene is a folder of GeoTIFFs; name the folder, not a file in it"));
        }
        if !dir.is_dir() {
            return Err(Error::file(dir, "There is no such scene folder; check the path"));
        }
        let path = dir.join("scene.json");
        match crate::files::read_text(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map(Self::made_printable)
                .map_err(|e| Error::file(&path, format!("This is no scene description: {e}"))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(Error::io(&path, "read", &e)),
        }
    }

    /// Texts are shown on terminals too, which must not obey them.
    fn made_printable(mut self) -> Self {
        let texts = self.notes.iter_mut().chain(self.origins.values_mut()).chain(self.attribution.as_mut());
        let texts = texts.chain(self.dates.values_mut().flatten());
        texts.for_each(|text| *text = printable(text).into_owned());
        self
    }

    /// Whether the scene says itself that its numbers are without the offset of newer Sentinel-2 baselines: that there was none,
    /// or that it was removed. Sentences about another of the `families` tell nothing of this one.
    pub(super) fn settles_offset(&self, family: &str, families: &[&str]) -> bool {
        let conversions = self.conversions.as_array().into_iter().flatten().filter_map(|text| text.as_str());
        let own = conversions.filter(|text| tells_of(text, family, families));
        let said: Vec<bool> = own.chain(self.origins.get(family).map(String::as_str)).flat_map(offset_gone).collect();
        said.contains(&true) && !said.contains(&false)
    }

    /// Date text of a family.
    pub(super) fn date(&self, family: &str) -> Option<&str> {
        self.dates.get(family)?.as_deref()
    }

    /// Day of a family; the 15th where only the month is known, none where only the year is.
    pub(super) fn day(&self, family: &str) -> Option<Date> {
        match when(self.date(family)?) {
            Some(When::Day(day) | When::Month(day)) => Some(day),
            _ => None,
        }
    }

    /// Whether the month of some family is known, and this day stands for it.
    pub(super) fn month_alone(&self, day: Date) -> bool {
        self.dates.values().flatten().any(|text| matches!(when(text), Some(When::Month(middle)) if middle == day))
    }

    /// What has to be said of dates: those that cannot be read, and those on which nothing was measured.
    pub(super) fn date_notes(&self) -> Vec<String> {
        let note = |(family, text): (&String, &Option<String>)| {
            let text = text.as_deref().filter(|text| !text.trim().is_empty())?;
            let year = match when(text) {
                None => {
                    return Some(format!(
                        "The date of {family} in scene.json, \"{}\", cannot be read and counts as unknown; expected a day such as 2023-04-19.",
                        short(text)
                    ));
                }
                Some(When::Day(day) | When::Month(day)) => day.year(),
                Some(When::Year(year)) => year,
            };
            (!YEARS.contains(&year)).then(|| {
                format!(
                    "The date of {family} in scene.json, {}, lies outside {} to {}, when there was anything to measure it with; check it.",
                    short(text),
                    YEARS.start(),
                    YEARS.end()
                )
            })
        };
        self.dates.iter().filter_map(note).collect()
    }
}

/// Whether a sentence about an offset is about this family: it names it, or no other and nothing else that has offsets.
fn tells_of(text: &str, family: &str, families: &[&str]) -> bool {
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let names = |name: &str| words.contains(&&*name.to_lowercase());
    let heights = ["geoid", "ellipsoid", "height", "heights", "elevation"];
    names(family) || !families.iter().any(|other| names(other)) && !heights.iter().any(|word| names(word))
}

/// What the parts of a sentence say of an offset: that none is left (true), or that it is still there (false). What stands in
/// brackets tells why, not what.
fn offset_gone(text: &str) -> Vec<bool> {
    let mut depth = 0usize;
    let plain: String = text
        .to_lowercase()
        .chars()
        .filter(|c| {
            depth += usize::from(*c == '(');
            let kept = depth == 0;
            depth -= usize::from(*c == ')' && depth > 0);
            kept
        })
        .collect();
    let part = |part: &str| {
        let words: Vec<&str> = part.split(|c: char| !c.is_alphanumeric() && c != '\'').collect();
        let has = |all: &[&str]| words.iter().any(|word| all.contains(word));
        if !has(&["offset", "offsets"]) {
            return None;
        }
        let taken = ["removed", "subtracted", "corrected", "correction", "removal", "applied", "taken"];
        let open = [
            "not", "wasn't", "isn't", "never", "no", "must", "should", "needs", "to", "before", "without", "unless",
            "may", "if",
        ];
        match (part.contains("no offset"), has(&taken), has(&open)) {
            (true, false, _) => Some(true),
            (false, true, false) => (has(&["removed", "subtracted"]) || part.contains("taken off")).then_some(true),
            (_, true, true) => Some(false),
            _ => None,
        }
    };
    plain.split([',', ';']).flat_map(|part| part.split(". ")).filter_map(part).collect()
}

/// The day that a text begins with, as people and programs write it: 2023-04-19, 20230419, either with a time after it.
pub(crate) fn day_of(text: &str) -> Option<Date> {
    match when(text)? {
        When::Day(day) => Some(day),
        When::Month(_) | When::Year(_) => None,
    }
}

/// From the first Earth observation satellite on, as far as anybody would plan.
pub(crate) const YEARS: std::ops::RangeInclusive<i16> = 1972..=2049;

/// What a text says of a time.
#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    Day(Date),
    /// Its 15th day.
    Month(Date),
    Year(i16),
}

/// A time as people and programs write it: an instant, a day, a month or a year of ISO 8601, also without dashes.
fn when(text: &str) -> Option<When> {
    let text = text.trim();
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    if digits(text, 4) {
        return text.parse().ok().map(When::Year);
    }
    if let Some((year, month)) = text.split_once('-')
        && digits(year, 4)
        && digits(month, 2)
    {
        return format!("{text}-15").parse().ok().map(When::Month);
    }
    let day = text.split(['T', 't', ' ']).next()?;
    let whole = digits(day, 8) || day.len() == 10;
    day.parse().ok().filter(|_| whole).map(When::Day)
}

/// So much of a text as fits a sentence.
fn short(text: &str) -> String {
    let mut start: String = text.chars().take(40).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Metadata {
        Metadata { dates: [("S2L2A".to_owned(), Some(text.to_owned()))].into(), ..Metadata::default() }
    }

    #[test]
    fn only_what_says_that_the_offset_is_gone_settles_it() {
        let families = ["S2L2A", "S2L1C", "DEM"];
        let settles = |conversion: &str| {
            let conversions = serde_json::json!([conversion]);
            Metadata { conversions, ..Metadata::default() }.settles_offset("S2L2A", &families)
        };
        for said in [
            "S2L2A: no offset in the source (minimum 1 DN in B8A)",
            "S2: no offset (minimum 0 DN)",
            "no offset (2018)",
            "no offset in the source (the export had already removed it); values unchanged",
            "S2L2A: +1000 offset found (median >= 990) and removed; source DN 0 is no data",
            "S2L2A: the offset of 1000 was removed",
            "dB -> linear power, offset of 1000 removed",
        ] {
            assert!(settles(said), "{said}");
        }
        for said in [
            "BOA offset of -1000 was not removed",
            "no offset correction was applied",
            "no offset was removed",
            "DEM: geoid offset removed (EGM96 to EGM2008)",
            "geoid offset removed",
            "S2L1C: offset of 1000 removed",
            "offset must be removed before use",
            "offset to be subtracted",
            "processing baseline unknown, so an offset of 1000 may be left",
            "the offset was not looked at, clouds were removed",
            "clouds removed",
        ] {
            assert!(!settles(said), "{said}");
        }
        let origins =
            [("S2L2A".to_owned(), "Loop, c, x, processing baseline 05.09, offset of 1000 removed, nearest".to_owned())];
        let mut own = Metadata { origins: origins.into(), ..Metadata::default() };
        assert!(own.settles_offset("S2L2A", &families) && !own.settles_offset("S2L1C", &families));
        own.conversions = serde_json::json!(["S2L2A: the offset was not removed"]);
        assert!(!own.settles_offset("S2L2A", &families), "contradicted");
    }

    #[test]
    fn dates_are_read_as_they_are_written() {
        for (text, day) in [
            ("2023-04-19", Some("2023-04-19")),
            ("20230419", Some("2023-04-19")),
            ("2023-04-19T10:20:30.123Z", Some("2023-04-19")),
            ("2023-04-19 10:20:30", Some("2023-04-19")),
            ("20230419T102030", Some("2023-04-19")),
            (" 2023-04-19 ", Some("2023-04-19")),
            ("2023-04", Some("2023-04-15")),
            ("2023", None),
        ] {
            assert_eq!(of(text).day("S2L2A").map(|day| day.to_string()).as_deref(), day, "{text}");
            assert_eq!(of(text).date_notes(), Vec::<String>::new(), "{text}");
        }
        assert!(of("2023-04").month_alone("2023-04-15".parse().expect("day")));
        assert!(!of("2023-04-15").month_alone("2023-04-15".parse().expect("day")));
    }

    #[test]
    fn dates_that_cannot_be_are_told() {
        for text in ["19.04.2023", "04/19/2023", "2023-13-40", "2023-02-30", "yesterday", "2023-4-9", "12-04"] {
            let notes = of(text).date_notes();
            assert!(notes.len() == 1 && notes[0].contains(text) && notes[0].contains("cannot be read"), "{notes:?}");
            assert_eq!(of(text).day("S2L2A"), None, "{text}");
        }
        for text in ["0000-01-01", "1850-06-01", "9999-12-31T23:59:59Z", "1899", "1900-01"] {
            let notes = of(text).date_notes();
            assert!(notes.len() == 1 && notes[0].contains("check it"), "{text}: {notes:?}");
        }
        assert!(of("").date_notes().is_empty());
    }
}
