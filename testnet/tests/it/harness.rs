//! Runs checks one after the other and counts them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// What was run so far.
pub(crate) struct Harness {
    words: Vec<String>,
    passed: u32,
    failed: Vec<String>,
    started: Instant,
}

impl Harness {
    /// A harness that runs the checks whose name contains one of `words`, or all when there are none.
    pub(crate) fn new(words: Vec<String>) -> Self {
        Self { words, passed: 0, failed: Vec::new(), started: Instant::now() }
    }

    /// Whether one of these checks is wanted: a group is not brought up for nothing.
    pub(crate) fn wants(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is_chosen(name))
    }

    /// Runs one check; the figure it returns is printed.
    pub(crate) fn check<F: FnOnce() -> Figure>(&mut self, name: &str, check: F) {
        if self.is_chosen(name) {
            self.run(name, check);
        }
    }

    /// Runs a check that others build on, chosen or not; `None` when it failed.
    pub(crate) fn setup<T>(&mut self, name: &str, check: impl FnOnce() -> (T, Figure)) -> Option<T> {
        let mut made = None;
        self.run(name, || {
            let (value, figure) = check();
            made = Some(value);
            figure
        });
        made
    }

    /// Counts a check that could not even be tried.
    pub(crate) fn skip_as_failed(&mut self, name: &str, reason: &str) {
        if self.is_chosen(name) {
            println!("test {name} ... FAILED ({reason})");
            self.failed.push(name.to_owned());
        }
    }

    fn is_chosen(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }

    fn run<F: FnOnce() -> Figure>(&mut self, name: &str, check: F) {
        let started = Instant::now();
        // The panic's message is printed by the default hook, above the verdict.
        let outcome = catch_unwind(AssertUnwindSafe(check));
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(Figure(figure)) => {
                self.passed += 1;
                let figure = if figure.is_empty() { String::new() } else { format!("   [{figure}]") };
                println!("test {name} ... ok ({seconds:.1} s){figure}");
            }
            Err(_) => {
                println!("test {name} ... FAILED ({seconds:.1} s)");
                self.failed.push(name.to_owned());
            }
        }
    }

    /// Prints the sum in the standard harness's words.
    pub(crate) fn finish(self) -> ExitCode {
        for name in &self.failed {
            println!("failed: {name}");
        }
        let verdict = if self.failed.is_empty() { "ok" } else { "FAILED" };
        println!(
            "\ntest result: {verdict}. {} passed; {} failed; finished in {:.1}s",
            self.passed,
            self.failed.len(),
            self.started.elapsed().as_secs_f64()
        );
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Something measured, printed with the verdict; empty when there is nothing to tell.
pub(crate) struct Figure(pub(crate) String);

impl From<()> for Figure {
    fn from((): ()) -> Self {
        Self(String::new())
    }
}

/// A check without a figure.
pub(crate) const fn nothing() -> Figure {
    Figure(String::new())
}
