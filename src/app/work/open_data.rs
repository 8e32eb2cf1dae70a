//! Small pictures of what was found, and what is kept for offline use.

use crate::app::state::open_data::KeptPlaces;
use crate::app::work::paint::Picture;
use crate::net::Network;
use crate::source::{Acquisition, Kept, thumbnail};
use crate::view;
use egui::ColorImage;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Small pictures are shown no larger, pixels.
const PICTURE: u32 = 96;
/// No larger ones are read, pixels.
const WIDEST: u32 = 8192;

/// What is kept.
pub(crate) fn kept_places(kept: &Kept) -> KeptPlaces {
    let scenes = kept.scenes();
    KeptPlaces { bytes: kept.bytes_with(&scenes), limit: kept.limit(), scenes }
}

/// Gets small pictures, from what is kept where they are there; each is told with its address.
pub(crate) fn small_pictures(
    network: &Network,
    wanted: &[Acquisition],
    kept: Option<&Kept>,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(String, Picture),
) {
    for acquisition in wanted {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Some(url) = &acquisition.thumbnail else { continue };
        let before = kept.and_then(|kept| kept.thumbnail(url));
        let image = before.as_deref().and_then(small).or_else(|| {
            let image = small(&thumbnail(network, acquisition, stop).ok()?)?;
            let mut bytes = std::io::Cursor::new(Vec::new());
            if let (Some(kept), Ok(())) = (kept, image.write_to(&mut bytes, image::ImageFormat::Png)) {
                // Kept if there is room; asked for again otherwise.
                let _ = kept.keep_thumbnail(url, bytes.get_ref());
            }
            Some(image)
        });
        if let Some(image) = image {
            let size = [image.width() as usize, image.height() as usize];
            tell(url.clone(), Arc::new(ColorImage::from_rgb(size, image.as_raw())));
        }
    }
}

/// A picture from a server, made small.
fn small(file: &[u8]) -> Option<image::RgbImage> {
    Some(view::decoded(file, WIDEST)?.thumbnail(PICTURE, PICTURE).to_rgb8())
}
