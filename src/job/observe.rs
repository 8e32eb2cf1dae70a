//! What is known about the place of a request: read from its scene, or set by hand.

use super::keep::{keep_known, sky};
use super::place::Opened;
use super::{Place, Request, SetValue};
use crate::error::{Error, Result};
use crate::grid::Footprint;
use crate::modality::{ClassMap, Modality, ModalityTable, Raster, Value, ValueForm};
use crate::sampler::Role;
use crate::scene::{Given, Observation, YEARS, read_raster_for};

/// Reads every given modality of the request that is not set by hand, and puts the set values in.
///
/// # Errors
/// When the scene or a file cannot be read, or a value does not suit its modality.
pub fn observe(table: &ModalityTable, request: &Request) -> Result<Observation> {
    let given = request.roles.with(Role::Given);
    let mut wanted: Vec<usize> = given.iter().copied().filter(|i| !request.set.contains_key(i)).collect();
    wanted.extend(request.keep.keys().filter(|i| **i < table.len()));
    let opened = request.place.open(table)?;
    let ground = opened.footprint(table.window_m(), &request.place.extent)?;
    let mut observation = match &opened {
        Opened::Scene(scene) => scene.read(table, &ground, &wanted)?,
        Opened::Ground { name, .. } => {
            let mut observation = bare(table, name, ground.clone())?;
            for (i, value) in observation.values.iter_mut().enumerate() {
                value.take_if(|_| !wanted.contains(&i));
            }
            observation
        }
    };
    for (&i, set) in &request.set {
        let m = table.get(i).ok_or_else(|| Error::request("A value is set for a modality the model does not have."))?;
        if request.roles[i] == Role::Given {
            let given = value_of(m, set, &observation.footprint, &mut observation.notes)?;
            observation.values[i] = Some(given);
        }
    }
    // What was observed says which pixels are clear, even if a network is told of another sky.
    let sky = match (sky(table, request)?, &opened) {
        (Some(sky), Opened::Scene(scene)) if !wanted.contains(&sky) && scene.available(table).contains(&sky) => {
            scene.read(table, &ground, &[sky])?.values[sky].take()
        }
        (sky, _) => sky.and_then(|sky| observation.values[sky].clone()),
    };
    keep_known(table, request, sky.as_ref(), &mut observation)?;
    Ok(observation)
}

/// What has to be said about the holes of what is given: they are filled on the way to the network.
///
/// # Errors
/// When more than half of a raster is missing.
pub(super) fn fillings(table: &ModalityTable, given: &[usize], observation: &Observation) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for &i in given {
        if let Some(Given { value: Value::Image(raster), gap: Some(gap), .. }) = &observation.values[i] {
            notes.push(gap.suits(&table[i], raster)?);
        }
    }
    Ok(notes)
}

/// Reads all that is known at a place, modality by modality: one that cannot be used becomes a note.
///
/// # Errors
/// When the place cannot be opened, or its extent does not lie in it.
pub fn observe_all(table: &ModalityTable, place: &Place) -> Result<Observation> {
    let opened = place.open(table)?;
    let ground = opened.footprint(table.window_m(), &place.extent)?;
    let scene = match opened {
        Opened::Scene(scene) => scene,
        Opened::Ground { name, .. } => return bare(table, &name, ground),
    };
    let mut all = scene.read(table, &ground, &[])?;
    for i in scene.available(table) {
        match scene.read(table, &ground, &[i]) {
            Ok(mut one) => {
                all.values[i] = one.values[i].take();
                for note in one.notes {
                    if !all.notes.contains(&note) {
                        all.notes.push(note);
                    }
                }
            }
            Err(error) => all.notes.push(format!("{} cannot be used: {error}", table[i].name)),
        }
    }
    Ok(all)
}

/// Of bare ground only the location is known.
fn bare(table: &ModalityTable, name: &str, ground: Footprint) -> Result<Observation> {
    let centre = ground.centre()?;
    let location = |m: &Modality| m.is_location().then(|| Given::of(Value::Location(centre)));
    let values = table.iter().map(location).collect();
    Ok(Observation { tile: name.to_owned(), footprint: ground, values, notes: Vec::new() })
}

fn value_of(m: &Modality, set: &SetValue, window: &Footprint, notes: &mut Vec<String>) -> Result<Given> {
    let value = match (set, m.classes()) {
        (SetValue::Location(at), _) if m.is_location() => Value::Location(*at),
        (SetValue::Date(date), _) if m.is_date() => {
            if !YEARS.contains(&date.year()) {
                notes.push(format!(
                    "The date that was set, {date}, lies outside {} to {}, when there was anything to measure it with; check it.",
                    YEARS.start(),
                    YEARS.end()
                ));
            }
            Value::Date(*date)
        }
        (SetValue::Class(code), Some(classes)) if classes.iter().any(|c| c.code == *code) => {
            let (rows, columns) = window.pixels(m.ground_m)?;
            Value::Image(Raster::constant(1, rows, columns, f32::from(*code)))
        }
        (SetValue::Painted(map), Some(classes)) => {
            let known = |code: &u8| classes.iter().any(|c| c.code == *code);
            let fits = map.size() == window.pixels(m.ground_m)? && map.codes().iter().all(known);
            if !fits {
                return Err(Error::request(format!(
                    "What was painted for {} has another size, or classes it does not know.",
                    m.name
                )));
            }
            Value::Image(map.raster())
        }
        (SetValue::File(path), _) if !m.is_scalar() => {
            return read_raster_for(m, path, window, notes);
        }
        _ => return Err(Error::request(format!("The value set for {} does not suit it.", m.name))),
    };
    Ok(Given::of(value))
}

impl SetValue {
    /// Reads the text after `NAME=` of the command line (specification H.1): `lat,lon`, a date (`2023-04-19` or
    /// `19-04-2023`), a class name or code, or the path of a GeoTIFF.
    ///
    /// # Errors
    /// When the text is none of these; the message says what is expected.
    pub fn parse(m: &Modality, text: &str) -> Result<Self> {
        let text = text.trim();
        let bad =
            |expected: &str| Error::request(format!("\"{text}\" is no value for {}; expected {expected}.", m.name));
        match m.about.form {
            ValueForm::Location => {
                let numbers: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
                match numbers.as_deref() {
                    Some(&[lat, lon]) if lat.abs() <= 90.0 && lon.abs() <= 180.0 => {
                        Ok(Self::Location(crate::modality::Location { lat, lon }))
                    }
                    _ => Err(bad("latitude,longitude in degrees, such as 55.9,-3.2")),
                }
            }
            ValueForm::Date => {
                let turned: Vec<&str> = text.split('-').collect();
                let iso = match turned.as_slice() {
                    [day, month, year] if year.len() == 4 => format!("{year}-{month:0>2}-{day:0>2}"),
                    _ => text.to_owned(),
                };
                iso.parse().map(Self::Date).map_err(|_| bad("a date such as 2023-04-19"))
            }
            ValueForm::Class if ClassMap::is_text(text) => text
                .parse()
                .map(Self::Painted)
                .map_err(|expected: String| Error::request(format!("{}: {expected}.", m.name))),
            ValueForm::Class if !is_raster(text) => {
                let classes = m.classes().unwrap_or_default();
                let found =
                    classes.iter().find(|c| c.name.to_lowercase() == text.to_lowercase() || c.code.to_string() == text);
                let names: Vec<&str> = classes.iter().map(|c| c.name.as_str()).collect();
                found
                    .map(|c| Self::Class(c.code))
                    .ok_or_else(|| bad(&format!("a GeoTIFF (.tif) or one of: {}", names.join(", "))))
            }
            ValueForm::Picture if is_picture(text) => Ok(Self::File(text.into())),
            _ if !is_raster(text) => Err(bad("the path of a GeoTIFF (.tif)")),
            _ => Ok(Self::File(text.into())),
        }
    }

    /// The value in words, for files that have to say how they were made.
    pub fn describe(&self, m: &Modality) -> String {
        match self {
            Self::Location(at) => format!("{:.6},{:.6}", at.lat, at.lon),
            Self::Date(date) => date.to_string(),
            Self::Class(code) => {
                let name = m.classes().and_then(|all| all.iter().find(|c| c.code == *code)).map(|c| c.name.as_str());
                format!("{} ({code}) everywhere", name.unwrap_or("unknown class"))
            }
            Self::Painted(map) => {
                let share =
                    |code: u8| 100 * map.codes().iter().filter(|c| **c == code).count() / map.codes().len().max(1);
                let shares = m.classes().unwrap_or_default().iter().map(|c| (share(c.code), &c.name));
                let shares: Vec<String> =
                    shares.filter(|(share, _)| *share > 0).map(|(share, name)| format!("{name} {share} %")).collect();
                format!("a painted map ({})", shares.join(", "))
            }
            Self::File(path) => path.display().to_string(),
        }
    }
}

fn is_picture(text: &str) -> bool {
    let text = text.to_lowercase();
    [".png", ".jpg", ".jpeg"].iter().any(|ending| text.ends_with(ending))
}

fn is_raster(text: &str) -> bool {
    let text = text.to_lowercase();
    text.ends_with(".tif") || text.ends_with(".tiff")
}
