//! Coast, borders and names over the map's tiles.

use crate::app::kit::theme::{self, MapInk};
use crate::app::map::names::{self, Label};
use crate::app::map::screen_map::ScreenMap;
use crate::basemap::{Kind, Lines, Places};
use crate::error::Result;
use egui::epaint::{Mesh, PathShape, TessellationOptions, Tessellator};
use egui::{Color32, FontId, Galley, Painter, Pos2, Rect, Shape, Stroke, vec2};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A line that is smaller than this on the screen is left out, points.
const SPECK: f32 = 2.5;
/// Time for names in one frame: letters that were never drawn before take long.
const PATIENCE: Duration = Duration::from_millis(3);
/// Lines are made so far beyond the map's edge that moving it a little needs no new ones, points.
const MARGIN: f32 = 96.0;
/// While the zoom changes, triangles that were made for so much less or more are good enough.
const STRETCH: f64 = 1.12;
/// A zoom that changes by less than this share does not change: positions are rounded.
const STILL: f64 = 1e-5;

/// What is drawn.
pub struct Borders {
    lines: Lines,
    places: Places,
    drawn: RefCell<Option<Drawn>>,
}

/// Lines as triangles, which take most of the time.
struct Drawn {
    /// What they were made for.
    view: ScreenMap,
    style: LineStyle,
    mesh: Arc<Mesh>,
    /// Scale of the last frame.
    scale: f64,
}

/// What lines style like.
#[derive(Clone, Copy, PartialEq)]
struct LineStyle {
    coast: Color32,
    border: Color32,
    pixels_per_point: f32,
    options: TessellationOptions,
}

impl Drawn {
    /// The triangles where this view has them, if they can be used for it; whether they are as exact as new ones.
    fn moved(&mut self, view: &ScreenMap) -> Option<(Arc<Mesh>, bool)> {
        let same = |a: f64, b: f64| (a / b - 1.0).abs() < STILL;
        let (ratio, exact) = (view.scale / self.view.scale, same(view.scale, self.view.scale));
        let still = same(view.scale, self.scale);
        self.scale = view.scale;
        if !exact && (still || !(1.0 / STRETCH..STRETCH).contains(&ratio)) {
            return None;
        }
        // By the middle of the map, so that rounding stays small.
        let middle = self.view.clip.center();
        let unit = |at: f32, axis: usize| (f64::from(at) - self.view.origin[axis]) / self.view.scale;
        let to = view.screen([unit(middle.x, 0), unit(middle.y, 1)]);
        let ratio = if exact { 1.0 } else { ratio as f32 };
        let place = |p: Pos2| to + (p - middle) * ratio;
        let own = self.view.clip.expand(MARGIN);
        if !Rect::from_min_max(place(own.min), place(own.max)).contains_rect(view.clip) {
            return None;
        }
        if exact && to == middle {
            return Some((self.mesh.clone(), true));
        }
        let mut mesh = Mesh::clone(&self.mesh);
        mesh.vertices.iter_mut().for_each(|vertex| vertex.pos = place(vertex.pos));
        Some((Arc::new(mesh), exact))
    }
}

impl Borders {
    /// Reads it; for a thread in the background.
    ///
    /// # Errors
    /// When the program's own files are missing or damaged.
    pub fn open() -> Result<Self> {
        Ok(Self { lines: Lines::open()?, places: Places::open()?, drawn: RefCell::default() })
    }

    /// Draws what is in view; names keep away from what is `taken`.
    pub fn draw(&self, painter: &Painter, view: &ScreenMap, taken: &[Rect], dark: bool) {
        let ink = theme::map_ink(dark, view.zoom());
        self.lines(painter, view, &ink);
        let (names, all) = self.names(painter, view, taken, Some(Instant::now() + PATIENCE));
        if !all {
            painter.ctx().request_repaint();
        }
        for label in names {
            name(painter, &label, &ink);
        }
    }

    fn lines(&self, painter: &Painter, view: &ScreenMap, ink: &MapInk) {
        let ctx = painter.ctx();
        let (pixels_per_point, options) = (ctx.pixels_per_point(), ctx.tessellation_options(|options| *options));
        let style = LineStyle { coast: ink.coast, border: ink.border, pixels_per_point, options };
        let mut drawn = self.drawn.borrow_mut();
        let known = drawn.as_mut().filter(|drawn| drawn.style == style).and_then(|drawn| drawn.moved(view));
        let mesh = match known {
            Some((mesh, exact)) => {
                if !exact {
                    // Exact ones follow as soon as the zoom stands still.
                    ctx.request_repaint();
                }
                mesh
            }
            None => {
                let mesh = Arc::new(self.triangles(view, &style));
                *drawn = Some(Drawn { view: *view, style, mesh: mesh.clone(), scale: view.scale });
                mesh
            }
        };
        if !mesh.is_empty() {
            painter.add(Shape::mesh(mesh));
        }
    }

    fn triangles(&self, view: &ScreenMap, style: &LineStyle) -> Mesh {
        let (zoom, clip, mut mesh) = (view.zoom(), view.clip.expand(MARGIN), Mesh::default());
        // Lines use nothing of the letters' texture.
        let mut tessellator = Tessellator::new(style.pixels_per_point, style.options, [1, 1], Vec::new());
        let width = if zoom < 4.0 { 0.8 } else { 1.1 };
        for line in &self.lines.0 {
            let [low, high] = line.bounds.map(|p| view.screen(p));
            let bounds = Rect::from_min_max(low, high);
            if !bounds.intersects(clip) || bounds.size().max_elem() < SPECK {
                continue;
            }
            let points: Vec<Pos2> = line.points(zoom).iter().map(|p| view.screen(*p)).collect();
            let stroke = Stroke::new(width, if line.border { style.border } else { style.coast });
            tessellator.tessellate_path(&PathShape::line(points, stroke), &mut mesh);
        }
        mesh
    }

    /// The names that find room, and whether there was time for all.
    fn names(
        &self,
        painter: &Painter,
        view: &ScreenMap,
        taken: &[Rect],
        until: Option<Instant>,
    ) -> (Vec<Label<'_>>, bool) {
        names::arrange(&self.places, view, taken, until, &mut |text, size, spacing| {
            let mut format = egui::TextFormat::simple(FontId::proportional(size), Color32::PLACEHOLDER);
            format.extra_letter_spacing = spacing;
            let mut job = egui::text::LayoutJob::default();
            job.append(text, 0.0, format);
            job.halign = egui::Align::Center;
            if spacing > 0.0 {
                job.wrap.max_width = 150.0;
            }
            painter.layout_job(job)
        })
    }
}

/// One name with its halo, and the dot of a town.
fn name(painter: &Painter, label: &Label<'_>, ink: &MapInk) {
    let colour = if label.place.kind == Kind::Country { ink.country } else { ink.town };
    if let Some(dot) = label.dot {
        let radius = if label.place.kind == Kind::Capital { 3.2 } else { 2.4 };
        painter.circle_filled(dot, radius + 1.2, ink.halo);
        painter.circle_filled(dot, radius, colour);
        if label.place.kind == Kind::Capital {
            painter.circle_filled(dot, 1.5, ink.halo.to_opaque());
        }
    }
    let text = |at: Pos2, galley: &Arc<Galley>, colour| {
        // Centred lines are laid out around their middle.
        painter.galley_with_override_text_color(at - galley.rect.min.to_vec2(), galley.clone(), colour);
    };
    for (x, y) in [(-1.0, -1.0), (0.0, -1.3), (1.0, -1.0), (1.3, 0.0), (1.0, 1.0), (0.0, 1.3), (-1.0, 1.0), (-1.3, 0.0)]
    {
        text(label.rect.min + vec2(x, y), &label.galley, ink.halo);
    }
    text(label.rect.min, &label.galley, colour);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::basemap::mercator;
    use egui::{Context, LayerId, RawInput, pos2};

    pub(super) const CLIP: Rect = Rect { min: pos2(0.0, 0.0), max: pos2(1092.0, 780.0) };

    const TAKEN: [Rect; 1] = [Rect { min: pos2(500.0, 100.0), max: pos2(560.0, 114.0) }];

    fn view(lon: f64, lat: f64, zoom: f64) -> ScreenMap {
        let (scale, [x, y]) = (256.0 * 2f64.powf(zoom), mercator(lon, lat));
        let middle = CLIP.center();
        let origin = [f64::from(middle.x) - x * scale, f64::from(middle.y) - y * scale];
        ScreenMap { scale, origin, clip: CLIP }
    }

    /// Names on the map at a place; everything is drawn as in the window.
    fn frame<T>(ctx: &Context, mut draw: impl FnMut(&Painter) -> T) -> T {
        let mut got = None;
        let input = RawInput { screen_rect: Some(CLIP), ..RawInput::default() };
        let output = ctx.run_ui(input, |ui| {
            got = Some(draw(&Painter::new(ui.ctx().clone(), LayerId::background(), CLIP)));
        });
        // What it costs to make triangles of it is part of what it costs.
        ctx.tessellate(output.shapes, output.pixels_per_point);
        got.expect("drawn")
    }

    fn shown(borders: &Borders, ctx: &Context, at: &ScreenMap) -> Vec<(String, Rect, Option<Pos2>)> {
        frame(ctx, |painter| {
            let (names, _) = borders.names(painter, at, &TAKEN, None);
            names.into_iter().map(|label| (label.place.name.clone(), label.rect, label.dot)).collect()
        })
    }

    #[test]
    fn names_never_overlap_anywhere() {
        let (borders, ctx) = (Borders::open().expect("bundled"), Context::default());
        let mut random = 7u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 40) as f64 / f64::from(1u32 << 24)
        };
        let mut most = 0;
        for _ in 0..150 {
            let at = view(next() * 360.0 - 180.0, next() * 130.0 - 60.0, 1.0 + next() * 10.0);
            let names = shown(&borders, &ctx, &at);
            most = most.max(names.len());
            for (i, (a, rect, _)) in names.iter().enumerate() {
                assert!(rect.intersects(CLIP), "{a} is out of view");
                assert!(!rect.intersects(TAKEN[0]), "{a} covers what was there before");
                for (b, other, dot) in &names[..i] {
                    assert!(!rect.intersects(*other), "{a} and {b} overlap");
                    assert!(dot.is_none_or(|dot| !rect.contains(dot)), "{a} covers the dot of {b}");
                }
            }
        }
        assert!(most > 20, "there are names at all: {most}");
    }

    #[test]
    fn the_right_names_come_at_the_right_zoom() {
        let (borders, ctx) = (Borders::open().expect("bundled"), Context::default());
        let names = |lon, lat, zoom| -> Vec<String> {
            shown(&borders, &ctx, &view(lon, lat, zoom)).into_iter().map(|(name, ..)| name).collect()
        };
        for (zoom, there, not_yet) in [
            (3.0, &["RUSSIA", "ALGERIA"][..], &["Bolzano", "LUXEMBOURG", "Leipzig"][..]),
            (5.0, &["GERMANY", "ITALY", "Berlin", "Paris", "Rome", "Vienna"], &["Bolzano", "Leipzig"]),
            (8.0, &["Innsbruck", "Trento", "Verona"], &["GERMANY", "Berlin"]),
        ] {
            let found = names(if zoom > 6.0 { 11.35 } else { 12.0 }, if zoom > 6.0 { 46.5 } else { 48.0 }, zoom);
            for name in there {
                assert!(found.iter().any(|f| f == name), "{name} at {zoom}: {found:?}");
            }
            for name in not_yet {
                assert!(!found.iter().any(|f| f == name), "{name} at {zoom}: {found:?}");
            }
        }
    }

    #[test]
    fn every_name_can_be_written() {
        let (borders, ctx) = (Borders::open().expect("bundled"), Context::default());
        let all: String = borders.places.0.iter().map(|place| place.name.as_str()).collect();
        frame(&ctx, |painter| {
            let font = FontId::proportional(12.0);
            let missing: Vec<char> =
                painter.fonts_mut(|fonts| all.chars().filter(|c| !fonts.has_glyph(&font, *c)).collect());
            assert!(missing.is_empty(), "{missing:?}");
        });
    }

    /// Largest distance of two sets of triangles, points.
    fn apart(a: &Mesh, b: &Mesh) -> f32 {
        assert_eq!(a.vertices.len(), b.vertices.len());
        a.vertices.iter().zip(&b.vertices).map(|(a, b)| (a.pos - b.pos).length()).fold(0.0, f32::max)
    }

    #[test]
    fn lines_that_were_moved_lie_where_new_ones_would() {
        let (borders, ctx) = (Borders::open().expect("bundled"), Context::default());
        let at = view(12.0, 48.0, 5.0);
        let ink = theme::map_ink(true, 5.0);
        let style =
            LineStyle { coast: ink.coast, border: ink.border, pixels_per_point: 1.0, options: Default::default() };
        let mut drawn = Drawn { view: at, style, mesh: Arc::new(borders.triangles(&at, &style)), scale: at.scale };
        let shifted = |x: f64, y: f64| ScreenMap { origin: [at.origin[0] + x, at.origin[1] + y], ..at };
        let (same, exact) = drawn.moved(&at).expect("still");
        assert!(exact && Arc::ptr_eq(&same, &drawn.mesh));
        let (moved, exact) = drawn.moved(&shifted(31.0, -17.5)).expect("within the margin");
        let mut expected = Mesh::clone(&drawn.mesh);
        expected.translate(vec2(31.0, -17.5));
        assert!(exact && apart(&moved, &expected) < 0.02);
        assert!(drawn.moved(&shifted(2.0 * f64::from(MARGIN), 0.0)).is_none(), "beyond the margin");
        // A zoom that goes on is followed roughly, one that has ended exactly.
        let near = view(12.0, 48.0, 5.1);
        assert!(drawn.moved(&near).is_some_and(|(_, exact)| !exact));
        assert!(drawn.moved(&near).is_none(), "it stands still");
        assert!(drawn.moved(&view(12.0, 48.0, 5.6)).is_none(), "too far");
        // What the window draws in the end is what it would draw anew.
        let anew = borders.triangles(&near, &style);
        for at in [at, near, near] {
            frame(&ctx, |painter| borders.lines(painter, &at, &ink));
        }
        let kept = borders.drawn.borrow().as_ref().map(|drawn| drawn.mesh.clone()).expect("drawn");
        assert!(apart(&kept, &anew) < 1e-3);
    }

    /// The figure in benches/README.md is printed by `cargo test --release --lib borders -- --nocapture`.
    #[test]
    fn few_frames_make_new_lines() {
        let (borders, ctx) = (Borders::open().expect("bundled"), Context::default());
        for (lon, lat, zoom) in
            [(10.0, 20.0, 2.0), (10.0, 50.0, 3.0), (12.0, 48.0, 5.0), (11.35, 46.5, 8.0), (8.0, 61.0, 7.0)]
        {
            let at = view(lon, lat, zoom);
            let once = |at: ScreenMap| {
                let begun = Instant::now();
                let own = frame(&ctx, |painter| {
                    let begun = Instant::now();
                    borders.draw(painter, &at, &[], true);
                    begun.elapsed()
                });
                (own, begun.elapsed())
            };
            for _ in 0..5 {
                once(at);
            }
            // How many of these frames had to make triangles.
            let made = |views: &mut dyn Iterator<Item = ScreenMap>| {
                let made_for = || borders.drawn.borrow().as_ref().map(|drawn| drawn.view);
                views
                    .filter(|at| {
                        made_for() != {
                            once(*at);
                            made_for()
                        }
                    })
                    .count()
            };
            let all: Vec<_> = (0..31).map(|_| once(at)).collect();
            let moved = |i: i32| ScreenMap { origin: [at.origin[0] + 5.0 * f64::from(i), at.origin[1]], ..at };
            let moving: Vec<_> = (0..31).map(|i| once(moved(i)).1).collect();
            let zooming: Vec<_> = (0..31).map(|i| once(view(lon, lat, zoom - 0.02 * f64::from(i))).1).collect();
            let most = moving.iter().chain(&zooming).max().copied().unwrap_or_default();
            let median = |mut times: Vec<Duration>| {
                times.sort();
                times[15]
            };
            let own = median(all.iter().map(|(own, _)| *own).collect());
            let whole = median(all.iter().map(|(_, whole)| *whole).collect());
            let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
            let (moving, zooming) = (median(moving), median(zooming));
            println!("zoom {zoom}: {:.2} ms, {:.2} ms with triangles", ms(own), ms(whole));
            println!("    moving {:.2} ms, zooming {:.2} ms, at most {:.2} ms", ms(moving), ms(zooming), ms(most));
            let steps = || 0..31;
            assert_eq!(made(&mut steps().map(|_| at)), 1, "they were made for another zoom before");
            assert_eq!(made(&mut steps().map(moved)), 1, "155 points are one and a half margins");
            let far = |i: i32| view(lon, lat, zoom - 0.02 * f64::from(i));
            assert!(made(&mut steps().map(far)) <= 5, "0.62 levels are four times what is stretched");
        }
    }
}
