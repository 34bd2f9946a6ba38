//! `sotto verify ask` and `answer`: for people who share only a memory.

use std::path::PathBuf;

use clap::Args;
use sotto_proto::content::QuestionText;
use zeroize::Zeroizing;

use crate::cli::context::{Context, Unlocked, clock, random};
use crate::cli::conversation_error::cli_error;
use crate::cli::input::read_secret;
use crate::cli::recipient::{Recipient, called};
use crate::cli::sending::send_queued_about;
use crate::cli::{CliError, Exit};
use crate::conversation::{Me, answer_question, ask_question, open_question, refuse_question};
use crate::crypto::Answer;
use crate::text::printable_line;

/// Ask a contact something that only it knows; if it types the same answer, both are verified
#[derive(Debug, Args)]
pub(in crate::cli) struct Ask {
    /// Its name or account id
    #[arg(value_name = "CONTACT")]
    which: Recipient,
    /// What to ask. The contact reads it
    #[arg(value_name = "QUESTION")]
    question: String,
    /// The answer is in this file; else it is asked for
    #[arg(long, value_name = "FILE")]
    answer_file: Option<PathBuf>,
}

/// Answer what a contact has asked to be sure of you
#[derive(Debug, Args)]
pub(in crate::cli) struct AnswerIt {
    /// Its name or account id
    #[arg(value_name = "CONTACT")]
    which: Recipient,
    /// The answer is in this file; else it is asked for
    #[arg(long, value_name = "FILE")]
    answer_file: Option<PathBuf>,
    /// Do not answer, and say so
    #[arg(long, conflicts_with = "answer_file")]
    refuse: bool,
}

impl Ask {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let question = QuestionText::new(self.question)
            .map_err(|error| CliError::new(Exit::Failed, "question", error.to_string()).hint("one short question"))?;
        let Unlocked { genesis, mut account } = context.unlock()?;
        let answer = typed(context, self.answer_file, "Answer (only you two know it): ")?;
        let chain = *account.chain();
        let (now, mut rng) = (clock(), random()?);
        let to = account.change(|tx, own| {
            let me = Me { chain: &chain, account: own.account, name: own.name, now };
            let contact = self.which.contact(tx)?;
            let asked = ask_question(tx, &me, &contact.account, &question, &answer, &mut rng);
            asked.map_err(|error| cli_error(&error))?;
            Ok::<_, CliError>((contact.account, called(tx, &contact.account)?))
        })?;
        context.out.say(format!("{} is asked; what comes of it: sotto recv", to.1));
        send_queued_about(context, Unlocked { genesis, account }, &to)
    }
}

impl AnswerIt {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let Unlocked { genesis, mut account } = context.unlock()?;
        let asked = account.change(|tx, _| {
            let contact = self.which.contact(tx)?;
            open_question(tx, &contact.account).map_err(|error| cli_error(&error))
        })?;
        let answer = if self.refuse {
            None
        } else {
            context.out.say(format!("asked: {}", printable_line(asked.question.as_str())));
            Some(typed(context, self.answer_file, "Answer: ")?)
        };
        let chain = *account.chain();
        let (now, mut rng) = (clock(), random()?);
        let to = account.change(|tx, own| {
            let me = Me { chain: &chain, account: own.account, name: own.name, now };
            let done = match &answer {
                Some(answer) => answer_question(tx, &me, &asked.account, answer, &mut rng).map(|_| ()),
                None => refuse_question(tx, &me, &asked.account, &mut rng),
            };
            done.map_err(|error| cli_error(&error))?;
            Ok::<_, CliError>((asked.account, called(tx, &asked.account)?))
        })?;
        if answer.is_some() {
            context.out.say(format!("whether {} has the same answer: sotto recv", to.1));
        }
        send_queued_about(context, Unlocked { genesis, account }, &to)
    }
}

fn typed(context: &Context, file: Option<PathBuf>, prompt: &str) -> Result<Answer, CliError> {
    let text: Zeroizing<String> = match file {
        Some(path) => read_secret(&path, |warning| context.out.say(warning))?,
        None => {
            let mut terminal = context.terminal().ok_or_else(|| {
                CliError::new(Exit::Failed, "no_answer", "nobody is there to type the answer")
                    .hint("--answer-file FILE")
            })?;
            terminal.ask_secret(prompt)?
        }
    };
    Answer::new(&text)
        .map_err(|error| CliError::new(Exit::Failed, "answer", error.to_string()).hint("a word or two, in any case"))
}
