//! How requests are shown, and told to programs.

use serde_json::{Value, json};
use sotto_proto::address::Address;
use sotto_proto::content::{MessageId, Request as Body};
use sotto_proto::time::{UnixMillis, UnixSeconds};

use crate::cli::status::rfc3339;
use crate::store::{Request, RequestState};
use crate::text::printable_line;

/// Digits of an id that are shown.
const SHOWN: usize = 8;

fn short(id: &MessageId) -> String {
    id.to_string().chars().take(SHOWN).collect()
}

/// What became of it, by then.
fn state(request: &Request, now: UnixSeconds) -> &'static str {
    match request.state {
        RequestState::Waiting if request.expires <= now => "expired",
        RequestState::Waiting => "waiting",
        RequestState::Accepted => "accepted",
        RequestState::Declined => "declined",
    }
}

pub(super) fn document(request: &Request, now: UnixSeconds) -> Value {
    json!({
        "v": 1, "type": "request", "id": request.id.to_string(), "account": request.account.to_string(),
        "direction": if request.outgoing { "out" } else { "in" }, "name": request.name,
        "introduction": request.introduction, "renewal": request.renewal, "state": state(request, now),
        "ts": rfc3339(request.created), "expires": rfc3339(UnixMillis(request.expires.0.saturating_mul(1000))),
    })
}

/// One line; `name` is what the other side is called here.
pub(super) fn line(request: &Request, name: &str, now: UnixSeconds) -> String {
    let (id, at) = (short(&request.id), rfc3339(request.created));
    let words = words(&request.introduction);
    let state = match state(request, now) {
        "waiting" => String::new(),
        state => format!("  {state}"),
    };
    if request.outgoing {
        return format!("{id}  {at}  to {name}{words}{state}");
    }
    format!("{id}  {at}  from{} ({}){words}{state}", said(&request.name), request.account)
}

/// What is shown of a request that came, where the user has to decide, or had to.
pub(in crate::cli) fn arrived(
    sender: &Address,
    (id, request): (&MessageId, &Body),
    state: Option<RequestState>,
) -> String {
    let next = match state {
        Some(RequestState::Waiting) => format!("  accept: sotto request accept {}", short(id)),
        Some(RequestState::Accepted) => "  accepted".to_owned(),
        Some(RequestState::Declined) => "  declined".to_owned(),
        None => "  expired".to_owned(),
    };
    format!("request from{} ({sender}){}{next}", said(request.name()), words(request.introduction()))
}

/// What somebody calls itself, if it does.
fn said(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" {}", printable_line(name)) }
}

fn words(introduction: &str) -> String {
    if introduction.is_empty() { String::new() } else { format!("  \"{}\"", printable_line(introduction)) }
}

#[cfg(test)]
mod tests {
    use sotto_proto::limits::SIGNED_BUNDLE_BYTES;

    use super::*;

    fn request(outgoing: bool) -> Request {
        Request {
            id: MessageId::new([0xab; 16]),
            account: format!("05{}", "cd".repeat(32)).parse().unwrap(),
            outgoing,
            name: "Carol".to_owned(),
            introduction: "from the\nworkshop".to_owned(),
            renewal: false,
            bundles: Vec::new(),
            state: RequestState::Waiting,
            created: UnixMillis(0),
            expires: UnixSeconds(10),
        }
    }

    const NOW: UnixSeconds = UnixSeconds(9);

    #[test]
    fn a_request_is_one_line_whatever_is_in_it() {
        let id = format!("05{}", "cd".repeat(32));
        let words = "\"from the\u{fffd}workshop\"";
        let shown = line(&request(false), "?", NOW);
        assert_eq!(shown, format!("abababab  1970-01-01T00:00:00.000Z  from Carol ({id})  {words}"));
        let sent = line(&request(true), "carol", UnixSeconds(10));
        assert_eq!(sent, format!("abababab  1970-01-01T00:00:00.000Z  to carol  {words}  expired"));
        let declined = Request { state: RequestState::Declined, introduction: String::new(), ..request(false) };
        let shown = line(&declined, "?", NOW);
        assert_eq!(shown, format!("abababab  1970-01-01T00:00:00.000Z  from Carol ({id})  declined"));
    }

    #[test]
    fn programs_are_told_what_became_of_a_request() {
        let told = |request: &Request, now| document(request, now)["state"].as_str().unwrap().to_owned();
        assert_eq!(told(&request(false), NOW), "waiting");
        assert_eq!(told(&request(false), UnixSeconds(10)), "expired");
        assert_eq!(told(&Request { state: RequestState::Accepted, ..request(true) }, NOW), "accepted");
        let document = document(&request(true), NOW);
        assert_eq!((&document["direction"], &document["expires"]), (&json!("out"), &json!("1970-01-01T00:00:10.000Z")));
    }

    #[test]
    fn a_request_that_came_says_how_to_accept_it_while_that_is_possible() {
        let (id, account) = (MessageId::new([0xab; 16]), format!("05{}", "cd".repeat(32)));
        let sender = account.parse().unwrap();
        let body = |name: &str, words: &str| {
            Body::new(name.to_owned(), words.to_owned(), vec![vec![7; SIGNED_BUNDLE_BYTES]], false).unwrap()
        };
        let shown = |name, words, state| arrived(&sender, (&id, &body(name, words)), state);
        assert_eq!(
            shown("Carol\r", "hi", Some(RequestState::Waiting)),
            format!("request from Carol\u{fffd} ({account})  \"hi\"  accept: sotto request accept abababab")
        );
        assert_eq!(shown("", "", Some(RequestState::Declined)), format!("request from ({account})  declined"));
        assert_eq!(shown("", "", None), format!("request from ({account})  expired"));
    }
}
