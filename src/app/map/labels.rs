//! Text over the map: attribution, scale, coordinates, and what the picture is.

use crate::app::kit::theme;
use crate::app::map::painter::{MapPainter, corners};
use crate::app::state::place::Selection;
use crate::app::view::shown::Base;
use crate::grid::GridCell;
use crate::modality::Location;
use egui::{Align2, Color32, FontId, Pos2, Rect, Response, Stroke, pos2, vec2};

/// What the layer below everything has to tell.
pub(super) struct GroundText {
    /// Whom to thank.
    pub credit: String,
    /// Why some of it is missing.
    pub hint: Option<String>,
}

impl MapPainter<'_> {
    /// Attribution, scale, coordinates, and what the picture is.
    pub(super) fn labels(&self, response: &Response, grid: bool, ground: &GroundText) {
        let small = FontId::proportional(11.0);
        let most = (self.clip.width() / 7.0) as usize;
        let shortened = |text: &str| {
            let short: String = text.chars().take(most).collect();
            if short.len() < text.len() { format!("{short} …") } else { short }
        };
        let corner = self.clip.right_bottom();
        self.label(corner - vec2(6.0, 6.0), Align2::RIGHT_BOTTOM, shortened(&ground.credit), &small);
        let mut up = 26.0;
        let pictured = self.shown.base != Base::None && self.session.observed.is_some();
        let swiped = self.shown.base == Base::Reference || self.shown.swipe.is_some();
        let compared = self.session.reference.as_ref().filter(|_| swiped && self.shown.reference.is_some());
        let compared =
            compared.and_then(|other| self.session.scenes.iter().find(|known| known.scene.dir() == other.dir));
        let picked = match self.session.selection {
            Some(Selection::Scene(i)) if pictured => self.session.scenes.get(i),
            _ => None,
        };
        let mut credits: Vec<&str> =
            picked.into_iter().chain(compared).filter_map(|known| known.scene.attribution()).collect();
        credits.dedup();
        for credit in credits {
            // As wide as the map allows; the whole of it is in the card of layers.
            self.label(corner - vec2(6.0, up), Align2::RIGHT_BOTTOM, shortened(credit), &small);
            up += 20.0;
        }
        if let Some(hint) = &ground.hint {
            self.label(corner - vec2(6.0, up), Align2::RIGHT_BOTTOM, shortened(hint), &small);
        }
        self.scale_bar(self.clip.left_bottom() + vec2(12.0, -14.0));
        if let Some(pointer) = response.hover_pos() {
            let at = self.projector.unproject(pointer.to_vec2());
            let place = Location { lat: at.y(), lon: at.x() };
            let collected = self.collected_at(pointer);
            let cell = collected.or_else(|| GridCell::containing(place).filter(|_| grid));
            let has = collected.map(|cell| format!("  ·  {}", self.families_of(cell))).unwrap_or_default();
            let cell = cell.map(|c| format!("  ·  {c}{has}")).unwrap_or_default();
            let text = format!("{:.4}°, {:.4}°{cell}", place.lat, place.lon);
            self.label(pos2(self.clip.center().x, self.clip.bottom() - 6.0), Align2::CENTER_BOTTOM, text, &small);
        }
        let synthetic = match self.shown.base {
            Base::Mean => self.shown.mean.is_some(),
            Base::Realisation(i) => self.shown.realisations.contains_key(&i),
            Base::None | Base::Observed | Base::Reference => self.shown.spread_wanted && self.shown.spread.is_some(),
        };
        let ground = self.session.run().filter(|_| synthetic).and_then(|r| r.observed.ground.corners.as_ref());
        if let Some(places) = ground {
            let points = corners(self.projector, places);
            let bounds = Rect::from_points(&points);
            if bounds.width() > 40.0 {
                let partly = self.session.run().is_some_and(|run| run.request.keep.contains_key(&self.shown.modality));
                self.tag(bounds.left_top(), if partly { "PARTLY SYNTHETIC" } else { "SYNTHETIC" });
            }
        }
    }

    /// Text on dark ground.
    pub(super) fn label(&self, at: Pos2, align: Align2, text: String, font: &FontId) {
        let galley = self.painter.layout_no_wrap(text, font.clone(), theme::MAP_TEXT);
        let rect = align.anchor_size(at, galley.size() + vec2(10.0, 4.0));
        self.painter.rect_filled(rect, 3.0, theme::MAP_LABEL);
        self.painter.galley(rect.min + vec2(5.0, 2.0), galley, theme::MAP_TEXT);
    }

    fn tag(&self, at: Pos2, text: &str) {
        let galley = self.painter.layout_no_wrap(text.into(), FontId::proportional(10.0), Color32::BLACK);
        let rect = Align2::LEFT_BOTTOM.anchor_size(at, galley.size() + vec2(8.0, 3.0));
        self.painter.rect_filled(rect, 2.0, theme::SYNTHETIC);
        self.painter.galley(rect.min + vec2(4.0, 1.5), galley, Color32::BLACK);
    }

    fn scale_bar(&self, at: Pos2) {
        let middle = self.projector.unproject(self.clip.center().to_vec2());
        let per_metre = self.projector.scale_pixel_per_meter(middle);
        if !(per_metre.is_finite() && per_metre > 0.0) {
            return;
        }
        let metres = round_below(120.0 / f64::from(per_metre));
        let length = metres as f32 * per_metre;
        let text = if metres >= 1000.0 { format!("{} km", metres / 1000.0) } else { format!("{metres} m") };
        let rect = Rect::from_min_size(at - vec2(6.0, 18.0), vec2(length + 12.0, 28.0));
        self.painter.rect_filled(rect, 3.0, theme::MAP_LABEL);
        let stroke = Stroke::new(2.0, theme::MAP_TEXT);
        self.painter.line_segment([at, at + vec2(length, 0.0)], stroke);
        for end in [at, at + vec2(length, 0.0)] {
            self.painter.line_segment([end, end - vec2(0.0, 4.0)], stroke);
        }
        let font = FontId::proportional(11.0);
        self.painter.text(at + vec2(length / 2.0, -3.0), Align2::CENTER_BOTTOM, text, font, theme::MAP_TEXT);
    }
}

/// The largest 1, 2 or 5 times a power of ten not above `value`.
fn round_below(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|n| n * power).find(|v| *v <= value).unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::round_below;

    #[test]
    fn scale_bars_have_round_lengths() {
        for (value, expected) in [(1.0, 1.0), (4.9, 2.0), (73.0, 50.0), (19_999.0, 10_000.0), (0.3, 0.2)] {
            assert!((round_below(value) - expected).abs() < 1e-9, "{value}");
        }
    }
}
