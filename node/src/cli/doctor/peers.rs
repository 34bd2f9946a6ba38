//! What peers answered.

use super::Finding;
use crate::cli::status::short;
use crate::status::survey::{ListedStatus, PeerAnswerStatus, SurveyStatus};

/// Final heights a peer may be away: blocks travel.
const HEIGHTS: u64 = 3;
/// Milliseconds its clock may be away.
const CLOCK: u64 = 5_000;

/// Sums it up.
pub(super) fn judge(survey: &SurveyStatus) -> Finding {
    let asked = survey.answers.len();
    if asked == 0 {
        return Finding::warn("peers", "no registered node is connected that could be asked", "sotto-node peers");
    }
    let answered: Vec<_> = survey.answers.iter().filter(|answer| answer.height.is_some()).collect();
    if answered.is_empty() {
        let text = format!("none of {asked} answers");
        return Finding::fail("peers", text, "see to the network of this machine: sotto-node peers");
    }
    let count = |odd: fn(&SurveyStatus, &PeerAnswerStatus) -> bool| {
        answered.iter().filter(|answer| odd(survey, answer)).count()
    };
    let (apart, heights, clocks) = (count(sees_another), count(is_elsewhere), count(is_off));
    let text = format!("{} of {asked} answer", answered.len());
    let odd: Vec<_> = [
        (apart, "have something else of this node in their lists"),
        (heights, "are at other heights"),
        (clocks, "have clocks that are more than 5 s away"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    let most = |count: usize| count.saturating_mul(2) > answered.len();
    match odd.is_empty() {
        true if answered.len() == asked => Finding::ok("peers", format!("{text}, and see this node as it does itself")),
        true => Finding::ok("peers", format!("{text}, and those see this node as it does itself")),
        false if most(apart) || most(heights) || most(clocks) => Finding::fail(
            "peers",
            format!("{text}; {}", odd.join(", ")),
            "it is most of them, so look for it here: chain, clock and registration above",
        ),
        false => {
            Finding::warn("peers", format!("{text}; {}", odd.join(", ")), "it is few of them, so look for it there")
        }
    }
}

/// Whether its list, if it has shown it, has something else of the node than the node's own.
fn sees_another(survey: &SurveyStatus, answer: &PeerAnswerStatus) -> bool {
    answer.shown_record && answer.listed != survey.own
}

fn is_elsewhere(survey: &SurveyStatus, answer: &PeerAnswerStatus) -> bool {
    answer.height.is_some_and(|height| height.abs_diff(survey.height) > HEIGHTS)
}

fn is_off(_: &SurveyStatus, answer: &PeerAnswerStatus) -> bool {
    answer.clock_ahead_ms.is_some_and(|ahead| ahead.unsigned_abs() > CLOCK)
}

/// A table of them.
pub(super) fn rows(survey: &SurveyStatus) -> Vec<[String; 7]> {
    let head = ["peer", "direction", "answered in", "final", "clock", "version", "has this node as"].map(str::to_owned);
    [head].into_iter().chain(survey.answers.iter().map(row)).collect()
}

fn row(answer: &PeerAnswerStatus) -> [String; 7] {
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    let has = match (&answer.failure, &answer.listed) {
        (Some(failure), _) => failure.clone(),
        (None, Some(ListedStatus { state, addresses })) => format!("{state} at {}", addresses.join(" ")),
        (None, None) if answer.shown_record => "not registered".into(),
        (None, None) => "–".into(),
    };
    [
        short(&answer.peer).to_owned(),
        or_nothing(answer.direction.map(|direction| direction.to_string())),
        or_nothing(answer.round_trip_ms.map(|millis| format!("{millis} ms"))),
        or_nothing(answer.height.map(|height| height.to_string())),
        or_nothing(answer.clock_ahead_ms.map(|millis| format!("{millis:+} ms"))),
        or_nothing(answer.version.clone()),
        has,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;
    use crate::status::peers::PeerDirection;

    fn active() -> ListedStatus {
        ListedStatus { state: "active".into(), addresses: vec!["/ip4/203.0.113.7/tcp/22020".into()] }
    }

    fn good(digits: &str) -> PeerAnswerStatus {
        PeerAnswerStatus {
            peer: digits.repeat(32),
            direction: Some(PeerDirection::In),
            round_trip_ms: Some(3),
            height: Some(810),
            clock_ahead_ms: Some(-12),
            version: Some("0.1.0".into()),
            shown_record: true,
            listed: Some(active()),
            failure: None,
        }
    }

    fn silent(digits: &str) -> PeerAnswerStatus {
        PeerAnswerStatus {
            direction: Some(PeerDirection::Out),
            round_trip_ms: None,
            height: None,
            clock_ahead_ms: None,
            version: None,
            shown_record: false,
            listed: None,
            failure: Some("no answer in time".into()),
            ..good(digits)
        }
    }

    fn survey(answers: impl Into<Vec<PeerAnswerStatus>>) -> SurveyStatus {
        SurveyStatus {
            v: SurveyStatus::VERSION,
            kind: SurveyStatus::TYPE.into(),
            node: "5d".repeat(32),
            height: 809,
            own: Some(active()),
            answers: answers.into(),
        }
    }

    #[test]
    fn peers_that_agree_are_good_and_those_that_are_silent_are_counted() {
        let finding = judge(&survey([good("1a"), good("2b")]));
        assert_eq!(finding, Finding::ok("peers", "2 of 2 answer, and see this node as it does itself"));
        let finding = judge(&survey([good("1a"), silent("2b")]));
        assert_eq!((finding.verdict, finding.text.starts_with("1 of 2 answer")), (Verdict::Ok, true));
        assert_eq!(judge(&survey([silent("1a")])).verdict, Verdict::Fail);
        assert_eq!(judge(&survey([])).verdict, Verdict::Warn);
    }

    #[test]
    fn one_that_differs_is_a_warning_and_most_of_them_a_failure() {
        let gone = || PeerAnswerStatus { listed: None, ..good("3c") };
        let finding = judge(&survey([good("1a"), good("2b"), gone()]));
        assert_eq!(finding.verdict, Verdict::Warn);
        assert_eq!(finding.text, "3 of 3 answer; 1 have something else of this node in their lists");
        assert_eq!(judge(&survey([good("1a"), gone(), gone()])).verdict, Verdict::Fail);
        let late = || PeerAnswerStatus { height: Some(700), ..good("4d") };
        assert_eq!(judge(&survey([late(), late(), good("1a")])).verdict, Verdict::Fail);
        let off = PeerAnswerStatus { clock_ahead_ms: Some(-5_001), ..good("5e") };
        assert_eq!(judge(&survey([good("1a"), good("2b"), off])).verdict, Verdict::Warn);
        let unshown = || PeerAnswerStatus { shown_record: false, listed: None, ..good("6f") };
        assert_eq!(judge(&survey([unshown(), unshown()])).verdict, Verdict::Ok, "what was not shown is no difference");
    }

    #[test]
    fn each_peer_is_a_row() {
        let survey = survey([good("1a"), silent("2b"), PeerAnswerStatus { listed: None, ..good("3c") }]);
        let rows = rows(&survey);
        assert_eq!(rows[1].join("|"), "1a1a1a1a|in|3 ms|810|-12 ms|0.1.0|active at /ip4/203.0.113.7/tcp/22020");
        assert_eq!(rows[2].join("|"), "2b2b2b2b|out|–|–|–|–|no answer in time");
        assert_eq!(rows[3][6], "not registered");
    }
}
