//! Modality tables as files hold them: the manifest of a model, the catalogue of models, recipes.

use super::earlier::Values;
use super::{Catalogue, Family, Group, GroupEntry, Modality, ModalityTable, Normalisation, ValueForm};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::sync::Arc;

/// What pictures' channels are called.
const COLOURS: [&str; 3] = ["red", "green", "blue"];

/// A row as files hold it: what it takes of the catalogue by name, and what belongs to the network. Earlier versions had
/// `values` in place of `normalisation` and named family, channels and pixel size in each row.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    key: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channels: Option<Vec<String>>,
    #[serde(default)]
    pixels: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ground_m: Option<f64>,
    latent: [usize; 3],
    patch: usize,
    scale_factor: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    normalisation: Option<Normalisation>,
    #[serde(default, skip_serializing)]
    values: Option<Values>,
}

impl Row {
    /// The raster it takes, and how its values are normalised.
    fn resolved(&self, catalogue: &Catalogue) -> Result<(Group, Normalisation), String> {
        let family = self.family.as_deref();
        let known = catalogue.group(&self.name).filter(|group| family.is_none_or(|family| group.family == family));
        match (&self.values, &self.normalisation) {
            (Some(_), Some(_)) => Err("has both values and normalisation; leave values out".into()),
            (Some(values), None) => {
                let name = family.unwrap_or(&self.name);
                let about = values.family(name, catalogue.family(name).map(Arc::as_ref));
                Ok((self.group(known, &Arc::new(about)), values.normalisation()))
            }
            (None, Some(Normalisation::EightBit)) => {
                let name = family.unwrap_or(&self.name);
                let about = catalogue.family(name).map(|family| family.as_picture());
                let about = about.unwrap_or_else(|| Family::unknown(name, ValueForm::Picture));
                Ok((self.group(None, &Arc::new(about)), Normalisation::EightBit))
            }
            (None, given) => {
                let about = known.map(|group| &group.about).or_else(|| catalogue.family(family?)).ok_or_else(|| {
                    format!(
                        "is called {}, which is no raster of the catalogue; describe its family (families.toml, or \"families\" of the table)",
                        self.name
                    )
                })?;
                if known.is_none() && (self.channels.is_none() || (about.is_raster() && self.ground_m.is_none())) {
                    return Err(format!(
                        "is called {}, which is no raster of the family {}; name its channels and its pixel size (ground_m)",
                        self.name, about.name
                    ));
                }
                let given = given.clone().or_else(|| Normalisation::of_form(about.form));
                Ok((self.group(known, about), given.ok_or("has no normalisation")?))
            }
        }
    }

    /// The raster, as the catalogue knows it where the row does not say otherwise.
    fn group(&self, known: Option<&Arc<Group>>, about: &Arc<Family>) -> Group {
        let colours = || COLOURS.map(str::to_owned).to_vec();
        let known_channels = known.map(|group| group.channels.clone());
        Group {
            name: self.name.clone(),
            family: about.name.clone(),
            channels: self.channels.clone().or(known_channels).unwrap_or_else(colours),
            ground_m: self.ground_m.or(known.map(|group| group.ground_m)).unwrap_or_default(),
            files: known.map(|group| group.files.clone()).unwrap_or_default(),
            about: about.clone(),
        }
    }

    /// As it is written; family, channels and pixel size only where the catalogue says otherwise.
    fn of(m: &Modality, catalogue: &Catalogue) -> Self {
        let known = catalogue.group(&m.name).filter(|known| known.family == m.family && !m.is_picture());
        let channels = known.is_none_or(|known| known.channels != m.channels).then(|| m.channels.clone());
        let ground_m = known.is_none_or(|known| known.ground_m != m.ground_m).then_some(m.ground_m);
        Self {
            key: m.key.clone(),
            name: m.name.clone(),
            family: known.is_none().then(|| m.family.clone()),
            channels,
            pixels: m.pixels,
            ground_m,
            latent: m.latent,
            patch: m.patch,
            scale_factor: m.scale_factor,
            normalisation: Some(m.normalisation.clone()),
            values: None,
        }
    }
}

/// A catalogue with the family of a row, where it is another than it knows. A family that cannot be read from files, because
/// its names are those of others, is the row's alone.
pub(super) fn with(catalogue: Arc<Catalogue>, about: &Arc<Family>) -> Arc<Catalogue> {
    if about.form == ValueForm::Picture || catalogue.family(&about.name).is_some_and(|known| known == about) {
        return catalogue;
    }
    match catalogue.with([about.as_ref().clone()]) {
        Ok(more) => Arc::new(more),
        Err(_) => catalogue,
    }
}

/// Rows with the families they bring.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    #[serde(default)]
    families: Vec<Family>,
    rows: Vec<Row>,
}

impl Whole {
    fn table(self, mut catalogue: Arc<Catalogue>) -> Result<ModalityTable, String> {
        if !self.families.is_empty() {
            catalogue = Arc::new(catalogue.with(self.families)?);
        }
        let named = |row: &Row, what: String| format!("Modality table: {} {what}.", row.key);
        // Rows of earlier versions describe their families piece by piece: the last one's knows them all.
        for row in self.rows.iter().filter(|row| row.values.is_some()) {
            let (group, _) = row.resolved(&catalogue).map_err(|what| named(row, what))?;
            let mut about = group.about.as_ref().clone();
            let entry = GroupEntry {
                name: group.name.clone(),
                channels: group.channels.clone(),
                ground_m: group.ground_m,
                files: group.files.clone(),
            };
            match about.groups.iter_mut().find(|known| known.name == group.name) {
                Some(known) => *known = entry,
                None => about.groups.push(entry),
            }
            catalogue = with(catalogue, &Arc::new(about));
        }
        let mut rows = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let (own, normalisation) = row.resolved(&catalogue).map_err(|what| named(row, what))?;
            let known = catalogue.group(&own.name).filter(|known| ***known == own);
            rows.push(Modality {
                key: row.key.clone(),
                group: known.cloned().unwrap_or_else(|| Arc::new(own)),
                pixels: row.pixels,
                latent: row.latent,
                patch: row.patch,
                scale_factor: row.scale_factor,
                normalisation,
            });
        }
        ModalityTable::of(rows, catalogue).map_err(|error| error.to_string())
    }
}

impl Serialize for ModalityTable {
    /// A list of rows; with families that do not come with the program an object of both.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            families: Vec<&'a Family>,
            rows: Vec<Row>,
        }
        let bundled = Catalogue::bundled();
        let mut families: Vec<&Family> = Vec::new();
        for m in self.iter().filter(|m| !m.is_picture() && bundled.family(&m.family) != Some(&m.about)) {
            if !families.contains(&m.about.as_ref()) {
                families.push(&m.about);
            }
        }
        let rows: Vec<Row> = self.iter().map(|m| Row::of(m, self.catalogue())).collect();
        if families.is_empty() { rows.serialize(serializer) } else { Written { families, rows }.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for ModalityTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)?.table(Catalogue::of_user()).map_err(de::Error::custom)
    }
}

impl ModalityTable {
    /// A table as a file holds it (JSON), where this can be read.
    ///
    /// # Errors
    /// When it is no table, or takes what the catalogue does not know; as a sentence.
    pub fn from_json(text: &str, catalogue: Arc<Catalogue>) -> Result<Self, String> {
        let mut json = serde_json::Deserializer::from_str(text);
        let whole = json.deserialize_any(Visitor).and_then(|whole| json.end().map(|()| whole));
        whole.map_err(|e| format!("This is no modality table: {e}."))?.table(catalogue)
    }
}

/// Reads a list of rows, or an object with families.
struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Whole;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of modalities, or families and rows")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, rows: A) -> Result<Whole, A::Error> {
        let rows = Deserialize::deserialize(de::value::SeqAccessDeserializer::new(rows))?;
        Ok(Whole { families: Vec::new(), rows })
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Whole, A::Error> {
        Deserialize::deserialize(de::value::MapAccessDeserializer::new(map))
    }
}
