//! Modality tables as earlier versions wrote them: units, legend and normalisation in one field, `values`.

use super::look::{LookEntry, Style};
use super::{Class, Family, Normalisation, Subject, ValueForm};
use serde::Deserialize;

/// How reflectance was spread.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Curve {
    #[default]
    Linear,
    SquareRoot,
}

/// The field.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Values {
    Reflectance {
        dn_per_unit: f32,
        #[serde(default)]
        curve: Curve,
    },
    Decibel {
        min_db: f64,
        max_db: f64,
        min_positive: f64,
    },
    LogElevation {
        min_log: f64,
        max_log: f64,
        min_positive: f64,
    },
    RootElevation {
        max_m: f32,
    },
    Classes {
        classes: Vec<Class>,
    },
    Location,
    Date,
    Picture,
}

impl Values {
    /// What of it belongs to the network.
    pub(super) fn normalisation(&self) -> Normalisation {
        match *self {
            Self::Reflectance { dn_per_unit, curve: Curve::Linear } => {
                Normalisation::Linear { min: 0.0, max: dn_per_unit }
            }
            Self::Reflectance { dn_per_unit, curve: Curve::SquareRoot } => {
                Normalisation::SquareRoot { max: dn_per_unit }
            }
            Self::Decibel { min_db, max_db, min_positive } => Normalisation::Decibel { min_db, max_db, min_positive },
            Self::LogElevation { min_log, max_log, min_positive } => {
                Normalisation::Log1p { min_log, max_log, min_positive }
            }
            Self::RootElevation { max_m } => Normalisation::SignedRoot { max: max_m },
            Self::Classes { .. } => Normalisation::OneHot,
            Self::Location => Normalisation::UnitSphere,
            Self::Date => Normalisation::SineCosineYear,
            Self::Picture => Normalisation::EightBit,
        }
    }

    /// What of it the catalogue says: a family of this name, which may be known already.
    pub(super) fn family(&self, name: &str, known: Option<&Family>) -> Family {
        if let Some(known) = known.filter(|known| self.is_of(known)) {
            return if matches!(self, Self::Picture) { known.as_picture() } else { known.clone() };
        }
        let blank = |form| Family::unknown(name, form);
        let number = |subject, quantity: &str, unit: &str| Family {
            subject,
            quantity: quantity.into(),
            unit: unit.into(),
            ..blank(ValueForm::Number)
        };
        match self {
            Self::Reflectance { dn_per_unit, .. } => Family {
                stored: Some("DN".into()),
                per_unit: *dn_per_unit,
                whole_numbers: true,
                no_data: vec![0.0],
                least_contrast: 100.0,
                ..number(Subject::Reflectance, "reflectance", "reflectance")
            },
            Self::Decibel { .. } => Family {
                stored: Some("linear power".into()),
                decibel: true,
                shown: Some([-25.0, 0.0]),
                ..number(Subject::Other, "radar backscatter", "dB")
            },
            Self::LogElevation { .. } | Self::RootElevation { .. } => {
                let look = |name: &str, style| LookEntry { name: name.into(), style, bands: Vec::new(), stretch: None };
                let looks = vec![look("elevation with hillshade", Style::Relief), look("hillshade", Style::Hillshade)];
                Family { looks, least_contrast: 20.0, ..number(Subject::Elevation, "elevation", "m") }
            }
            Self::Classes { classes } => Family { legend: classes.clone(), ..blank(ValueForm::Class) },
            Self::Location => Family { subject: Subject::Place, unit: "degrees".into(), ..blank(ValueForm::Location) },
            Self::Date => Family { subject: Subject::Date, ..blank(ValueForm::Date) },
            Self::Picture => blank(ValueForm::Picture),
        }
    }

    /// Whether a family says the same.
    fn is_of(&self, family: &Family) -> bool {
        let form = self.normalisation().form();
        let same = match self {
            Self::Reflectance { dn_per_unit, .. } => family.is_optical() && family.per_unit == *dn_per_unit,
            Self::Decibel { .. } => family.decibel,
            Self::LogElevation { .. } | Self::RootElevation { .. } => family.subject == Subject::Elevation,
            Self::Classes { classes } => family.legend == *classes,
            // There may be pictures of every raster.
            Self::Picture => return family.is_raster(),
            Self::Location | Self::Date => true,
        };
        same && family.form == form
    }
}
