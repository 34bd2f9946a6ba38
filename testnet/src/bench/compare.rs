//! Two reports beside each other.

use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::figures::{Better, figures, shown};
use super::report::Report;
use crate::failure::Failure;

/// Figures that differ by less than this part count as the same: two runs on one machine differ by more.
const SAME: f64 = 0.05;

/// A comparison, for programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Version of this document.
    pub v: u8,
    /// Kind of this document.
    pub r#type: &'static str,
    /// What is compared.
    pub a: Side,
    /// With what.
    pub b: Side,
    /// What makes the two hard to compare: other machines, other options.
    pub warnings: Vec<String>,
    /// The figures that both have.
    pub figures: Vec<Compared>,
}

/// One of the two reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Its file.
    pub file: String,
    /// When it began.
    pub started: String,
    /// Its commit, or version where that is not known.
    pub code: String,
}

/// A figure of both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// What it is measured in.
    pub unit: &'static str,
    /// In the first report.
    pub a: f64,
    /// In the second.
    pub b: f64,
    /// The second over the first; `null` when the first is zero.
    pub ratio: Option<f64>,
    /// Of the second.
    pub verdict: Verdict,
}

/// How the second report's figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better than the first's.
    Better,
    /// Within a twentieth.
    Same,
    /// Worse.
    Worse,
}

impl Verdict {
    const fn mark(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Same => "",
            Self::Worse => "WORSE",
        }
    }

    fn of(a: f64, b: f64, better: Better) -> Self {
        let least = a.abs().max(b.abs()) * SAME;
        match better {
            _ if (b - a).abs() <= least => Self::Same,
            Better::Lower if b < a => Self::Better,
            Better::Higher if b > a => Self::Better,
            _ => Self::Worse,
        }
    }
}

impl Comparison {
    /// Reads two reports and compares them.
    ///
    /// # Errors
    /// Those of [`Report::read`].
    pub fn of_files(a: &Path, b: &Path) -> Result<Self, Failure> {
        let (one, other) = (Report::read(a)?, Report::read(b)?);
        Ok(Self::new((&a.display().to_string(), &one), (&b.display().to_string(), &other)))
    }

    /// Compares two reports, each with the name of its file.
    #[must_use]
    pub fn new(a: (&str, &Report), b: (&str, &Report)) -> Self {
        let of_b = figures(b.1);
        let compared = |one: super::figures::Figure| {
            let other = of_b.iter().find(|other| other.name == one.name)?;
            let (a, b) = (one.value, other.value);
            Some(Compared {
                name: one.name,
                unit: one.unit,
                a,
                b,
                ratio: (a != 0.0).then_some(b / a),
                verdict: Verdict::of(a, b, one.better),
            })
        };
        Self {
            v: 1,
            r#type: "testnet.bench.comparison",
            a: side(a.0, a.1),
            b: side(b.0, b.1),
            warnings: warnings(a.1, b.1),
            figures: figures(a.1).into_iter().filter_map(compared).collect(),
        }
    }

    /// The comparison for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["", "a", "b", "", "b/a", ""]);
        for figure in &self.figures {
            table.add_row([
                figure.name.clone(),
                shown(figure.a),
                shown(figure.b),
                figure.unit.to_owned(),
                figure.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
                figure.verdict.mark().to_owned(),
            ]);
        }
        for column in [1, 2, 4] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let line = |name, side: &Side| format!("{name}  {}  {}  {}", side.started, side.code, side.file);
        let mut lines = vec![line("a", &self.a), line("b", &self.b)];
        lines.extend(self.warnings.iter().map(|warning| format!("!  {warning}")));
        lines.push(table.to_string());
        lines.push(format!("Within {:.0} % counts as the same.", 100.0 * SAME));
        lines.join("\n")
    }
}

fn side(file: &str, report: &Report) -> Side {
    let head = &report.head;
    let code = head.commit.clone().unwrap_or_else(|| head.release());
    Side { file: file.to_owned(), started: head.started.clone(), code }
}

fn warnings(a: &Report, b: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let machine = |report: &Report| format!("{} × {}", report.head.machine.cores, report.head.machine.cpu);
    if machine(a) != machine(b) {
        warnings.push(format!("different machines: {} and {}", machine(a), machine(b)));
    }
    let load = |report: &Report| {
        let options = &report.options;
        format!(
            "{} clients, {}/s for {} s, {} bytes, {} nodes",
            options.clients, options.rate, options.seconds, options.size, report.testnet.nodes
        )
    };
    if load(a) != load(b) {
        warnings.push(format!("different loads: {} and {}", load(a), load(b)));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::example;
    use super::*;

    fn compared<'a>(comparison: &'a Comparison, name: &str) -> &'a Compared {
        comparison.figures.iter().find(|figure| figure.name == name).unwrap()
    }

    #[test]
    fn the_ratio_is_the_second_over_the_first_and_the_verdict_knows_which_way_is_better() {
        let (a, mut b) = (example(), example());
        b.load.stored_per_s = a.load.stored_per_s * 2.0;
        b.latency.stored.p99_ms = a.latency.stored.p99_ms * 1.5;
        b.latency.echo.p50_ms = a.latency.echo.p50_ms * 1.04;
        b.costs.cpu_ms_per_message = a.costs.cpu_ms_per_message / 2.0;
        let comparison = Comparison::new(("a.json", &a), ("b.json", &b));
        for (name, ratio, verdict) in [
            ("stored messages", 2.0, Verdict::Better),
            ("stored (two receipts), p99", 1.5, Verdict::Worse),
            ("echo, under load, p50", 1.04, Verdict::Same),
            ("CPU of the network a message", 0.5, Verdict::Better),
        ] {
            let figure = compared(&comparison, name);
            assert!((figure.ratio.unwrap() - ratio).abs() < 1e-9, "{figure:?}");
            assert_eq!(figure.verdict, verdict, "{figure:?}");
        }
        let text = comparison.to_text();
        assert!(text.contains("WORSE") && text.contains("better") && text.contains("a.json"), "{text}");
        assert_eq!(comparison.warnings, Vec::<String>::new());
    }

    #[test]
    fn a_zero_has_no_ratio_and_a_figure_of_one_report_only_is_left_out() {
        let (mut a, mut b) = (example(), example());
        a.costs.cpu_ms_per_message = 0.0;
        b.catch_up = None;
        let comparison = Comparison::new(("a", &a), ("b", &b));
        let figure = compared(&comparison, "CPU of the network a message");
        assert_eq!((figure.ratio, figure.verdict), (None, Verdict::Worse));
        assert!(!comparison.figures.iter().any(|figure| figure.name.starts_with("catching up")));
        assert!(serde_json::to_string(&comparison).unwrap().contains("\"ratio\":null"));
    }

    #[test]
    fn other_machines_and_loads_are_said() {
        let (a, mut b) = (example(), example());
        b.head.machine.cores = 64;
        b.options.rate = 1000;
        assert_eq!(Comparison::new(("a", &a), ("b", &b)).warnings.len(), 2);
    }
}
