//! What a comparison of solvers found, as a Markdown table with what follows from it.

use super::solver_study::Deviation;
use crate::sampler::{Method, Preset, Solver, TimeGrid};
use serde::Serialize;
use std::fmt::Write;

/// Deviations from the solution.
#[derive(Debug, Clone, Serialize)]
pub struct SolverTable {
    /// Of another solver with as many evaluations: smaller deviations mean nothing.
    pub second: Deviation,
    /// Of the solution computed in half precision, and in each precision of the CPU's kernels.
    pub half: Vec<Deviation>,
    /// Of every solver on every grid, by number of evaluations.
    pub solvers: Vec<Deviation>,
}

impl SolverTable {
    /// The deviation of a method, if it was measured.
    pub fn of(&self, method: Method) -> Option<&Deviation> {
        self.solvers.iter().find(|d| d.method == method)
    }

    /// As Markdown, deviations in percent of the spread over realisations.
    pub fn markdown(&self) -> String {
        let mut steps: Vec<usize> = self.solvers.iter().map(|d| d.method.steps).collect();
        steps.sort_unstable();
        steps.dedup();
        let mut out = String::from("| solver | even in |");
        steps.iter().for_each(|n| _ = write!(out, " {n} |"));
        out += "\n|---|---|";
        steps.iter().for_each(|_| out += "---:|");
        out += "\n";
        for solver in Solver::ALL {
            for grid in TimeGrid::ALL
                .into_iter()
                .filter(|&grid| self.solvers.iter().any(|d| (d.method.solver, d.method.grid) == (solver, grid)))
            {
                let own = if solver.grid() == grid { "**" } else { "" };
                _ = write!(out, "| {own}{}{own} | {} |", solver.name(), grid.name());
                for &steps in &steps {
                    let found = self.of(Method { solver, grid, steps });
                    _ = write!(out, " {} |", found.map_or(String::new(), |d| percent(d.mean)));
                }
                out += "\n";
            }
        }
        out += "\n| what else moves the solution | % |\n|---|---:|\n";
        for d in self.half.iter().chain([&self.second]) {
            _ = writeln!(out, "| {} | {} |", d.what, percent(d.mean));
        }
        if self.half.iter().any(|d| d.mean == 0.0) {
            out += "\nZero: the model's file holds its weights in this precision already.\n";
        }
        out += &self.by_modality();
        out + "\n" + &self.conclusions()
    }

    /// The presets beside half precision, modality by modality.
    fn by_modality(&self) -> String {
        let mut columns: Vec<(String, &Deviation)> = Vec::new();
        for preset in Preset::ALL {
            let method = preset.options().method();
            if let Some(found) = self.of(method) {
                columns.push((format!("{}: {} × {}", preset.name(), method.steps, method.solver.name()), found));
            }
        }
        columns.extend(self.half.iter().map(|d| (d.what.clone(), d)));
        let Some((_, first)) = columns.first() else { return String::new() };
        let mut out = String::from("\n| question | modality |");
        columns.iter().for_each(|(name, _)| _ = write!(out, " {name} |"));
        out += "\n|---|---|";
        columns.iter().for_each(|_| out += "---:|");
        out += "\n";
        for (k, row) in first.modalities.iter().enumerate() {
            _ = write!(out, "| {} | {} |", row.question, row.modality);
            for (_, column) in &columns {
                let cell = &column.modalities[k];
                _ = write!(out, " {} ({}) |", percent(cell.relative), physical(cell.physical, &cell.unit));
            }
            out += "\n";
        }
        out
    }

    /// Three sentences.
    fn conclusions(&self) -> String {
        let fewest = |below: f64, of: &dyn Fn(&Method) -> bool| {
            let fits = |d: &&Deviation| of(&d.method) && d.mean < below;
            self.solvers.iter().filter(fits).min_by(|a, b| {
                (a.method.steps, a.mean).partial_cmp(&(b.method.steps, b.mean)).unwrap_or(std::cmp::Ordering::Equal)
            })
        };
        let described = |d: Option<&Deviation>| {
            d.map_or("no number of evaluations measured".into(), |d| {
                let Method { solver, grid, steps } = d.method;
                format!("{steps} of {} even in {} ({} %)", solver.name(), grid.name(), percent(d.mean))
            })
        };
        let published = Preset::Published.options().method();
        let mut out = String::new();
        if let Some(of) = self.of(published) {
            _ = writeln!(
                out,
                "The published {} evaluations end {} % of the spread over realisations from the solution, which two families agree on to {} %; no more than that takes {}.",
                published.steps,
                percent(of.mean),
                percent(self.second.mean),
                described(fewest(of.mean, &|m| *m != published))
            );
        }
        for d in self.half.iter().filter(|d| d.mean > 0.0) {
            let singlestep = |m: &Method| (m.solver, m.grid) == (published.solver, published.grid);
            _ = writeln!(
                out,
                "Closer to the solution than {} leave it ({} %) come {}; of the published solver {}.",
                d.what,
                percent(d.mean),
                described(fewest(d.mean, &|_| true)),
                described(fewest(d.mean, &singlestep))
            );
        }
        out
    }
}

/// Two digits that count.
fn percent(share: f64) -> String {
    digits(100.0 * share)
}

fn digits(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".into(),
        0.0 => "0".into(),
        v if v >= 10.0 => format!("{value:.0}"),
        v => format!("{value:.*}", (1.0 - v.log10().floor()).clamp(1.0, 6.0) as usize),
    }
}

fn physical(value: f64, unit: &str) -> String {
    match unit {
        "share of pixels" => format!("{} % of pixels", percent(value)),
        unit => format!("{} {unit}", digits(value)).trim_end().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::solver_study::ModalityDeviation;

    fn deviation(what: &str, method: Method, mean: f64) -> Deviation {
        let row = |modality: &str, unit: &str| ModalityDeviation {
            question: "a question",
            modality: modality.into(),
            relative: mean,
            physical: mean / 2.0,
            unit: String::from(unit),
        };
        Deviation { what: what.into(), method, mean, modalities: vec![row("DEM", "m"), row("LULC", "share of pixels")] }
    }

    #[test]
    fn a_table_says_what_it_takes_to_be_as_near_as_half_precision() {
        let method = |solver, steps| Method { solver, grid: TimeGrid::Lambda, steps };
        let published = Preset::Published.options().method();
        let table = SolverTable {
            second: deviation("another", method(Solver::Singlestep, 200), 1e-4),
            half: vec![deviation("weights in bfloat16", method(Solver::Unipc3, 200), 0.02)],
            solvers: vec![
                deviation("", method(Solver::Unipc2, 8), 0.2),
                deviation("", method(Solver::Unipc2, 12), 0.015),
                deviation("", method(Solver::Unipc3, 12), 0.012),
                deviation("", published, 0.05),
            ],
        };
        let text = table.markdown();
        assert!(text.contains("| UniPC-2 | λ | 20 | 1.5 |") || text.contains("UniPC-2** | λ | 20 | 1.5 |"), "{text}");
        assert!(
            text.contains("(2.0 %) come 12 of UniPC-3 even in λ (1.2 %); of the published solver no number"),
            "{text}"
        );
        assert!(!text.contains("Zero:"), "{text}");
        assert!(text.contains("| a question | LULC |") && text.contains("2.5 % of pixels"), "{text}");
        assert_eq!([digits(12.34), digits(1.234), digits(0.01234)], ["12", "1.2", "0.012"]);
    }
}
