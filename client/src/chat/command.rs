//! What a line says.

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Nothing,
    /// To whom the last plain line was for.
    Say(&'a str),
    /// To somebody: a name or an id, and behind it perhaps a text.
    To(&'a str),
    Contacts,
    Requests,
    /// A request by its number in the list, and perhaps a name.
    Accept {
        number: usize,
        name: &'a str,
    },
    Decline {
        number: usize,
        block: bool,
    },
    Ask {
        account: &'a str,
        words: &'a str,
    },
    History(usize),
    Search(&'a str),
    Reply {
        message: &'a str,
        text: &'a str,
    },
    React {
        message: &'a str,
        emoji: &'a str,
    },
    Edit {
        message: &'a str,
        text: &'a str,
    },
    Delete {
        message: &'a str,
        everyone: bool,
    },
    Verify,
    Confirm,
    /// What only the two know, and the answer.
    Question {
        question: &'a str,
        answer: &'a str,
    },
    /// Nothing refuses.
    Answer(&'a str),
    Path,
    Help,
    Quit,
}

/// Messages that `/history` shows.
const SHOWN: usize = 20;
/// And at most.
const SHOWN_MOST: usize = 1000;

/// Commands and what they do.
pub(super) const HELP: &str = "\
@NAME TEXT       to a contact; a plain line goes to the last one
@NAME            the next plain lines go there
/contacts        who there is
/history [N]     what was said, with the ids of messages
/search TEXT     what of it contains this
/reply ID TEXT   ID: the beginning of an id, or: last
/react ID EMOJI  without an emoji: takes it back
/edit ID TEXT    another wording of a message of yours
/delete ID       for you; with everyone behind it, for everyone
/requests        who asks to talk
/accept N [NAME] the Nth of them
/decline N       with block behind it, hear no more of the sender
/ask ID WORDS    ask somebody to talk, by account id
/verify          the safety number; once compared: /verify confirm
/question Q = A  or ask what only you two know: who answers the same is verified
/answer TEXT     the answer to a question of theirs; /refuse
/path            the way messages take
/help            this
/quit            end; so does Ctrl-D
// at the beginning of a line is a plain /";

impl<'a> Command<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// What is missing or wrong, for people.
    pub(super) fn read(line: &'a str) -> Result<Self, String> {
        let line = line.trim();
        if let Some(plain) = line.strip_prefix('/').filter(|rest| rest.starts_with('/')) {
            return Ok(Self::Say(plain));
        }
        if let Some(rest) = line.strip_prefix('@') {
            return if rest.trim().is_empty() { Err("@NAME TEXT".to_owned()) } else { Ok(Self::To(rest)) };
        }
        let Some(command) = line.strip_prefix('/') else {
            return Ok(if line.is_empty() { Self::Nothing } else { Self::Say(line) });
        };
        let (name, rest) = word(command);
        let (first, behind) = word(rest);
        let usage = |usage: &str| Err(usage.to_owned());
        let command = match name {
            "contacts" | "c" => Self::Contacts,
            "requests" => Self::Requests,
            "accept" => match first.parse() {
                Ok(number) => Self::Accept { number, name: behind },
                Err(_) => return usage("/accept N [NAME]; /requests shows the numbers"),
            },
            "decline" => match (first.parse(), behind) {
                (Ok(number), "" | "block") => Self::Decline { number, block: behind == "block" },
                _ => return usage("/decline N [block]; /requests shows the numbers"),
            },
            "ask" if !first.is_empty() => Self::Ask { account: first, words: behind },
            "ask" => return usage("/ask ID WORDS"),
            "history" | "h" => match first {
                "" => Self::History(SHOWN),
                number => match number.parse::<usize>() {
                    Ok(number) => Self::History(number.clamp(1, SHOWN_MOST)),
                    Err(_) => return usage("/history [N]"),
                },
            },
            "search" if !rest.is_empty() => Self::Search(rest),
            "search" => return usage("/search TEXT"),
            "reply" | "r" if !behind.is_empty() => Self::Reply { message: first, text: behind },
            "reply" | "r" => return usage("/reply ID TEXT"),
            "react" if !first.is_empty() => Self::React { message: first, emoji: behind },
            "react" => return usage("/react ID EMOJI"),
            "edit" if !behind.is_empty() => Self::Edit { message: first, text: behind },
            "edit" => return usage("/edit ID TEXT"),
            "delete" if !first.is_empty() && matches!(behind, "" | "everyone") => {
                Self::Delete { message: first, everyone: behind == "everyone" }
            }
            "delete" => return usage("/delete ID [everyone]"),
            "verify" if first == "confirm" => Self::Confirm,
            "verify" => Self::Verify,
            "question" => match rest.rsplit_once('=').map(|(question, answer)| (question.trim(), answer.trim())) {
                Some((question, answer)) if !question.is_empty() && !answer.is_empty() => {
                    Self::Question { question, answer }
                }
                _ => return usage("/question QUESTION = ANSWER"),
            },
            "answer" if !rest.is_empty() => Self::Answer(rest),
            "answer" => return usage("/answer TEXT; or /refuse"),
            "refuse" => Self::Answer(""),
            "path" => Self::Path,
            "help" | "?" => Self::Help,
            "quit" | "q" | "exit" => Self::Quit,
            other => return Err(format!("there is no /{other}; see: /help")),
        };
        Ok(command)
    }
}

/// The first word, and what is behind it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_words_or_commands() {
        let read = |line| Command::read(line);
        assert_eq!(read("  hello  there "), Ok(Command::Say("hello  there")));
        assert_eq!(read("//etc/passwd"), Ok(Command::Say("/etc/passwd")));
        assert_eq!(read("@bob hi"), Ok(Command::To("bob hi")));
        assert_eq!(read(""), Ok(Command::Nothing));
        assert_eq!(read("/reply ab12 not /that"), Ok(Command::Reply { message: "ab12", text: "not /that" }));
        assert_eq!(read("/accept 2 Bob B"), Ok(Command::Accept { number: 2, name: "Bob B" }));
        assert_eq!(read("/history"), Ok(Command::History(20)));
        assert_eq!(read("/history 99999"), Ok(Command::History(1000)));
        assert_eq!(read("/delete last everyone"), Ok(Command::Delete { message: "last", everyone: true }));
        let question = Command::Question { question: "2 + 2 = what?", answer: "four" };
        assert_eq!(read("/question 2 + 2 = what? = four"), Ok(question));
        assert_eq!(
            (read("/answer New York"), read("/refuse")),
            (Ok(Command::Answer("New York")), Ok(Command::Answer("")))
        );
        assert_eq!(read("/react last"), Ok(Command::React { message: "last", emoji: "" }));
    }

    #[test]
    fn what_is_no_command_is_not_said_to_anybody() {
        for line in [
            "/histroy",
            "/accept bob",
            "/reply ab12",
            "/delete x all",
            "@ ",
            "/search",
            "/ask",
            "/decline 1 x",
            "/answer",
            "/question where?",
            "/question = x",
            "/question x =",
        ] {
            assert!(Command::read(line).is_err(), "{line}");
        }
    }
}
