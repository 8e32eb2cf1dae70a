//! Places by what a person types: coordinates or a grid cell.

use crate::grid::GridCell;
use crate::modality::Location;

/// A place that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Found {
    /// The grid cell it lies in.
    pub cell: GridCell,
    /// Where to look.
    pub middle: Location,
    /// Side of what should be seen, in metres.
    pub side_m: f64,
}

/// Side of a grid cell, metres.
const CELL_M: f64 = 10_000.0;

/// `46.5, 11.35` (also `46.5 N 11.35 E` and with degree signs) or `618U_30L`; `None` for anything else.
pub(crate) fn place(text: &str) -> Option<Found> {
    let text = text.trim();
    if let Ok(cell) = text.parse::<GridCell>() {
        return Some(Found { cell, middle: cell.centre(), side_m: CELL_M });
    }
    let middle = coordinates(text)?;
    Some(Found { cell: GridCell::containing(middle)?, middle, side_m: CELL_M })
}

fn coordinates(text: &str) -> Option<Location> {
    let clean: String =
        text.to_uppercase().chars().map(|c| if matches!(c, ',' | ';' | '°') { ' ' } else { c }).collect();
    let mut numbers: Vec<(f64, Option<char>)> = Vec::new();
    for word in clean.split_whitespace() {
        let (number, side) = match word.strip_suffix(['N', 'S', 'E', 'W']) {
            Some(number) => (number, word.chars().last()),
            None => (word, None),
        };
        match (number, side, numbers.last_mut()) {
            ("", side, Some((_, last @ None))) => *last = side,
            ("", ..) => return None,
            (number, side, _) => numbers.push((number.parse().ok()?, side)),
        }
    }
    let signed =
        |(value, side): (f64, Option<char>), negative: char| if side == Some(negative) { -value } else { value };
    let [first, second] = numbers.as_slice() else { return None };
    let turned = matches!(first.1, Some('E' | 'W'));
    let (lat, lon) = if turned { (*second, *first) } else { (*first, *second) };
    if matches!(lat.1, Some('E' | 'W')) || matches!(lon.1, Some('N' | 'S')) {
        return None;
    }
    let (lat, lon) = (signed(lat, 'S'), signed(lon, 'W'));
    (lat.abs() <= 90.0 && lon.abs() <= 180.0).then_some(Location { lat, lon })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_read_as_people_write_them() {
        for text in ["46.5, 11.35", "46.5 11.35", "46.5°N 11.35°E", "46.5 N, 11.35 E", "11.35E 46.5N", " 46.5;11.35 "]
        {
            let at = place(text).unwrap_or_else(|| panic!("{text}")).middle;
            assert!((at.lat - 46.5).abs() < 1e-9 && (at.lon - 11.35).abs() < 1e-9, "{text}: {at:?}");
        }
        let south_west = place("33.9 S 18.4 W").expect("place").middle;
        assert!((south_west.lat + 33.9).abs() < 1e-9 && (south_west.lon + 18.4).abs() < 1e-9);
        for text in ["", "Bolzano", "46.5", "91, 0", "1, 2, 3", "12 N 13 N", "nan, 0", "5 E 7 W", "N 46"] {
            assert!(place(text).is_none(), "{text}");
        }
    }

    #[test]
    fn cells_are_found_by_their_name_and_by_what_lies_in_them() {
        let found = place("618U_30L").expect("cell");
        let again = place(&format!("{}, {}", found.middle.lat, found.middle.lon)).expect("place");
        assert_eq!(found.cell, again.cell);
    }
}
