//! From the Sentinel-2 scene classification to the cloud mask.

/// Cloud code (0 clear, 1 thick cloud, 2 thin cloud, 3 shadow; specification B.7) of a class of the Sentinel-2 scene
/// classification: 8 and 9 (cloud of medium and high probability) are thick, 10 (cirrus) is thin, 3 is cloud shadow;
/// everything else that was seen is clear. `None` for 0 (no data), 1 (saturated or defective), and what is no class.
pub fn cloud_code(scene_class: u8) -> Option<u8> {
    match scene_class {
        0 | 1 => None,
        8 | 9 => Some(1),
        10 => Some(2),
        3 => Some(3),
        2 | 4..=7 | 11 => Some(0),
        _ => None,
    }
}
