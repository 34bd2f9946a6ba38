//! Which request is meant by what was typed.

use crate::cli::{CliError, Exit};
use crate::store::Request;

/// Digits of an id that must be typed at least.
const PREFIX: usize = 4;

/// By its id, else by its sender's id, else by its sender's name: what strangers call themselves stands behind what they
/// cannot choose. Of several of one sender it is the last.
pub(super) fn meant<'a>(waiting: &'a [Request], which: &str) -> Result<&'a Request, CliError> {
    let lower = which.to_ascii_lowercase();
    let id = lower.strip_prefix("sotto:").unwrap_or(&lower);
    let by_id = |request: &Request| lower.len() >= PREFIX && request.id.to_string().starts_with(&lower);
    let by_sender = |request: &Request| request.account.to_string() == id;
    let by_name = |request: &Request| request.name.eq_ignore_ascii_case(which);
    let ways: [&dyn Fn(&Request) -> bool; 3] = [&by_id, &by_sender, &by_name];
    let found = ways.iter().map(|is_meant| waiting.iter().filter(|request| is_meant(request)).collect::<Vec<_>>());
    let found = found.into_iter().find(|found| !found.is_empty()).unwrap_or_default();
    let Some(last) = found.last() else {
        return Err(CliError::new(Exit::NotFound, "not_found", format!("no request {which:?} waits"))
            .hint("sotto request list"));
    };
    if found.iter().any(|request| request.account != last.account) {
        let several = found.len();
        let message = format!("{several} requests that wait are meant by {which:?}");
        return Err(CliError::new(Exit::Failed, "ambiguous", message).hint("say its id: sotto request list"));
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use sotto_proto::content::MessageId;
    use sotto_proto::time::{UnixMillis, UnixSeconds};

    use super::*;
    use crate::store::RequestState;

    fn of(id: u8, account: u8, name: &str) -> Request {
        Request {
            id: MessageId::new([id; 16]),
            account: format!("05{}", hex::encode([account; 32])).parse().unwrap(),
            name: name.to_owned(),
            outgoing: false,
            introduction: String::new(),
            renewal: false,
            bundles: Vec::new(),
            state: RequestState::Waiting,
            created: UnixMillis(0),
            expires: UnixSeconds(10),
        }
    }

    #[test]
    fn a_request_is_meant_by_its_id_its_sender_or_its_senders_name() {
        let (id, account) = ("abababab", format!("SOTTO:05{}", "cd".repeat(32)));
        let waiting = [of(0xab, 0xcd, "Carol"), of(0xac, 0xce, "dave")];
        for which in ["abab", id, &id.to_uppercase(), &account, &account[6..], "carol", "CAROL"] {
            assert_eq!(meant(&waiting, which), Ok(&waiting[0]), "{which}");
        }
        for which in ["aba", "", "erin", "abababad"] {
            let error = meant(&waiting, which).unwrap_err();
            assert_eq!((error.exit, error.code), (Exit::NotFound, "not_found"), "{which}");
        }
    }

    #[test]
    fn no_stranger_is_accepted_for_somebody_else() {
        // Called like the id of another's request, and like another.
        let waiting = [of(0xab, 0xcd, "carol"), of(1, 2, "abababab"), of(3, 4, "Carol")];
        assert_eq!(meant(&waiting, "abababab"), Ok(&waiting[0]));
        let error = meant(&waiting, "carol").unwrap_err();
        assert_eq!((error.code, error.message.as_str()), ("ambiguous", "2 requests that wait are meant by \"carol\""));
        // Who asked twice is one.
        let twice = [of(5, 6, "erin"), of(7, 6, "erin")];
        assert_eq!(meant(&twice, "erin"), Ok(&twice[1]));
    }
}
