//! What the rules of conversations mean to somebody at a terminal.

use super::{CliError, Exit};
use crate::conversation::Error;
use crate::text::{printable_line, quoted};

/// The exit code, the fixed name and what to do next.
pub(super) fn cli_error(error: &Error) -> CliError {
    let (exit, code, hint) = match error {
        Error::Store(error) => return CliError::from(error),
        Error::NoContact(_) => (Exit::NotFound, "not_found", "sotto contact list".to_owned()),
        Error::Oneself => (Exit::Failed, "oneself", "a request goes to somebody else".to_owned()),
        Error::NameTaken(_) => (Exit::Conflict, "name_taken", "choose another name: --as NAME".to_owned()),
        Error::Name(_) => (Exit::Usage, "name", "choose another name: --as NAME".to_owned()),
        Error::Already(name) => (Exit::Conflict, "contact", format!("sotto send {} -m TEXT", quoted(name))),
        Error::Asks { id, .. } => (Exit::Conflict, "asked", format!("sotto request accept {id}")),
        Error::Waiting(_) => (Exit::Conflict, "waiting", "sotto request list --out".to_owned()),
        Error::Blocked(name) => (Exit::Failed, "blocked", format!("sotto contact unblock {}", quoted(name))),
        Error::NotAccepted(_) => (Exit::NotReady, "not_accepted", "sotto request list --out".to_owned()),
        Error::NoRequest(_) => (Exit::NotFound, "not_found", "sotto request list".to_owned()),
        Error::Expired(_) => (Exit::Failed, "expired", "ask yourself: sotto request send ID".to_owned()),
        Error::NoMessage(_) => (Exit::NotFound, "not_found", "sotto history CONTACT --ids".to_owned()),
        Error::NotOwn(_) => {
            (Exit::Permission, "not_own", "it can be erased here: sotto message delete CONTACT ID".to_owned())
        }
        Error::NoText(_) => (Exit::Failed, "no_text", "only texts have words".to_owned()),
        Error::NoQuestion(name) => {
            (Exit::NotFound, "no_question", format!("ask yourself: sotto verify ask {} QUESTION", quoted(name)))
        }
        Error::TooOften(name) => {
            (Exit::RateLimited, "too_often", format!("tomorrow; or compare: sotto verify show {}", quoted(name)))
        }
        Error::Late => (Exit::Failed, "late", "nothing is to be done".to_owned()),
        Error::Content(_) => (Exit::Failed, "content", "make it shorter".to_owned()),
        Error::Bundle(_) | Error::X3dh(_) | Error::Encrypt(_) => {
            (Exit::Failed, "session", "begin anew: sotto request send NAME --renew".to_owned())
        }
    };
    // What somebody calls itself may stand in it.
    CliError::new(exit, code, printable_line(&error.to_string())).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_hints_carry_no_strangers_commands() {
        let expired = cli_error(&Error::Expired("x\u{1b}[2J".to_owned()));
        assert_eq!(expired.message, "the request of x\u{fffd}[2J has expired");
        let blocked = cli_error(&Error::Blocked("x';reboot;'".to_owned()));
        assert_eq!(blocked.hint.as_deref(), Some(r"sotto contact unblock 'x'\'';reboot;'\'''"));
        assert_eq!((blocked.exit, blocked.code), (Exit::Failed, "blocked"));
        let already = cli_error(&Error::Already("Bob B".to_owned()));
        assert_eq!(already.hint.as_deref(), Some("sotto send 'Bob B' -m TEXT"));
        assert_eq!(cli_error(&Error::NotAccepted("bob".to_owned())).exit, Exit::NotReady);
    }
}
