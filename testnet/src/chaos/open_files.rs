//! Processes that may open few files.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::failure::{Context as _, Exit, Failure};

/// So few (F28).
pub(super) const FEW: u64 = 256;

/// Limits on open files; none where there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    soft: Option<u64>,
    hard: Option<u64>,
}

/// Lets this process open few files from now on; what it has open stays.
///
/// # Errors
/// [`Failure`] if it is gone or is somebody else's.
pub(super) fn limit(pid: u32) -> Result<(), Failure> {
    let hard = limits(pid)?.hard;
    set(pid, Limits { soft: Some(FEW), hard })
}

/// Lets it open as many as its supervisor, from whom it had its limit.
///
/// # Errors
/// [`Failure`] if one of them is gone or is somebody else's.
pub(super) fn lift(pid: u32, supervisor: u32) -> Result<(), Failure> {
    let (own, wanted) = (limits(pid)?, limits(supervisor)?);
    set(pid, Limits { soft: wanted.soft, hard: own.hard })
}

/// Whether it may open few files, and its supervisor more.
pub(super) fn is_limited(pid: u32, supervisor: u32) -> bool {
    let may_open_few = |pid| limits(pid).is_ok_and(|limits| limits.soft == Some(FEW));
    may_open_few(pid) && !may_open_few(supervisor)
}

fn set(pid: u32, limits: Limits) -> Result<(), Failure> {
    let process = Pid::from_raw(pid.cast_signed());
    let wanted = Rlimit { current: limits.soft, maximum: limits.hard };
    let set = prlimit(process, Resource::Nofile, wanted).map_err(std::io::Error::from);
    set.map(drop).context("limit the open files of", format!("process {pid}"))
}

fn limits(pid: u32) -> Result<Limits, Failure> {
    let path = format!("/proc/{pid}/limits");
    let text = fs::read_to_string(&path).context("read", &path)?;
    parse(&text).ok_or_else(|| Failure::new(Exit::Failed, format!("{path} does not tell how many files may be open")))
}

/// The line `Max open files            1024                 1048576              files`.
fn parse(text: &str) -> Option<Limits> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_ascii_whitespace();
    let mut limit = || match words.next()? {
        "unlimited" => Some(None),
        number => Some(Some(number.parse().ok()?)),
    };
    Some(Limits { soft: limit()?, hard: limit()? })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn limits_are_read_whether_there_are_any_or_not() {
        let text = "Limit  Soft Limit  Hard Limit  Units\nMax processes  10  20  processes\n\
                    Max open files            1024                 unlimited            files\n";
        assert_eq!(parse(text), Some(Limits { soft: Some(1024), hard: None }));
        assert_eq!(parse("Max open files"), None);
    }

    #[test]
    fn a_running_process_is_limited_and_has_its_limit_back() {
        let (mut sleeping, own) = (Command::new("sleep").arg("60").spawn().unwrap(), std::process::id());
        let (pid, before) = (sleeping.id(), limits(own).unwrap());
        assert!(!is_limited(pid, own));
        limit(pid).unwrap();
        assert_eq!(limits(pid).unwrap(), Limits { soft: Some(FEW), ..before });
        assert!(is_limited(pid, own) || before.soft == Some(FEW));
        lift(pid, own).unwrap();
        assert_eq!(limits(pid).unwrap(), before);
        sleeping.kill().unwrap();
        sleeping.wait().unwrap();
        assert!(limit(pid).is_err());
    }
}
