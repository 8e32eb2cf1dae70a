//! What ground an item of a catalogue covers.

use serde_json::Value;

/// A ring of longitudes and latitudes in degrees.
type Ring = Vec<[f64; 2]>;

/// Polygons in degrees, each of rings of which the first is outside. Rings over the antimeridian run on above 180 degrees.
pub(super) struct Outline(Vec<Vec<Ring>>);

impl Outline {
    /// Of a STAC item; its bounding box if it has no geometry that covers anything, `None` if it has neither.
    pub(super) fn of(feature: &Value) -> Option<Self> {
        if let Some(polygons) = polygons(&feature["geometry"])? {
            return Some(Self(polygons));
        }
        let b: Vec<f64> = feature["bbox"].as_array()?.iter().filter_map(Value::as_f64).collect();
        let [west, south, east, north] = match b[..] {
            [w, s, e, n] => [w, s, e, n],
            [w, s, _, e, n, _] => [w, s, e, n],
            _ => return None,
        };
        // A box over the antimeridian ends west of where it begins (RFC 7946, 5.2).
        let east = if east < west { east + 360.0 } else { east };
        Some(Self(vec![vec![vec![[west, south], [east, south], [east, north], [west, north]]]]))
    }

    /// Whether a point (longitude, latitude) is inside, whichever way around the Earth its longitude is counted.
    pub(super) fn holds(&self, [x, y]: [f64; 2]) -> bool {
        // Inside, a polygon's edges east of the point are an odd number; its holes are rings too.
        let inside =
            |polygon: &Vec<Ring>, x: f64| polygon.iter().map(|ring| crossings(ring, [x, y])).sum::<usize>() % 2 == 1;
        [x, x - 360.0, x + 360.0].into_iter().any(|x| self.0.iter().any(|polygon| inside(polygon, x)))
    }
}

/// Edges of a ring east of a point.
fn crossings(ring: &Ring, [x, y]: [f64; 2]) -> usize {
    let next = ring.iter().cycle().skip(1);
    let crosses =
        |a: &[f64; 2], b: &[f64; 2]| (a[1] > y) != (b[1] > y) && x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0];
    ring.iter().zip(next).filter(|(a, b)| crosses(a, b)).count()
}

/// The polygons of a GeoJSON geometry: also those of a collection, whose points and lines cover nothing. Outside: `None` if
/// it is damaged; inside: `None` if it is no geometry of an area.
fn polygons(geometry: &Value) -> Option<Option<Vec<Vec<Ring>>>> {
    let ring = |value: &Value| -> Option<Ring> {
        let points: Option<Ring> =
            value.as_array()?.iter().map(|p| Some([p.get(0)?.as_f64()?, p.get(1)?.as_f64()?])).collect();
        points.map(unwrapped)
    };
    let polygon = |value: &Value| -> Option<Vec<Ring>> { value.as_array()?.iter().map(ring).collect() };
    Some(match geometry["type"].as_str() {
        Some("Polygon") => Some(vec![polygon(&geometry["coordinates"])?]),
        Some("MultiPolygon") => {
            Some(geometry["coordinates"].as_array()?.iter().map(polygon).collect::<Option<Vec<_>>>()?)
        }
        Some("GeometryCollection") => {
            let members = geometry["geometries"].as_array()?.iter().map(polygons).collect::<Option<Vec<_>>>()?;
            let all: Vec<Vec<Ring>> = members.into_iter().flatten().flatten().collect();
            Some(all).filter(|all| !all.is_empty())
        }
        _ => None,
    })
}

/// A ring that lies around the antimeridian, but is written as if it ran around the rest of the Earth.
fn unwrapped(ring: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    let far = |least: f64| ring.iter().all(|[lon, _]| (least..=180.0).contains(&lon.abs()));
    let both = ring.iter().any(|[lon, _]| *lon < 0.0) && ring.iter().any(|[lon, _]| *lon > 0.0);
    // One with corners at 180 degrees alone is the whole Earth.
    if !both || !far(90.0) || far(179.99) {
        return ring;
    }
    ring.into_iter().map(|[lon, lat]| [if lon < 0.0 { lon + 360.0 } else { lon }, lat]).collect()
}
