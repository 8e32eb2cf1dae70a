//! What the comparison of pictures of the window notices.

use crate::common::harness::{apply, observed, tolerance, wait, window};
use copgen::app::Command;
use egui::accesskit::Role;
use egui::emath::GuiRounding;
use egui_kittest::kittest::{NodeT, Queryable};
use egui_kittest::try_image_snapshot_options;
use image::{Rgba, RgbaImage};

/// A picture in which this rectangle (points, which are pixels here) has the colour of what is beside it.
fn without(picture: &RgbaImage, rect: egui::Rect) -> RgbaImage {
    let mut picture = picture.clone();
    let rect = rect.round_ui();
    let beside = |at: f32, most: u32| (at.max(0.0) as u32).min(most - 1);
    let (width, height) = picture.dimensions();
    let colour: Rgba<u8> = *picture.get_pixel(beside(rect.left() - 2.0, width), beside(rect.center().y, height));
    for y in beside(rect.top(), height)..=beside(rect.bottom() - 1.0, height) {
        for x in beside(rect.left(), width)..=beside(rect.right() - 1.0, width) {
            picture.put_pixel(x, y, colour);
        }
    }
    picture
}

#[test]
fn every_button_that_is_missing_is_noticed() {
    let mut harness = window();
    wait(&mut harness, "reading the first scene", observed);
    apply(&mut harness, Command::Guide(None));
    let picture = harness.render().expect("picture");
    let dir = tempfile::tempdir().expect("folder");
    picture.save(dir.path().join("whole.png")).expect("written");
    let options = tolerance().output_path(dir.path());
    // The file of the differences is written if and only if there are too many, even where pictures are being remade.
    let noticed = |changed: &RgbaImage| {
        let _ = try_image_snapshot_options(changed, "whole", &options);
        picture.save(dir.path().join("whole.png")).expect("written");
        dir.path().join("whole.diff.png").exists()
    };
    assert!(!noticed(&picture));
    let screen = egui::Rect::from_min_size(egui::Pos2::ZERO, egui::vec2(1440.0, 900.0));
    let buttons: Vec<_> = harness
        .get_all_by_role(Role::Button)
        .map(|node| (node.accesskit_node().label().unwrap_or_default(), node.rect()))
        .filter(|(_, rect)| screen.contains_rect(*rect))
        .collect();
    assert!(buttons.len() > 20, "{}", buttons.len());
    for (name, rect) in buttons {
        assert!(
            noticed(&without(&picture, rect)),
            "without the button \"{name}\" at {rect:?} nothing would be noticed"
        );
    }
}
