//! Colours, spacing and text sizes of the window: one place for all.

use crate::sampler::Role;
use egui::{Color32, CornerRadius, FontFamily, FontId, Stroke, TextStyle, Visuals};

/// Colour of what was measured, and of modalities that are given.
pub(crate) const OBSERVED: Color32 = Color32::from_rgb(74, 190, 160);
/// Colour of places that were fetched and are kept for offline use.
pub(crate) const KEPT: Color32 = Color32::from_rgb(96, 168, 240);
/// Colour of everything synthetic, and of modalities to be generated.
pub(crate) const SYNTHETIC: Color32 = Color32::from_rgb(240, 160, 64);
/// Colour of modalities of which some is kept and the rest generated.
pub(crate) const PARTLY: Color32 = Color32::from_rgb(150, 178, 112);
/// Colour of what is neither.
pub(crate) const IGNORED: Color32 = Color32::from_rgb(128, 136, 148);
/// Problems.
pub(crate) const ALERT: Color32 = Color32::from_rgb(232, 96, 88);
/// Colours of coast, borders and names on the map.
pub(crate) struct MapInk {
    /// Over the bundled picture, so that lines and names stand out.
    pub wash: Color32,
    /// Coast.
    pub coast: Color32,
    /// Borders.
    pub border: Color32,
    /// Names of towns.
    pub town: Color32,
    /// Names of countries.
    pub country: Color32,
    /// Around names.
    pub halo: Color32,
}

/// They follow the window: light names on a dark map, dark names on a light one.
/// The further in, the less is seen of the bundled picture: enlarged, it is but a blur.
pub(crate) fn map_ink(dark: bool, zoom: f64) -> MapInk {
    let far_in = ((zoom - 6.0) / 3.0 * 120.0).clamp(0.0, 120.0) as u8;
    let of = |r, g, b, a| Color32::from_rgba_unmultiplied(r, g, b, a);
    match dark {
        true => MapInk {
            wash: of(8, 12, 20, 46 + far_in / 6),
            coast: of(176, 208, 226, 190),
            border: of(236, 220, 180, 130),
            town: of(246, 248, 250, 255),
            country: of(255, 232, 178, 255),
            halo: of(6, 10, 16, 150),
        },
        false => MapInk {
            wash: of(255, 255, 255, 120 + far_in / 2),
            coast: of(38, 74, 108, 210),
            border: of(96, 62, 84, 170),
            town: of(16, 20, 28, 255),
            country: of(96, 40, 48, 255),
            halo: of(255, 255, 255, 150),
        },
    }
}

/// The grid on the map.
pub(crate) const GRID_LINE: Color32 = Color32::from_rgba_premultiplied(80, 110, 120, 120);
/// Names of grid cells.
pub(crate) const GRID_TEXT: Color32 = Color32::from_rgb(196, 214, 224);
/// What is picked on the map.
pub(crate) const PICKED: Color32 = Color32::from_rgb(255, 224, 102);
/// Ground of labels drawn over the map.
pub(crate) const MAP_LABEL: Color32 = Color32::from_rgba_premultiplied(10, 13, 18, 215);

/// Text on labels over the map, whatever the theme.
pub(crate) const MAP_TEXT: Color32 = Color32::from_rgb(232, 236, 240);

/// The colour of a role, as a ground.
pub(crate) fn role_colour(role: Role) -> Color32 {
    match role {
        Role::Given => OBSERVED,
        Role::Generated => SYNTHETIC,
        Role::Ignored => IGNORED,
    }
}

/// One of these colours as text: darker on light ground.
pub(crate) fn ink(visuals: &Visuals, colour: Color32) -> Color32 {
    if visuals.dark_mode { colour } else { colour.lerp_to_gamma(Color32::BLACK, 0.42) }
}

/// Frame of the bar at the top.
pub(crate) fn bar(ctx: &egui::Context) -> egui::Frame {
    let fill = ctx.global_style().visuals.panel_fill;
    egui::Frame::new().fill(fill).inner_margin(egui::Margin::symmetric(12, 7))
}

/// Frame of the other panels.
pub(crate) fn panel(ctx: &egui::Context) -> egui::Frame {
    bar(ctx).inner_margin(egui::Margin::symmetric(10, 8))
}

/// Sets up a context.
pub(crate) fn apply(ctx: &egui::Context) {
    let mut dark = Visuals::dark();
    dark.panel_fill = Color32::from_rgb(22, 26, 32);
    dark.window_fill = Color32::from_rgb(28, 33, 40);
    dark.extreme_bg_color = Color32::from_rgb(14, 17, 21);
    dark.faint_bg_color = Color32::from_rgb(30, 35, 43);
    dark.selection.bg_fill = Color32::from_rgb(38, 92, 112);
    dark.selection.stroke = Stroke::new(1.0, Color32::from_rgb(214, 240, 246));
    dark.hyperlink_color = Color32::from_rgb(110, 190, 220);
    dark.widgets.noninteractive.fg_stroke.color = Color32::from_rgb(206, 212, 220);
    dark.widgets.noninteractive.bg_stroke.color = Color32::from_rgb(46, 53, 63);
    dark.widgets.inactive.fg_stroke.color = Color32::from_rgb(214, 220, 227);
    dark.widgets.inactive.weak_bg_fill = Color32::from_rgb(42, 49, 59);
    ctx.set_visuals_of(egui::Theme::Dark, dark);
    let mut light = Visuals::light();
    light.panel_fill = Color32::from_rgb(246, 247, 249);
    ctx.set_visuals_of(egui::Theme::Light, light);
    ctx.all_styles_mut(|style| {
        let font = |size| FontId::new(size, FontFamily::Proportional);
        style.text_styles.insert(TextStyle::Heading, font(17.0));
        style.text_styles.insert(TextStyle::Body, font(13.5));
        style.text_styles.insert(TextStyle::Button, font(13.5));
        style.text_styles.insert(TextStyle::Small, font(11.0));
        style.spacing.item_spacing = egui::vec2(8.0, 6.0);
        style.spacing.button_padding = egui::vec2(8.0, 4.0);
        for widget in [
            &mut style.visuals.widgets.inactive,
            &mut style.visuals.widgets.hovered,
            &mut style.visuals.widgets.active,
            &mut style.visuals.widgets.open,
        ] {
            widget.corner_radius = CornerRadius::same(5);
        }
        style.visuals.window_corner_radius = CornerRadius::same(8);
    });
}
