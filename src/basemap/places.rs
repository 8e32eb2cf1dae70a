//! Names of countries and towns, and from which zoom level on they are worth showing.

use super::mercator;
use crate::error::{Error, Result};
use crate::files::bundled;

/// What kind of place it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A country, named in its middle.
    Country,
    /// The capital of one.
    Capital,
    /// Any other town of more than 15 000.
    Town,
}

/// A place with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// What kind it is.
    pub kind: Kind,
    /// Its name; a country's in capitals.
    pub name: String,
    /// Where, in the unit square of web mercator.
    pub at: [f64; 2],
    /// People who live in a town; for a country, the side of a square as large as its largest part, as a share of the
    /// map's width.
    pub weight: f64,
    /// Zoom level from which on it may be shown.
    pub from: f64,
}

/// All of them, the most important first.
#[derive(Debug, Clone, PartialEq)]
pub struct Places(pub Vec<Place>);

impl Places {
    /// Reads the bundled file.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn open() -> Result<Self> {
        let path = bundled("assets/basemap/places.tsv")?;
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, "read", &e))?;
        Self::read(&text)
            .ok_or_else(|| Error::file(&path, "These are no names of places; get the program's files anew"))
    }

    fn read(text: &str) -> Option<Self> {
        let mut places = text.lines().map(place).collect::<Option<Vec<_>>>()?;
        // Countries, then what shows earliest; the file's order, by size, decides among equals.
        places
            .sort_by(|a, b| (a.kind != Kind::Country).cmp(&(b.kind != Kind::Country)).then(a.from.total_cmp(&b.from)));
        Some(Self(places))
    }
}

fn place(line: &str) -> Option<Place> {
    let mut parts = line.split('\t');
    let kind = match parts.next()? {
        "country" => Kind::Country,
        "capital" => Kind::Capital,
        "town" => Kind::Town,
        _ => return None,
    };
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut number = || parts.next()?.parse::<f64>().ok().filter(|v| v.is_finite());
    let (lat, lon, weight) = (number()?, number()?, number()?);
    let people = weight.max(1000.0).log10();
    let (name, weight, from) = match kind {
        Kind::Country => (name.to_uppercase(), weight / 1e6, 1.5),
        // Ten million at 3, one million at 4.75, a hundred thousand at 6.5.
        Kind::Town => (name.to_owned(), weight, (3.0 + (7.0 - people) * 1.75).max(2.8)),
        Kind::Capital => (name.to_owned(), weight, (2.6 + (7.0 - people) * 1.1).max(2.6)),
    };
    Some(Place { kind, name, at: mercator(lon, lat), weight, from })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_places_are_there_and_come_in_order() {
        let places = Places::open().expect("bundled").0;
        let find = |name: &str| places.iter().find(|place| place.name == name).unwrap_or_else(|| panic!("{name}"));
        for name in ["GERMANY", "FRANCE", "KOSOVO", "TÜRKIYE", "CÔTE D'IVOIRE", "NEW ZEALAND"] {
            assert_eq!(find(name).kind, Kind::Country);
        }
        for name in ["Berlin", "Reykjavík", "Brasília", "Astana", "Bogotá", "Tokyo"] {
            assert_eq!(find(name).kind, Kind::Capital, "{name}");
        }
        assert!(find("Shanghai").from < 4.0 && find("Bolzano").from > 6.0);
        assert!(find("Berlin").from < find("Munich").from);
        let [x, y] = find("London").at;
        assert!((x - 0.5).abs() < 0.001 && (0.3..0.35).contains(&y), "{x} {y}");
        assert!(places.iter().flat_map(|place| place.at).all(|v| (0.0..=1.0).contains(&v)));
        let towns: Vec<f64> = places.iter().filter(|p| p.kind != Kind::Country).map(|p| p.from).collect();
        assert!(towns.is_sorted() && towns.len() > 25_000);
    }

    #[test]
    fn damaged_names_are_refused() {
        for text in
            ["town\tA\t1\t2", "village\tA\t1\t2\t3", "town\t\t1\t2\t3", "town\tA\tx\t2\t3", "town\tA\tNaN\t2\t3"]
        {
            assert_eq!(Places::read(text), None, "{text}");
        }
    }
}
