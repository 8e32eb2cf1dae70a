//! Which ground of a place is meant, apart from the size of a network's window.

use super::Scene;
use crate::error::{Error, Result};
use crate::grid::Footprint;
use serde::{Deserialize, Serialize};

/// Which square of a scene to take.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The centre crop of specification B.2.
    #[default]
    Centre,
    /// A window whose upper-left corner lies this far from the scene's, metres; multiples of 60 m.
    At {
        /// Metres east of the scene's left edge.
        east_m: f64,
        /// Metres south of the scene's top edge.
        south_m: f64,
    },
}

/// The ground of a place that is meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// One window of the network.
    Window(Window),
    /// All of the place, cut at its right and bottom edge to whole pixels of 60 m.
    Whole,
    /// A rectangle in the place's own coordinate system, on its grid of 60 m.
    Rectangle(Footprint),
}

impl Default for Extent {
    fn default() -> Self {
        Self::Window(Window::Centre)
    }
}

impl Extent {
    /// The ground meant, of a place that covers `place`; windows have sides of `window_m`, and edges fall on multiples of
    /// `step_m` from the place's upper-left corner.
    ///
    /// # Errors
    /// When it leaves the place, or does not lie on that grid.
    pub fn within(&self, place: &Footprint, window_m: f64, step_m: f64) -> Result<Footprint> {
        let whole = |side_m: f64| (side_m / step_m + 1e-6).floor() * step_m;
        let part = match self {
            Self::Window(window) => return window.within(place, window_m, step_m),
            Self::Whole => place.part(0.0, 0.0, whole(place.width_m), whole(place.height_m)),
            Self::Rectangle(part) => part.clone(),
        };
        if part.crs != place.crs {
            return Err(Error::request("The rectangle is given in another coordinate system than the place's own."));
        }
        let [east_m, south_m] = [part.left - place.left, place.top - part.top];
        for (offset, side, extent) in [(east_m, part.width_m, place.width_m), (south_m, part.height_m, place.height_m)]
        {
            if !(side > 0.0 && side.is_finite()) {
                return Err(Error::request("The area asked for has no size."));
            }
            if !(-1e-6..=extent - side + 1e-6).contains(&offset) {
                return Err(Error::request(format!(
                    "The area begins at {east_m} m east, {south_m} m south, covers {} × {} m, and leaves the place of {} × {} m.",
                    part.width_m, part.height_m, place.width_m, place.height_m
                )));
            }
            on_grid(offset, step_m)?;
            on_grid(side, step_m)?;
        }
        Ok(part)
    }
}

impl Window {
    /// As [`Extent::within`].
    ///
    /// # Errors
    /// As [`Extent::within`].
    pub fn within(self, place: &Footprint, side_m: f64, step_m: f64) -> Result<Footprint> {
        let (w, h) = (place.width_m, place.height_m);
        if !(side_m > 0.0 && side_m.is_finite()) {
            return Err(Error::request("The window has no size."));
        }
        if let Some(problem) = too_small(place, side_m) {
            return Err(Error::request(format!("The place {problem}.")));
        }
        match self {
            Self::Centre => Ok(place.centre_window(side_m, step_m)),
            Self::At { east_m, south_m } => {
                for (offset, extent) in [(east_m, w), (south_m, h)] {
                    if !(-1e-6..=extent - side_m + 1e-6).contains(&offset) {
                        return Err(Error::request(format!(
                            "The window begins at {east_m} m east, {south_m} m south and leaves the scene of {w} × {h} m."
                        )));
                    }
                    on_grid(offset, step_m)?;
                }
                Ok(place.part(east_m, south_m, side_m, side_m))
            }
        }
    }
}

/// Why a place holds no window of this side, as the rest of a sentence; `None` if it does.
fn too_small(place: &Footprint, side_m: f64) -> Option<String> {
    let (w, h) = (place.width_m, place.height_m);
    (side_m > w + 1e-6 || side_m > h + 1e-6)
        .then(|| format!("covers {w} × {h} m, but the model needs a window of {side_m} × {side_m} m"))
}

fn on_grid(metres: f64, step_m: f64) -> Result<()> {
    if (metres / step_m - (metres / step_m).round()).abs() > 1e-6 {
        return Err(Error::request(format!("Edges must lie at multiples of {step_m} m, not at {metres} m.")));
    }
    Ok(())
}

impl Scene {
    /// The ground that an extent of this scene means, for a network with windows of this side.
    ///
    /// # Errors
    /// When the scene is smaller, or the extent leaves it or its 60 m raster.
    pub fn ground(&self, window_m: f64, extent: &Extent) -> Result<Footprint> {
        // That a scene is too small is a fault of its files, not of the request.
        if let (Extent::Window(_), Some(problem)) = (extent, too_small(&self.extent, window_m)) {
            return Err(Error::file(&self.dir, format!("The scene {problem}")));
        }
        extent.within(&self.extent, window_m, self.step_m())
    }

    /// A window of this side.
    ///
    /// # Errors
    /// As [`ground`](Self::ground).
    pub fn window(&self, side_m: f64, window: Window) -> Result<Footprint> {
        self.ground(side_m, &Extent::Window(window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Footprint {
        Footprint { crs: None, left: 1000.0, top: 9000.0, width_m: 9240.0, height_m: 6970.0 }
    }

    #[test]
    fn extents_are_windows_rectangles_and_all_of_a_place() {
        let within = |extent: &Extent| extent.within(&place(), 1920.0, 60.0);
        let whole = within(&Extent::Whole).expect("all of it");
        assert_eq!((whole.left, whole.top, whole.width_m, whole.height_m), (1000.0, 9000.0, 9240.0, 6960.0));
        let part = place().part(60.0, 120.0, 600.0, 300.0);
        assert_eq!(within(&Extent::Rectangle(part.clone())).expect("a part"), part);
        let window = within(&Extent::Window(Window::At { east_m: 60.0, south_m: 120.0 })).expect("a window");
        assert_eq!(window, place().part(60.0, 120.0, 1920.0, 1920.0));
    }

    #[test]
    fn what_leaves_the_place_or_its_grid_is_refused() {
        let refused =
            |part: Footprint| Extent::Rectangle(part).within(&place(), 1920.0, 60.0).expect_err("refused").to_string();
        assert!(refused(place().part(60.0, 0.0, 9240.0, 60.0)).contains("leaves the place"));
        assert!(refused(place().part(-60.0, 0.0, 60.0, 60.0)).contains("leaves the place"));
        assert!(refused(place().part(30.0, 0.0, 60.0, 60.0)).contains("multiples of 60 m, not at 30 m"));
        assert!(refused(place().part(0.0, 0.0, 90.0, 60.0)).contains("multiples of 60 m, not at 90 m"));
        assert!(refused(place().part(0.0, 0.0, 0.0, 60.0)).contains("no size"));
        assert!(refused(place().part(0.0, 0.0, f64::NAN, 60.0)).contains("no size"));
        let elsewhere = Footprint { crs: Some(crate::grid::Crs("EPSG:32632".into())), ..place() };
        assert!(refused(elsewhere).contains("another coordinate system"));
        let window = Extent::Window(Window::At { east_m: 7380.0, south_m: 0.0 }).within(&place(), 1920.0, 60.0);
        assert!(window.expect_err("refused").to_string().contains("leaves the scene"));
    }
}
