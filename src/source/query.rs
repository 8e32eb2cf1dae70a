//! What open data is looked for: a piece of ground, days, and how much cloud.

use super::outline::Outline;
use crate::modality::Location;
use jiff::civil::Date;

/// Ground is looked at in so many points each way to see how much of it is covered.
const PROBES: usize = 9;

/// What is looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Corners of the ground: north-west, north-east, south-east, south-west.
    pub corners: [Location; 4],
    /// First day.
    pub from: Date,
    /// Last day.
    pub to: Date,
    /// Largest share of cloud, percent; what does not say it is kept.
    pub most_cloud: f64,
}

impl Query {
    /// The corners; those beyond the antimeridian, if it runs through the ground, have longitudes above 180 degrees.
    fn unwrapped(&self) -> [Location; 4] {
        let lons = self.corners.map(|c| c.lon);
        let [west, east] = [lons.into_iter().fold(f64::INFINITY, f64::min), lons.into_iter().fold(-181.0, f64::max)];
        let turn = |c: Location| Location { lon: if c.lon < 0.0 { c.lon + 360.0 } else { c.lon }, ..c };
        if east - west > 180.0 { self.corners.map(turn) } else { self.corners }
    }

    /// West, south, east, north in degrees: two boxes if the antimeridian runs through the ground.
    pub(super) fn boxes(&self) -> Vec<[f64; 4]> {
        let corners = self.unwrapped();
        let least = |pick: fn(&Location) -> f64| corners.iter().map(pick).fold(f64::INFINITY, f64::min);
        let most = |pick: fn(&Location) -> f64| corners.iter().map(pick).fold(f64::NEG_INFINITY, f64::max);
        let [west, east] = [least(|c| c.lon), most(|c| c.lon)];
        let [south, north] = [least(|c| c.lat), most(|c| c.lat)];
        if east > 180.0 {
            vec![[west, south, 180.0, north], [-180.0, south, east - 360.0, north]]
        } else {
            vec![[west, south, east, north]]
        }
    }

    /// Which points of the ground an outline covers: a bit for each.
    pub(super) fn covered_by(&self, outline: &Outline) -> u128 {
        let [nw, ne, se, sw] = self.unwrapped();
        let along = |a: f64, b: f64, share: f64| a + (b - a) * share;
        let mut inside = 0;
        for i in 0..PROBES {
            for k in 0..PROBES {
                let [x, y] = [i, k].map(|n| n as f64 / (PROBES - 1) as f64);
                let lat = along(along(nw.lat, ne.lat, x), along(sw.lat, se.lat, x), y);
                let lon = along(along(nw.lon, ne.lon, x), along(sw.lon, se.lon, x), y);
                inside |= u128::from(outline.holds([lon, lat])) << (i * PROBES + k);
            }
        }
        inside
    }
}

/// The days that are looked at: until today, and for a year, unless something else is said.
pub fn days(from: Option<Date>, to: Option<Date>) -> (Date, Date) {
    let to = to.unwrap_or_else(|| jiff::Zoned::now().date());
    (from.unwrap_or_else(|| to.checked_sub(jiff::Span::new().years(1)).unwrap_or(to)), to)
}

/// The day in the middle of these.
pub fn middle(from: Date, to: Date) -> Date {
    let half = from.until(to).map_or(0, |span| span.get_days() / 2);
    from.checked_add(jiff::Span::new().days(half)).unwrap_or(to)
}

/// Share of the ground that these points stand for, 0…1.
pub(super) fn share(covered: u128) -> f32 {
    covered.count_ones() as f32 / (PROBES * PROBES) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn query(west: f64, east: f64) -> Query {
        let at = |lat, lon| Location { lat, lon };
        let day = jiff::civil::date(2023, 1, 1);
        let corners = [at(47.0, west), at(47.0, east), at(46.0, east), at(46.0, west)];
        Query { corners, from: day, to: day, most_cloud: 100.0 }
    }

    #[test]
    fn coverage_is_the_share_of_the_ground() {
        let outline = |coordinates: Value| {
            Outline::of(&json!({"geometry": {"type": "Polygon", "coordinates": coordinates}})).expect("outline")
        };
        let whole = json!([[[10, 45], [13, 45], [13, 48], [10, 48], [10, 45]]]);
        let covers = |outline: &Outline| share(query(11.0, 12.0).covered_by(outline));
        assert_eq!(covers(&outline(whole.clone())), 1.0);
        let west = json!([[[10, 45], [11.5, 45], [11.5, 48], [10, 48], [10, 45]]]);
        let half = covers(&outline(west));
        assert!((0.4..=0.6).contains(&half), "{half}");
        let hole = json!([whole[0], [[10.5, 45.5], [12.5, 45.5], [12.5, 47.5], [10.5, 47.5], [10.5, 45.5]]]);
        assert_eq!(covers(&outline(hole)), 0.0);
        // A collection covers what its polygons cover, and parts that overlap cover the overlap.
        let collected = json!({"geometry": {"type": "GeometryCollection", "geometries": [
            {"type": "Polygon", "coordinates": [[[10, 45], [11.5, 45], [11.5, 48], [10, 48], [10, 45]]]},
            {"type": "LineString", "coordinates": [[10, 45], [13, 48]]}]}, "bbox": [10, 45, 13, 48]});
        assert!((0.4..=0.6).contains(&covers(&Outline::of(&collected).expect("outline"))));
        let two = json!({"geometry": {"type": "MultiPolygon", "coordinates": [
            [[[10, 45], [11.8, 45], [11.8, 48], [10, 48], [10, 45]]],
            [[[11.2, 45], [13, 45], [13, 48], [11.2, 48], [11.2, 45]]]]}});
        assert_eq!(covers(&Outline::of(&two).expect("outline")), 1.0);
        let boxed = Outline::of(&json!({"bbox": [10, 45, 0, 13, 48, 4000]})).expect("box");
        assert_eq!(covers(&boxed), 1.0);
    }

    #[test]
    fn ground_on_the_antimeridian_is_two_boxes_and_one_ground() {
        assert_eq!(query(11.0, 12.0).boxes(), [[11.0, 46.0, 12.0, 47.0]]);
        let both = query(179.5, -179.5);
        assert_eq!(both.boxes(), [[179.5, 46.0, 180.0, 47.0], [-180.0, 46.0, -179.5, 47.0]]);
        let shapes = [
            // As GeoJSON wants it, cut in two; as many write it, running around the Earth; above 180; boxes.
            json!({"geometry": {"type": "MultiPolygon", "coordinates": [
                [[[179, 45], [180, 45], [180, 48], [179, 48], [179, 45]]],
                [[[-180, 45], [-179, 45], [-179, 48], [-180, 48], [-180, 45]]]]}}),
            json!({"geometry": {"type": "Polygon", "coordinates":
                [[[179, 45], [-179, 45], [-179, 48], [179, 48], [179, 45]]]}}),
            json!({"geometry": {"type": "Polygon", "coordinates":
                [[[179, 45], [181, 45], [181, 48], [179, 48], [179, 45]]]}}),
            json!({"bbox": [179, 45, -179, 48]}),
            json!({"bbox": [-180, -90, 180, 90]}),
        ];
        for shape in shapes {
            let outline = Outline::of(&shape).expect("outline");
            let covers = |query: Query| share(query.covered_by(&outline));
            // Points that lie right on an edge may count to either side.
            assert!(covers(both.clone()) > 0.85, "{shape}");
            assert_eq!(covers(query(179.2, 179.6)), 1.0, "{shape}");
            assert_eq!(covers(query(-179.6, -179.2)), 1.0, "{shape}");
        }
        let aside = Outline::of(&json!({"bbox": [-20, 45, 20, 48]})).expect("outline");
        assert_eq!(share(both.covered_by(&aside)), 0.0);
        let east = Outline::of(&json!({"bbox": [-180, 45, -179, 48]})).expect("outline");
        assert!((0.4..=0.6).contains(&share(both.covered_by(&east))));
    }
}
