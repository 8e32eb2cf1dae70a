//! What to look for, as arguments of `fetch` and as columns of a plan.

use super::Area;
use crate::modality::Location;
use jiff::civil::Date;

/// Days, clouds, families and ground.
#[derive(Debug, Clone, clap::Args)]
pub struct FetchOptions {
    /// First day, such as 2023-04-01; a year ago if left out.
    #[arg(long, value_parser = parse_day)]
    pub from: Option<Date>,
    /// Last day; today if left out.
    #[arg(long, value_parser = parse_day)]
    pub to: Option<Date>,
    /// Largest share of cloud in an image, percent.
    #[arg(long, default_value_t = 30.0, value_parser = parse_share)]
    pub max_cloud: f64,
    /// What to look for, comma-separated.
    #[arg(long, default_value = "S2L2A,S2L1C,S1RTC,DEM,LULC")]
    pub families: String,
    /// Side of the square to fetch in metres (1920 at least), or "cell" for the whole grid cell.
    #[arg(long, default_value = "1920", value_parser = parse_area)]
    pub area: Area,
}

/// Reads latitude and longitude.
///
/// # Errors
/// What was expected.
pub fn parse_place(text: &str) -> Result<Location, String> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[lat, lon]) if lat.abs() <= 85.0 && lon.abs() <= 180.0 => Ok(Location { lat, lon }),
        _ => Err("expected latitude (within 85 degrees) and longitude, such as 46.5,11.35".into()),
    }
}

/// A share in percent.
fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=100.0).contains(share));
    share.ok_or_else(|| "expected a share from 0 to 100".into())
}

fn parse_day(text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| "expected a day such as 2023-04-01".into())
}

fn parse_area(text: &str) -> Result<Area, String> {
    match text.parse::<f64>() {
        _ if text == "cell" => Ok(Area::Cell),
        Ok(side) if (side / 120.0).fract() == 0.0 && (1920.0..=10_680.0).contains(&side) => Ok(Area::Window(side)),
        _ => Err("expected metres, a multiple of 120 from 1920 to 10680, or cell".into()),
    }
}
