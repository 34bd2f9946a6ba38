//! The steps of a verification by question and answer. What is computed in them is the client's `crypto::question`.
//!
//! ```text
//! asker                                              answerer
//! Ask      question, share          ──────────▶
//!                                   ◀──────────      Answer   share, confirmation      or Refuse
//! Confirm  confirmation             ──────────▶                                        or Refuse
//! ```

use std::fmt;

use super::{at_most, exact};
use crate::codec::DecodeError;
use crate::limits::QUESTION_MAX;
use crate::wire;
use crate::wire::question::Step as WireStep;

/// Sixteen random bytes, drawn by the asker, the same in all steps of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId([u8; Self::LEN]);

/// The public share of one side: an encoded element of ristretto255, which is not looked into here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Share([u8; Self::LEN]);

/// The proof that one side has the same answer. It tells nothing about another one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Confirmation([u8; Self::LEN]);

macro_rules! wrapped {
    ($($name:ident of $length:literal;)*) => {$(
        impl $name {
            /// How many bytes.
            pub const LEN: usize = $length;

            /// Wraps bytes.
            #[must_use]
            pub const fn new(bytes: [u8; Self::LEN]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
                &self.0
            }
        }

        impl From<[u8; Self::LEN]> for $name {
            fn from(bytes: [u8; Self::LEN]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex::encode(&self.0[..4]))
            }
        }
    )*};
}

wrapped! {
    RunId of 16;
    Share of 32;
    Confirmation of 64;
}

/// What is asked: 1 to [`QUESTION_MAX`] bytes; never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct QuestionText(String);

impl QuestionText {
    /// Takes a question.
    ///
    /// # Errors
    /// [`DecodeError`] when it is empty or too long.
    pub fn new(text: String) -> Result<Self, DecodeError> {
        at_most("question", QUESTION_MAX, text.len())?;
        if text.is_empty() { Err(DecodeError::Value("question")) } else { Ok(Self(text)) }
    }

    /// The question, as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for QuestionText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuestionText({} bytes)", self.0.len())
    }
}

/// A step of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Of which run.
    pub run: RunId,
    /// Which step.
    pub step: Step,
}

/// What is said in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The asker: what is asked.
    Ask {
        /// The question.
        question: QuestionText,
        /// The asker's share.
        share: Share,
    },
    /// The other side has answered.
    Answer {
        /// The answerer's share.
        share: Share,
        /// The answerer's proof.
        confirmation: Confirmation,
    },
    /// The asker: it is the same answer.
    Confirm {
        /// The asker's proof.
        confirmation: Confirmation,
    },
    /// Either: it is not, or nobody answers. The run is over.
    Refuse,
}

impl Question {
    /// `None` where the step is one that this version does not know.
    pub(super) fn from_wire(question: wire::Question) -> Result<Option<Self>, DecodeError> {
        let run = exact("run", &question.run)?;
        let Some(step) = question.step else { return Ok(None) };
        Ok(Some(Self { run, step: step.try_into()? }))
    }
}

impl TryFrom<WireStep> for Step {
    type Error = DecodeError;

    fn try_from(step: WireStep) -> Result<Self, DecodeError> {
        let (share, confirmation) = (|bytes: &[u8]| exact("share", bytes), |bytes: &[u8]| exact("confirmation", bytes));
        Ok(match step {
            WireStep::Ask(ask) => Self::Ask { question: QuestionText::new(ask.text)?, share: share(&ask.share)? },
            WireStep::Answer(answer) => {
                Self::Answer { share: share(&answer.share)?, confirmation: confirmation(&answer.confirmation)? }
            }
            WireStep::Confirm(confirm) => Self::Confirm { confirmation: confirmation(&confirm.confirmation)? },
            WireStep::Refuse(wire::QuestionRefuse {}) => Self::Refuse,
        })
    }
}

impl From<Question> for wire::Question {
    fn from(Question { run, step }: Question) -> Self {
        let bytes = |confirmation: Confirmation| confirmation.0.to_vec();
        let step = match step {
            Step::Ask { question, share } => {
                WireStep::Ask(wire::QuestionAsk { text: question.0, share: share.0.to_vec() })
            }
            Step::Answer { share, confirmation } => {
                let (share, confirmation) = (share.0.to_vec(), bytes(confirmation));
                WireStep::Answer(wire::QuestionAnswer { share, confirmation })
            }
            Step::Confirm { confirmation } => {
                WireStep::Confirm(wire::QuestionConfirm { confirmation: bytes(confirmation) })
            }
            Step::Refuse => WireStep::Refuse(wire::QuestionRefuse {}),
        };
        Self { run: run.0.to_vec(), step: Some(step) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_steps() -> [Step; 4] {
        let question = QuestionText::new("where did we meet?".to_owned()).unwrap();
        let (share, confirmation) = (Share::new([1; 32]), Confirmation::new([2; 64]));
        [
            Step::Ask { question, share },
            Step::Answer { share, confirmation },
            Step::Confirm { confirmation },
            Step::Refuse,
        ]
    }

    #[test]
    fn every_step_reads_back() {
        for step in all_steps() {
            let question = Question { run: RunId::new([9; 16]), step };
            assert_eq!(Question::from_wire(question.clone().into()), Ok(Some(question)));
        }
        let later = wire::Question { run: vec![9; 16], step: None };
        assert_eq!(Question::from_wire(later), Ok(None), "a step of a later version");
    }

    #[test]
    fn everything_in_a_step_has_its_length() {
        assert_eq!(QuestionText::new(String::new()), Err(DecodeError::Value("question")));
        assert!(QuestionText::new("x".repeat(QUESTION_MAX)).is_ok());
        assert!(QuestionText::new("x".repeat(QUESTION_MAX + 1)).is_err());
        let confirm = |length| WireStep::Confirm(wire::QuestionConfirm { confirmation: vec![2; length] });
        assert!(Step::try_from(confirm(64)).is_ok());
        assert_eq!(Step::try_from(confirm(63)), Err(DecodeError::Value("confirmation")));
        let ask = WireStep::Ask(wire::QuestionAsk { text: "?".to_owned(), share: vec![1; 33] });
        assert_eq!(Step::try_from(ask), Err(DecodeError::Value("share")));
        let run = wire::Question { run: vec![9; 15], step: None };
        assert_eq!(Question::from_wire(run), Err(DecodeError::Value("run")));
    }

    #[test]
    fn debug_does_not_show_the_question() {
        let [ask, ..] = all_steps();
        assert_eq!(format!("{ask:?}"), "Ask { question: QuestionText(18 bytes), share: Share(01010101) }");
    }
}
