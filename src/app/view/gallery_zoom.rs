//! The part of a picture that all cards of the gallery show.

use egui::{Pos2, Rect, Vec2, pos2, vec2};

/// A square part of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GalleryZoom {
    /// Enlargement, 1…16.
    pub zoom: f32,
    /// Its upper left corner, as shares of the picture's side.
    corner: Pos2,
}

impl Default for GalleryZoom {
    fn default() -> Self {
        Self { zoom: 1.0, corner: Pos2::ZERO }
    }
}

impl GalleryZoom {
    /// The part, as texture coordinates.
    pub fn part(self) -> Rect {
        Rect::from_min_size(self.corner, Vec2::splat(1.0 / self.zoom))
    }

    /// Enlarged by a factor around a point of the card, given as shares of its side.
    #[must_use]
    pub fn zoomed(self, factor: f32, at: Vec2) -> Self {
        let zoom = (self.zoom * factor).clamp(1.0, 16.0);
        let corner = self.corner + at * (1.0 / self.zoom - 1.0 / zoom);
        Self { zoom, corner }.inside()
    }

    /// Moved by shares of a card's side.
    #[must_use]
    pub fn moved(self, by: Vec2) -> Self {
        Self { corner: self.corner + by / self.zoom, ..self }.inside()
    }

    fn inside(self) -> Self {
        let free = 1.0 - 1.0 / self.zoom;
        let corner = self.corner.to_vec2().clamp(Vec2::ZERO, vec2(free, free));
        Self { corner: pos2(corner.x, corner.y), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_under_the_pointer_stays_there_and_nothing_beyond_the_picture_shows() {
        let at = vec2(0.3, 0.8);
        let under = |zoom: GalleryZoom| zoom.part().min + at * zoom.part().width();
        let first = GalleryZoom::default().zoomed(3.0, at);
        assert!((under(GalleryZoom::default()) - under(first)).length() < 1e-6);
        let second = first.zoomed(1.7, at);
        assert!((under(first) - under(second)).length() < 1e-6);
        for zoom in [second.moved(vec2(-90.0, 90.0)), second.zoomed(0.4, vec2(1.0, 0.0)), first.zoomed(1e6, at)] {
            let part = zoom.part();
            assert!(part.min.x >= 0.0 && part.min.y >= 0.0 && part.max.x <= 1.0 + 1e-6 && part.max.y <= 1.0 + 1e-6);
        }
        assert_eq!(second.zoomed(0.001, at), GalleryZoom::default());
    }
}
