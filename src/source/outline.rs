//! What ground an item of a catalogue covers.

use serde_json::Value;

/// A polygon in degrees: rings, the first of each polygon outside.
pub(super) struct Outline(Vec<Vec<[f64; 2]>>);

impl Outline {
    /// Of a STAC item; its bounding box if it has no polygon, `None` if it has neither.
    pub(super) fn of(feature: &Value) -> Option<Self> {
        let ring = |value: &Value| -> Option<Vec<[f64; 2]>> {
            value.as_array()?.iter().map(|p| Some([p.get(0)?.as_f64()?, p.get(1)?.as_f64()?])).collect()
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
                vec![vec![[west, south], [east, south], [east, north], [west, north]]]
            }
        };
        Some(Self(rings))
    }

    /// Whether a point (longitude, latitude) is inside: by the even-odd rule: holes are rings too.
    pub(super) fn holds(&self, [x, y]: [f64; 2]) -> bool {
        let crosses = |ring: &Vec<[f64; 2]>| {
            let next = ring.iter().cycle().skip(1);
            let edges = ring
                .iter()
                .zip(next)
                .filter(|(a, b)| (a[1] > y) != (b[1] > y) && x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0]);
            edges.count()
        };
        self.0.iter().map(crosses).sum::<usize>() % 2 == 1
    }
}
