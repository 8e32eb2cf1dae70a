//! One pixel of all modalities, observed and over realisations, as figures and as a table.

use crate::app::state::session::Session;
use crate::ensemble::Realisation;
use crate::modality::{Modality, Value, measured_unit};
use crate::view::{Figures, HATCHED, Spot, figures};

/// Figures of one modality.
pub(crate) struct Part<'a> {
    /// Row of the table.
    pub m: &'a Modality,
    /// One for each channel.
    pub figures: Vec<Figures>,
    /// Whether the pixel is kept as observed in the realisations.
    pub kept: bool,
}

/// All figures of a spot as a table.
pub(crate) fn table(session: &Session, spot: Spot) -> String {
    csv(session, spot, &parts(session, spot))
}

/// Everything that is known or made at the spot.
pub(crate) fn parts(session: &Session, spot: Spot) -> Vec<Part<'_>> {
    let run = session.run().filter(|_| session.run_is_here());
    let realisations: Vec<&Realisation> =
        run.iter().flat_map(|run| run.realisations.iter().map(AsRef::as_ref)).collect();
    let table = session.table().into_iter().flat_map(|table| table.iter().enumerate());
    let part =
        |(i, m): (usize, &'_ Modality)| figures(m, i, spot, session.known(i).and_then(Value::image), &realisations);
    let kept = |i: usize| {
        let mask = crate::ensemble::kept(realisations.iter().copied(), i)?;
        let (rows, columns) = mask.size();
        let at = |share: f64, side: usize| ((share * side as f64) as usize).min(side.saturating_sub(1));
        Some(mask.at(at(spot.y, rows) * columns + at(spot.x, columns)))
    };
    table
        .map(|(i, m)| Part { m, figures: part((i, m)), kept: kept(i).unwrap_or(false) })
        .filter(|part| !part.figures.is_empty())
        .collect()
}

/// One line per channel.
fn csv(session: &Session, spot: Spot, parts: &[Part]) -> String {
    let tile = session.observed.as_ref().map_or("", |o| o.observation.tile.as_str());
    let mut out = format!(
        "# {tile}, {:.4} of the window from the west, {:.4} from the north; realisations are synthetic\n",
        spot.x, spot.y
    );
    let run = session.run().filter(|_| session.run_is_here());
    let realisations: String =
        run.iter().flat_map(|run| &run.realisations).map(|r| format!(",realisation {}", r.index)).collect();
    out += &format!("modality,channel,unit,wavelength_nm,observed{realisations}\n");
    for part in parts {
        for f in &part.figures {
            let unit = if part.m.classes().is_some() { "class code" } else { measured_unit(part.m) };
            let nm = part.m.wavelength_nm(&f.channel).map_or(String::new(), |nm| nm.to_string());
            let unknown = if f.no_data { HATCHED } else { "" };
            let kept = if part.kept { " (kept)" } else { "" };
            let observed = f.observed.map_or(unknown.to_owned(), |v| v.to_string());
            let realisations: String = f.realisations.iter().map(|v| format!(",{v}")).collect();
            out += &format!("{}{kept},{},{unit},{nm},{observed}{realisations}\n", part.m.name, f.channel);
        }
    }
    out
}
