//! What ground an item of a catalogue covers.

use serde_json::Value;

/// Polygons in degrees: rings, the first of each polygon outside. Rings over the antimeridian run on above 180 degrees.
pub(super) struct Outline(Vec<Vec<[f64; 2]>>);

impl Outline {
    /// Of a STAC item; its bounding box if it has no polygon, `None` if it has neither.
    pub(super) fn of(feature: &Value) -> Option<Self> {
        let ring = |value: &Value| -> Option<Vec<[f64; 2]>> {
            let points: Option<Vec<[f64; 2]>> =
                value.as_array()?.iter().map(|p| Some([p.get(0)?.as_f64()?, p.get(1)?.as_f64()?])).collect();
            points.map(unwrapped)
        };
        let polygon = |value: &Value| -> Option<Vec<Vec<[f64; 2]>>> { value.as_array()?.iter().map(ring).collect() };
        let geometry = &feature["geometry"];
        let rings = match geometry["type"].as_str() {
            Some("Polygon") => polygon(&geometry["coordinates"])?,
            Some("MultiPolygon") => {
                let all: Option<Vec<_>> = geometry["coordinates"].as_array()?.iter().map(polygon).collect();
                all?.concat()
            }
            _ => {
                let b: Vec<f64> = feature["bbox"].as_array()?.iter().filter_map(Value::as_f64).collect();
                let [west, south, east, north] = match b[..] {
                    [w, s, e, n] => [w, s, e, n],
                    [w, s, _, e, n, _] => [w, s, e, n],
                    _ => return None,
                };
                // A box over the antimeridian ends west of where it begins (RFC 7946, 5.2).
                let east = if east < west { east + 360.0 } else { east };
                vec![vec![[west, south], [east, south], [east, north], [west, north]]]
            }
        };
        Some(Self(rings))
    }

    /// Whether a point (longitude, latitude) is inside, whichever way around the Earth its longitude is counted.
    pub(super) fn holds(&self, [x, y]: [f64; 2]) -> bool {
        [x, x - 360.0, x + 360.0].into_iter().any(|x| self.crossings([x, y]) % 2 == 1)
    }

    /// Edges east of a point: an odd number inside; holes are rings too.
    fn crossings(&self, [x, y]: [f64; 2]) -> usize {
        let crosses = |ring: &Vec<[f64; 2]>| {
            let next = ring.iter().cycle().skip(1);
            let edges = ring
                .iter()
                .zip(next)
                .filter(|(a, b)| (a[1] > y) != (b[1] > y) && x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0]);
            edges.count()
        };
        self.0.iter().map(crosses).sum()
    }
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
