//! Which names find room on the map, and where: the more important first, none over another.

use crate::app::map::screen_map::ScreenMap;
use crate::basemap::{Kind, Place, Places};
use egui::{Galley, Pos2, Rect, pos2, vec2};
use std::sync::Arc;
use std::time::Instant;

/// No more names are drawn at once: a map is no list.
const MOST: usize = 90;
/// At most so many are tried.
const TRIED: usize = 500;
/// Room around a name, points.
const ROOM: egui::Vec2 = vec2(7.0, 3.0);
/// From this zoom level on, countries are larger than the screen.
const NO_COUNTRIES: f64 = 7.4;

/// A name with its place on the screen.
pub(crate) struct Label<'a> {
    /// Whose it is.
    pub place: &'a Place,
    /// Its text.
    pub galley: Arc<Galley>,
    /// Where the text is.
    pub rect: Rect,
    /// Where a town's dot is.
    pub dot: Option<Pos2>,
}

/// Lays out a text of this size and spacing of letters, points.
pub(crate) type Layout<'a> = dyn FnMut(&str, f32, f32) -> Arc<Galley> + 'a;

/// The names in view that keep away from what is `taken`, and whether these are all: what takes longer than `until` is
/// left for the next frame, which has the texts of this one laid out already.
pub(crate) fn arrange<'a>(
    places: &'a Places,
    view: &ScreenMap,
    taken: &[Rect],
    until: Option<Instant>,
    layout: &mut Layout<'_>,
) -> (Vec<Label<'a>>, bool) {
    let zoom = view.zoom();
    // Names enter a little before their dot does, so that they do not jump at the edge.
    let near = view.clip.expand(60.0);
    let mut labels: Vec<Label<'a>> = Vec::new();
    let countries = places.0.iter().take_while(|place| place.kind == Kind::Country).count();
    let (countries, towns) = places.0.split_at(countries);
    let countries = if zoom < NO_COUNTRIES { countries } else { &[] };
    // Towns are in the order in which they appear.
    let towns = &towns[..towns.partition_point(|place| place.from <= zoom)];
    let in_view = |place: &&Place| place.from <= zoom && near.contains(view.screen(place.at));
    for place in countries.iter().chain(towns).filter(in_view).take(TRIED) {
        if labels.len() >= MOST {
            break;
        }
        if until.is_some_and(|until| Instant::now() > until) {
            return (labels, false);
        }
        let at = view.screen(place.at);
        let found =
            if place.kind == Kind::Country { country(place, at, view, layout) } else { town(place, at, zoom, layout) };
        let free = |label: &Label| {
            let dot = label.dot.map(|dot| Rect::from_center_size(dot, vec2(7.0, 7.0)));
            let wanted = label.rect.expand2(ROOM);
            label.rect.intersects(view.clip)
                && taken.iter().all(|other| !label.rect.intersects(*other))
                && labels.iter().all(|other| {
                    let other_dot = other.dot.map(|dot| Rect::from_center_size(dot, vec2(7.0, 7.0)));
                    !wanted.intersects(other.rect)
                        && other_dot.is_none_or(|dot| !wanted.intersects(dot))
                        && dot.is_none_or(|dot| !dot.expand2(ROOM).intersects(other.rect))
                })
        };
        if let Some(label) = found.into_iter().find(free) {
            labels.push(label);
        }
    }
    (labels, true)
}

/// In the middle of its country, if it is no longer than the country is wide.
fn country<'a>(place: &'a Place, at: Pos2, view: &ScreenMap, layout: &mut Layout<'_>) -> Vec<Label<'a>> {
    let side = (place.weight * view.scale) as f32;
    // Three sizes: each further one would fill the atlas of letters while zooming.
    let size = if side > 330.0 {
        15.0
    } else if side > 130.0 {
        13.0
    } else {
        11.0
    };
    // Laying out what cannot fit would be for nothing.
    if side < 12.0 {
        return Vec::new();
    }
    let galley = layout(&place.name, size, 1.5);
    if galley.size().x > 1.7 * side {
        return Vec::new();
    }
    let rect = Rect::from_center_size(at, galley.size());
    vec![Label { place, galley, rect: snapped(rect), dot: None }]
}

/// Beside its dot: to the right, left, above or below.
fn town<'a>(place: &'a Place, at: Pos2, zoom: f64, layout: &mut Layout<'_>) -> Vec<Label<'a>> {
    const GAP: f32 = 6.0;
    let capital = place.kind == Kind::Capital;
    let size = if zoom - place.from > 2.0 || capital { 13.0 } else { 12.0 };
    let galley = layout(&place.name, size, 0.0);
    let half = galley.size() / 2.0;
    let shifts = [
        vec2(GAP + half.x, 0.0),
        vec2(-GAP - half.x, 0.0),
        vec2(0.0, -GAP - half.y + 1.0),
        vec2(0.0, GAP + half.y - 1.0),
    ];
    let label = |shift| {
        let rect = snapped(Rect::from_center_size(at + shift, galley.size()));
        Label { place, galley: galley.clone(), rect, dot: Some(at) }
    };
    shifts.into_iter().map(label).collect()
}

/// Letters are crisp on whole points.
fn snapped(rect: Rect) -> Rect {
    Rect::from_min_size(pos2(rect.min.x.round(), rect.min.y.round()), rect.size())
}
