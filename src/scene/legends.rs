//! Class rasters in the codes of another map: recognised by their set of values, or as a scene says.

use super::codes::Found;
use crate::modality::{Group, Subject};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// So many classes are told by name when a map is read in other codes.
const TOLD: usize = 6;
/// Codes that mean no data where a legend does not use them.
pub(super) const FILLS: [u16; 2] = [0, 255];
/// Of two legends that fit, the one is taken that so few of all codes would fit by chance, beside the other.
const LIKELIER: f64 = 12.0;
/// Where so many of the pixels have codes of the family's own, some strange ones do not make it another map that is doubtful
/// anyway.
const MOSTLY_OWN: f64 = 0.9;

/// The codes of another map, and what they are in a family's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Legend {
    id: String,
    title: String,
    family: String,
    /// Whether it is taken only if the scene says so.
    #[serde(default)]
    asked: bool,
    /// Only with a code from here on it is likely: those below are other maps' codes, too.
    #[serde(default)]
    sure_from: u16,
    /// Code, name, and the code of the family's legend that stands for it.
    classes: Vec<(u16, String, u8)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    legend: Vec<Legend>,
}

static LEGENDS: LazyLock<Vec<Legend>> = LazyLock::new(|| {
    // A test reads it.
    toml::from_str(include_str!("legends.toml")).map(|file: File| file.legend).unwrap_or_default()
});

/// Whose codes a raster holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Codes {
    /// Its family's own, or nobody's that is known.
    Own,
    /// Another map's.
    Other(&'static Legend),
}

/// What the codes of a class raster are: as `stated` in a scene, else the family's own if it has them all, else those of the
/// only legend that does. `found` are the codes of its pixels but those that are declared no data. What means no data in most
/// maps (0, 255) decides nothing.
///
/// # Errors
/// A sentence, when several legends fit or the only one is doubtful, or the stated one is unknown or has not all codes.
pub(super) fn recognise(m: &Group, found: &Found, stated: Option<&str>) -> Result<Codes, String> {
    let of_family = || LEGENDS.iter().filter(|legend| legend.family == m.family);
    let known = || of_family().map(|legend| legend.id.as_str()).chain(["own"]).collect::<Vec<_>>().join(", ");
    match stated {
        Some("own") => return Ok(Codes::Own),
        Some(id) => {
            let Some(legend) = of_family().find(|legend| legend.id == id) else {
                return Err(format!(
                    "scene.json says that the legend of {} is \"{id}\", which is not known; known are {}",
                    m.family,
                    known()
                ));
            };
            let unknown = found.codes().filter(|code| !legend.has(*code) && !FILLS.contains(code));
            let missing: Vec<String> = unknown.take(5).map(|code| code.to_string()).collect();
            if !missing.is_empty() {
                return Err(format!(
                    "scene.json says that its codes are those of {}, which has no code {}; correct \"legends\" there",
                    legend.title,
                    missing.join(", ")
                ));
            }
            return Ok(Codes::Other(legend));
        }
        None => {}
    }
    let class = |code: u16| m.classes().unwrap_or_default().iter().find(|class| u16::from(class.code) == code);
    let own = |code: u16| class(code).is_some() || m.about.is_no_data(f32::from(code)) || FILLS.contains(&code);
    if found.codes().all(own) {
        return Ok(Codes::Own);
    }
    let mut fitting: Vec<&'static Legend> = of_family()
        .filter(|legend| found.codes().all(|code| legend.has(code) || FILLS.contains(&code)))
        .filter(|legend| found.codes().any(|code| legend.has(code)))
        .collect();
    fitting.sort_by_key(|legend| legend.classes.len());
    let likely = |legend: &Legend| found.codes().any(|code| code >= legend.sure_from);
    let sure = |legend: &Legend| !legend.asked && likely(legend);
    // Clouds tell nothing of the ground, and their code is that of trees in another map.
    let ground = |code: u16| class(code).is_some_and(|class| class.name != "Clouds") && !FILLS.contains(&code);
    if m.about.subject == Subject::LandCover
        && !fitting.iter().any(|legend| likely(legend))
        && found.share(ground) >= MOSTLY_OWN
    {
        return Ok(Codes::Own);
    }
    // Of few codes many sets fit only by chance if there are many codes.
    let told = found.codes().filter(|code| !FILLS.contains(code)).count() as f64;
    let ratio = |few: &Legend, many: &Legend| (many.classes.len() as f64 / few.classes.len() as f64).powf(told);
    match fitting[..] {
        [] => Ok(Codes::Own),
        [one] if sure(one) => Ok(Codes::Other(one)),
        [one, next, ..] if sure(one) && ratio(one, next) >= LIKELIER => Ok(Codes::Other(one)),
        _ => {
            let codes: Vec<String> = found.codes().take(12).map(|code| code.to_string()).collect();
            let titles: Vec<String> =
                fitting.iter().map(|legend| format!("{} (\"{}\")", legend.title, legend.id)).collect();
            Err(format!(
                "Its class codes {} are not those of {}, but fit {}; say in scene.json which it is (\"legends\": {{\"{}\": \"{}\"}}, or \"own\"), or convert them first",
                codes.join(", "),
                m.about.quantity,
                titles.join(" and "),
                m.family,
                fitting[0].id
            ))
        }
    }
}

/// What one code of a raster that is read as the family's own would mean in other maps, if in its own it means that nothing of
/// the ground is seen: for a question.
pub(super) fn elsewhere(m: &Group, code: u16) -> Option<String> {
    let meanings: Vec<String> = LEGENDS
        .iter()
        .filter(|legend| legend.family == m.family)
        .filter_map(|legend| {
            let (_, name, own) = legend.classes.iter().find(|(c, ..)| *c == code)?;
            (u16::from(*own) != code).then(|| format!("{name} in {} (\"{}\")", legend.title, legend.id))
        })
        .collect();
    (!meanings.is_empty()).then(|| meanings.join(", "))
}

impl Legend {
    fn has(&self, code: u16) -> bool {
        self.classes.iter().any(|(own, ..)| *own == code)
    }

    /// Its codes, and what they are in the family's own.
    pub(super) fn codes(&self) -> BTreeMap<u16, f32> {
        self.classes.iter().map(|(code, _, own)| (*code, f32::from(*own))).collect()
    }

    /// What is said when a raster is read so.
    pub(super) fn note(&self, m: &Group, found: &Found) -> String {
        let own = |code: u8| {
            let class = m.classes().unwrap_or_default().iter().find(|class| class.code == code);
            class.map_or_else(|| "unknown".to_owned(), |class| class.name.clone())
        };
        let there: Vec<&(u16, String, u8)> = self.classes.iter().filter(|(code, ..)| found.has(*code)).collect();
        let mut told: Vec<String> =
            there.iter().take(TOLD).map(|(code, name, to)| format!("{code} {name} → {}", own(*to))).collect();
        if there.len() > TOLD {
            told.push(format!("and {} more", there.len() - TOLD));
        }
        format!("its codes are those of {}; they were read as {}: {}", self.title, m.about.quantity, told.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modality::Catalogue;
    use std::collections::BTreeSet;

    /// So many pixels of each of these codes.
    fn codes(all: &[u16]) -> Found {
        Found::of(all.iter().map(|code| f32::from(*code)))
    }

    #[test]
    fn the_file_is_read_and_leads_to_classes_that_there_are() {
        let file: File = toml::from_str(include_str!("legends.toml")).expect("legends");
        let catalogue = Catalogue::bundled();
        for legend in &file.legend {
            let group = catalogue.group(&legend.family).expect("a family of one group");
            let known = |code: u8| {
                group.about.is_no_data(f32::from(code))
                    || group.classes().expect("classes").iter().any(|c| c.code == code)
            };
            assert!(legend.classes.iter().all(|(.., to)| known(*to)), "{}", legend.id);
            assert_eq!(
                legend.classes.iter().map(|(code, ..)| *code).collect::<BTreeSet<_>>().len(),
                legend.classes.len()
            );
        }
    }

    #[test]
    fn other_legends_are_recognised_by_their_codes_and_asked_about_where_several_fit() {
        let catalogue = Catalogue::bundled();
        let cover = catalogue.group("LULC").expect("group");
        let clouds = catalogue.group("cloud_mask").expect("group");
        let id = |m, found: &[u16]| match recognise(m, &codes(found), None) {
            Ok(Codes::Own) => "own".to_owned(),
            Ok(Codes::Other(legend)) => legend.id.clone(),
            Err(problem) => problem,
        };
        for (found, expected) in [
            (&[1, 2, 4, 5, 7, 8, 9, 11][..], "own"),
            (&[10][..], "own"),
            (&[10, 30, 50, 80], "worldcover"),
            (&[100], "worldcover"),
            (&[112, 211, 311], "corine"),
            (&[2, 12, 18, 23], "corine-44"),
            (&[10, 30], "worldcover"),
            (&[0, 10, 30, 50], "worldcover"),
            (&[200, 201], "own"),
            // What stands for no data in most maps, and nobody declared.
            (&[1, 2, 4, 5, 7, 8, 255], "own"),
            (&[0, 255], "own"),
            (&[2, 12, 18, 23, 48], "corine-44"),
            (&[111, 112, 211, 999], "corine"),
        ] {
            assert_eq!(id(cover, found), expected, "{found:?}");
        }
        assert!(id(cover, &[30]).contains("worldcover") && id(cover, &[30]).contains("corine-44"));
        assert_eq!(id(clouds, &[0, 1, 2, 3, 255]), "own");
        assert_eq!(id(clouds, &[4, 5, 6, 8]), "scl");
        // A city may be told by the first twelve codes of CORINE alone, and so may nearly anything else.
        for found in [&[1, 2, 3, 4, 11][..], &[1, 2, 12], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] {
            let asked = id(cover, found);
            assert!(asked.contains("corine-44") && asked.contains("\"own\""), "{found:?}: {asked}");
        }
        assert!(id(cover, &[1, 2, 3, 6, 9, 10]).contains("esri-2020"));
        // Some strange pixels in a map whose others are all of its own codes.
        let mut mixed = [1, 2, 5, 11].repeat(30);
        mixed.extend([3, 12]);
        assert_eq!(id(cover, &mixed), "own");
        mixed.extend([12; 40]);
        assert!(id(cover, &mixed).contains("corine-44"));
        // But for codes that nearly all are in another map, too.
        mixed = [1, 2, 4].repeat(40);
        mixed.push(6);
        assert!(id(cover, &mixed).contains("dynamic-world"));
        let asked = id(cover, &[0, 1, 3, 6]);
        assert!(
            asked.contains("dynamic-world") && asked.contains("terramesh") && asked.contains("0, 1, 3, 6"),
            "{asked}"
        );
        assert!(id(clouds, &[0, 4]).contains("fmask"));
        let stated = |id, found| recognise(cover, &codes(found), Some(id));
        assert!(
            matches!(stated("dynamic-world", &[0, 1, 2]), Ok(Codes::Other(legend)) if legend.id == "dynamic-world")
        );
        assert!(matches!(stated("own", &[3]), Ok(Codes::Own)));
        assert!(stated("worldcover", &[11]).expect_err("no such code").contains("no code 11"));
        assert!(stated("corinne", &[111]).expect_err("no such legend").contains("corine"));
    }

    #[test]
    fn codes_become_the_familys_own_and_it_is_said() {
        let catalogue = Catalogue::bundled();
        let cover = catalogue.group("LULC").expect("group");
        let Ok(Codes::Other(legend)) = recognise(cover, &codes(&[10, 80]), Some("worldcover")) else {
            panic!("stated")
        };
        assert_eq!([legend.codes()[&10], legend.codes()[&80]], [2.0, 1.0]);
        let note = legend.note(cover, &codes(&[10, 80]));
        assert!(note.contains("10 Tree cover → Trees") && note.contains("80 Permanent water bodies → Water"), "{note}");
        assert!(elsewhere(cover, 10).expect("meanings").contains("Tree cover in ESA WorldCover"));
    }
}
