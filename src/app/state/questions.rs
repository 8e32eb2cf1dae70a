//! Questions worth asking, as ready-made choices.

use crate::app::state::choices::Choices;
use crate::modality::{Location, ModalityTable, Subject, Value};
use crate::sampler::Role;
use jiff::Span;
use jiff::civil::Date;

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// What would Sentinel-2 see where Sentinel-1 saw this?
    RadarToOptical,
    /// What would Sentinel-2 see on this terrain and land cover?
    TerrainToOptical,
    /// What would Sentinel-1 see where Sentinel-2 saw this?
    OpticalToRadar,
    /// All bands from the four at 10 m.
    TenMetreBands,
    /// The ground without clouds.
    CloudFree,
    /// Where on Earth is this terrain and land cover?
    Where,
    /// The same place half a year later.
    Season,
    /// The same terrain and land cover in another climate.
    Climate,
    /// Anything at all.
    Nothing,
}

/// What of a model's modalities is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Everything that tells of this.
    All(Subject),
    /// The finest of it.
    Finest(Subject),
    /// All but the finest.
    Coarser(Subject),
}

impl Part {
    fn of(self, table: &ModalityTable) -> Vec<usize> {
        match self {
            Self::All(subject) => table.telling_of(subject),
            Self::Finest(subject) => table.finest(subject).into_iter().collect(),
            Self::Coarser(subject) => {
                let finest = table.finest(subject);
                table.telling_of(subject).into_iter().filter(|i| Some(*i) != finest).collect()
            }
        }
    }

    /// As the model calls it, else as the catalogue does.
    fn name(self, table: &ModalityTable) -> String {
        let (Self::All(subject) | Self::Finest(subject) | Self::Coarser(subject)) = self;
        match (self, self.of(table).first()) {
            (Self::Finest(_), Some(&i)) => table[i].name.clone(),
            (_, Some(&i)) => table[i].family.clone(),
            (_, None) => table.catalogue().of(subject).next().map(|family| family.name.clone()).unwrap_or_default(),
        }
    }
}

/// What is known of the picked place.
pub(crate) type Known<'a> = &'a dyn Fn(usize) -> Option<&'a Value>;

impl Question {
    /// All of them, as the menu lists them.
    pub const ALL: [Self; 9] = [
        Self::RadarToOptical,
        Self::TerrainToOptical,
        Self::OpticalToRadar,
        Self::TenMetreBands,
        Self::CloudFree,
        Self::Where,
        Self::Season,
        Self::Climate,
        Self::Nothing,
    ];

    /// Name in the menu.
    pub fn name(self) -> &'static str {
        match self {
            Self::RadarToOptical => "Radar to optical",
            Self::TerrainToOptical => "Elevation and land cover to optical",
            Self::OpticalToRadar => "Optical to radar",
            Self::TenMetreBands => "10 m bands to all bands",
            Self::CloudFree => "Cloud-free view",
            Self::Where => "Where on Earth?",
            Self::Season => "Another season",
            Self::Climate => "Another climate",
            Self::Nothing => "Everything from nothing",
        }
    }

    /// What it asks.
    pub fn text(self) -> &'static str {
        match self {
            Self::RadarToOptical => "What would Sentinel-2 see where Sentinel-1 saw this?",
            Self::TerrainToOptical => "What would Sentinel-2 see on this terrain, with this land cover?",
            Self::OpticalToRadar => "What would Sentinel-1 see where Sentinel-2 saw this?",
            Self::TenMetreBands => "What are all other Sentinel-2 bands, given the four at 10 m?",
            Self::CloudFree => "What does the ground look like under a clear sky?",
            Self::Where => "Where on Earth could this terrain and land cover be?",
            Self::Season => "What would this place look like half a year later? The date can be changed.",
            Self::Climate => "What would this terrain and land cover look like elsewhere? The place can be changed.",
            Self::Nothing => "What does the model think the Earth looks like?",
        }
    }

    /// What has to be given: of each list the first that is known.
    fn needs(self) -> &'static [&'static [Part]] {
        match self {
            Self::RadarToOptical => &[&[Part::All(Subject::Radar)]],
            Self::TerrainToOptical | Self::Where => {
                &[&[Part::All(Subject::Elevation)], &[Part::All(Subject::LandCover)]]
            }
            Self::OpticalToRadar => &[&[Part::All(Subject::SurfaceReflectance), Part::All(Subject::TopOfAtmosphere)]],
            Self::TenMetreBands => &[&[Part::Finest(Subject::SurfaceReflectance)]],
            Self::CloudFree => &[&[Part::All(Subject::Clouds)]],
            Self::Season => &[&[Part::All(Subject::Date)]],
            Self::Climate => &[&[Part::All(Subject::Place)]],
            Self::Nothing => &[],
        }
    }

    /// What else is given where it is known.
    fn welcomes(self) -> &'static [Subject] {
        use Subject::{Date, Elevation, LandCover, Place, Radar};
        match self {
            Self::RadarToOptical | Self::TerrainToOptical | Self::OpticalToRadar => &[Place, Date],
            Self::CloudFree => &[Radar, Elevation, LandCover, Place, Date],
            Self::Season => &[Radar, Elevation, LandCover, Place],
            Self::Climate => &[Elevation, LandCover],
            Self::TenMetreBands | Self::Where | Self::Nothing => &[],
        }
    }

    /// What is generated; all if empty.
    fn generated(self) -> &'static [Part] {
        match self {
            Self::OpticalToRadar => &[Part::All(Subject::Radar)],
            Self::TenMetreBands => &[Part::Coarser(Subject::SurfaceReflectance), Part::All(Subject::TopOfAtmosphere)],
            Self::Where => &[Part::All(Subject::Place)],
            Self::Nothing => &[],
            _ => &[Part::All(Subject::SurfaceReflectance), Part::All(Subject::TopOfAtmosphere)],
        }
    }

    /// The choices it makes at a place.
    ///
    /// # Errors
    /// What is missing here, as a sentence.
    pub fn choices(self, table: &ModalityTable, known: Known) -> Result<Choices, String> {
        let generated: Vec<usize> = match self.generated() {
            [] => (0..table.len()).collect(),
            parts => parts.iter().flat_map(|part| part.of(table)).collect(),
        };
        let mut choices = Choices { roles: vec![Role::Ignored; table.len()], ..Choices::default() };
        for i in generated {
            choices.roles[i] = Role::Generated;
        }
        let texts = self.texts(table, known)?;
        let has = |i: &usize| known(*i).is_some() || texts.iter().any(|(set, _)| set == i);
        let held = |part: &Part| -> Vec<usize> { part.of(table).into_iter().filter(has).collect() };
        for alternatives in self.needs() {
            let found = alternatives.iter().map(held).find(|found| !found.is_empty());
            let found = found.ok_or_else(|| {
                let names: Vec<String> = alternatives.iter().map(|part| part.name(table)).collect();
                format!("{} is not known here.", names.join(" or "))
            })?;
            found.into_iter().for_each(|i| choices.roles[i] = Role::Given);
        }
        for i in self.welcomes().iter().flat_map(|subject| held(&Part::All(*subject))) {
            choices.roles[i] = Role::Given;
        }
        choices.typed.extend(texts);
        if !choices.roles.contains(&Role::Generated) {
            return Err("This model has none of the modalities that would be generated.".into());
        }
        Ok(choices)
    }

    /// Values it sets by hand.
    fn texts(self, table: &ModalityTable, known: Known) -> Result<Vec<(usize, String)>, String> {
        let at = |subject: Subject| table.finest(subject);
        match self {
            Self::CloudFree => {
                let mask = at(Subject::Clouds).ok_or("This model has no cloud mask.")?;
                let clear = table[mask].classes().and_then(|c| c.first()).ok_or("The cloud mask has no classes.")?;
                Ok(vec![(mask, clear.name.clone())])
            }
            Self::Season => {
                let date = at(Subject::Date).ok_or("This model has no date.")?;
                let Some(Value::Date(day)) = known(date) else { return Err("date is not known here.".into()) };
                Ok(vec![(date, half_a_year_later(*day).to_string())])
            }
            Self::Climate => {
                let location = at(Subject::Place).ok_or("This model has no location.")?;
                let Some(Value::Location(here)) = known(location) else {
                    return Err("location is not known here.".into());
                };
                let there = elsewhere(*here);
                Ok(vec![(location, format!("{:.3}, {:.3}", there.lat, there.lon))])
            }
            _ => Ok(Vec::new()),
        }
    }
}

fn half_a_year_later(day: Date) -> Date {
    day.checked_add(Span::new().months(6)).unwrap_or(day)
}

/// Thirty degrees nearer to the equator, or further from it where it is near.
fn elsewhere(here: Location) -> Location {
    let away = if here.lat.abs() > 35.0 { -30.0 } else { 30.0 };
    Location { lat: here.lat + away * here.lat.signum(), lon: here.lon }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Place, day and elevation are known everywhere, the rest as a test wants it.
    fn table_and_values(names: &[&str]) -> (ModalityTable, Vec<Option<Value>>) {
        let table = ModalityTable::published();
        let value = |m: &crate::modality::Modality| match m.name.as_str() {
            name if !names.contains(&name) => None,
            "location" => Some(Value::Location(Location { lat: 46.5, lon: 11.3 })),
            "date" => Some(Value::Date(jiff::civil::date(2022, 8, 31))),
            _ => Some(Value::Image(crate::modality::Raster::constant(m.channels.len(), m.pixels, m.pixels, 1.0))),
        };
        let values = table.iter().map(value).collect();
        (table, values)
    }

    fn named(table: &ModalityTable, choices: &Choices, role: Role) -> Vec<String> {
        (0..table.len()).filter(|&i| choices.roles[i] == role).map(|i| table[i].name.clone()).collect()
    }

    #[test]
    fn presets_give_what_is_known_and_say_what_is_missing() {
        let (table, values) = table_and_values(&["location", "date", "DEM", "LULC", "S2L1C_10m"]);
        let known = |i: usize| values[i].as_ref();
        let optical = Question::TerrainToOptical.choices(&table, &known).expect("terrain");
        assert_eq!(named(&table, &optical, Role::Given), ["location", "date", "DEM", "LULC"]);
        assert!(named(&table, &optical, Role::Generated).iter().all(|name| name.starts_with("S2")));
        let radar = Question::OpticalToRadar.choices(&table, &known).expect("the other level serves");
        assert_eq!(named(&table, &radar, Role::Given), ["location", "date", "S2L1C_10m"]);
        assert_eq!(named(&table, &radar, Role::Generated), ["S1RTC"]);
        assert_eq!(Question::RadarToOptical.choices(&table, &known), Err("S1RTC is not known here.".into()));
        let all = Question::Nothing.choices(&table, &known).expect("nothing");
        assert!(all.roles.iter().all(|role| *role == Role::Generated));
    }

    #[test]
    fn what_presets_set_by_hand_can_be_read_back() {
        let (table, values) = table_and_values(&["location", "date", "DEM"]);
        let known = |i: usize| values[i].as_ref();
        let set = |question: Question, name: &str| {
            let choices = question.choices(&table, &known).expect("choices");
            let i = table.index(name).expect("modality");
            assert_eq!(choices.roles[i], Role::Given);
            crate::job::SetValue::parse(&table[i], choices.text(i)).expect("value")
        };
        assert_eq!(set(Question::CloudFree, "cloud_mask"), crate::job::SetValue::Class(0));
        assert_eq!(set(Question::Season, "date"), crate::job::SetValue::Date(jiff::civil::date(2023, 2, 28)));
        let there = crate::job::SetValue::Location(Location { lat: 16.5, lon: 11.3 });
        assert_eq!(set(Question::Climate, "location"), there);
        let nothing = |_: usize| None;
        assert!(Question::Season.choices(&table, &nothing).is_err());
    }
}
