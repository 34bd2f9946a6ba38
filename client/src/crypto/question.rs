//! Question and answer: two people who share only a memory find out whether somebody stands between them.
//!
//! One asks what only the other knows, and both type the answer. By a password-authenticated key exchange each learns
//! whether the other typed the same, and nothing else: not even whoever stands between, who may guess once in each run.
//! It is CPace with the group ristretto255 and SHA-512 (draft-irtf-cfrg-cpace-21), initiator and responder.
//!
//! ```text
//! answer  PRS = what was typed, put into one form (`answer`)
//! channel CI  = lp("sotto/question/1") ‖ chain id 32 ‖ asker 33 ‖ answerer 33 ‖ session tag 16
//!         sid = run id 16          ADa = the question         ADb = nothing
//! g           = element(SHA-512( generator_string(PRS, CI, sid) ))
//!
//! asker                                                          answerer
//! ya drawn, Ya = ya · g     ── Ask: question, Ya ──────────▶     yb drawn, Yb = yb · g
//!                           ◀───────── Answer: Yb, Tb ─────      K = yb · Ya
//! K = ya · Yb, compares Tb  ── Confirm: Ta ────────────────▶     compares Ta
//!
//! ISK         = SHA-512( lv_cat("CPaceRistretto255_ISK", sid, K) ‖ transcript )
//! transcript  = lv_cat(Ya, ADa) ‖ lv_cat(Yb, ADb)
//! MAC key     = SHA-512( "CPaceMac" ‖ sid ‖ ISK )
//! Ta, Tb      = HMAC-SHA-512( MAC key, u8 role ‖ transcript )    role: 1 the asker's, 2 the answerer's
//! ```
//!
//! Whoever has a session with each of two people has other accounts in it than they see, therefore another channel: what
//! he hands on from one to the other proves nothing. The places of the accounts say who asks, so that what somebody sent
//! serves nobody as an answer to himself.
//!
//! An account and a session do not change in a run. A step takes the state before it by value: one run is one guess.
//! Who keeps a state on disk erases it in the transaction that takes the step. How many runs there may be is for
//! [`Attempts`].

mod answer;
mod attempts;
mod cpace;
#[cfg(test)]
mod tests;

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use rand_core::CryptoRng;
use sotto_proto::address::Address;
use sotto_proto::codec::{DecodeError, Reader};
use sotto_proto::content::{Confirmation, QuestionText, RunId, Share};
use sotto_proto::domain;
use sotto_proto::id::ChainId;
use sotto_proto::limits::QUESTION_MAX;
use zeroize::{ZeroizeOnDrop, Zeroizing};

pub use self::answer::{Answer, AnswerError};
pub use self::attempts::Attempts;
use self::cpace::{Exponent, IntermediateKey, lv_cat};
use super::SessionTag;

/// Before what proves the asker's answer.
const ASKER: u8 = 1;
/// Before what proves the answerer's.
const ANSWERER: u8 = 2;

/// A share that is no element of the group, or the neutral one, with which every answer would be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other side's share is not one")]
pub struct ShareError;

/// What a run is bound to. Both sides have the same, or they have no answer in common.
#[derive(Clone, Copy, Debug)]
pub struct QuestionContext<'a> {
    /// The network.
    pub chain: &'a ChainId,
    /// Who asks.
    pub asker: Address,
    /// Who answers.
    pub answerer: Address,
    /// The session by which the question came.
    pub session: &'a SessionTag,
    /// Which run.
    pub run: RunId,
    /// The question.
    pub question: &'a QuestionText,
}

impl QuestionContext<'_> {
    /// CI. The accounts stand in the order of their roles (section 10.1.1 of the draft).
    fn channel(&self) -> Vec<u8> {
        [
            domain::QUESTION.prefixed().as_slice(),
            self.chain.as_bytes(),
            &self.asker.to_bytes(),
            &self.answerer.to_bytes(),
            self.session.as_bytes(),
        ]
        .concat()
    }

    /// A scalar that was drawn, and the share of it.
    fn draw(&self, answer: &Answer, rng: &mut dyn CryptoRng) -> (Exponent, Share) {
        let generator = cpace::generator(answer.as_bytes(), &self.channel(), self.run.as_bytes());
        let exponent = Exponent::draw(rng);
        let share = Share::new(exponent.times_generator(&generator));
        (exponent, share)
    }
}

/// The side that asks, until the answer comes. `Debug` shows nothing: with it every answer could be tried.
pub struct Asker {
    exponent: Exponent,
    share: Share,
    run: RunId,
    question: QuestionText,
}

impl Asker {
    /// Asks: the share belongs into the question.
    #[must_use]
    pub fn ask(context: &QuestionContext<'_>, answer: &Answer, rng: &mut dyn CryptoRng) -> (Self, Share) {
        let (exponent, share) = context.draw(answer, rng);
        (Self { exponent, share, run: context.run, question: context.question.clone() }, share)
    }

    /// Compares with what was answered: the confirmation to send, or `None` where the other side typed something else,
    /// or is not the one whom the asker sees. Then there is nothing to learn but that.
    #[must_use]
    pub fn compare(self, theirs: &Share, proof: &Confirmation) -> Option<Confirmation> {
        // Nobody draws the same scalar: it is this side's own share, sent back.
        if *theirs == self.share {
            return None;
        }
        let proofs = Proofs::new(&self.exponent, theirs, &self.run, (&self.share, theirs), &self.question).ok()?;
        proofs.answerer.is(proof).then(|| proofs.asker.confirmation())
    }

    /// The state, for a store: run ‖ share ‖ scalar ‖ u32 length ‖ question.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let question = self.question.as_str().as_bytes();
        let length = u32::try_from(question.len()).unwrap_or(u32::MAX);
        let mut bytes = Zeroizing::new(Vec::with_capacity(RunId::LEN + Share::LEN + 32 + 4 + question.len()));
        bytes.extend_from_slice(self.run.as_bytes());
        bytes.extend_from_slice(self.share.as_bytes());
        bytes.extend_from_slice(self.exponent.expose().as_slice());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(question);
        bytes
    }

    /// Reads what [`Asker::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] for everything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (run, share) = (reader.id()?, reader.id()?);
        let scalar = Zeroizing::new(reader.array::<32>()?);
        let exponent = Exponent::read(&scalar).ok_or(DecodeError::Value("scalar"))?;
        let question = reader.var_bytes("question", QUESTION_MAX)?;
        reader.finish()?;
        let question = str::from_utf8(question).map_err(|_| DecodeError::Value("question"))?;
        Ok(Self { exponent, share, run, question: QuestionText::new(question.to_owned())? })
    }
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asker({:?})", self.run)
    }
}

/// The side that has answered, until it is confirmed.
#[derive(Debug)]
pub struct Answerer {
    expected: Proof,
}

impl Answerer {
    /// Answers a question: the share and the proof to send.
    ///
    /// # Errors
    /// [`ShareError`] when the asker's share is none. It is refused like a wrong answer.
    pub fn answer(
        context: &QuestionContext<'_>,
        theirs: &Share,
        answer: &Answer,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Self, Share, Confirmation), ShareError> {
        let (exponent, share) = context.draw(answer, rng);
        let proofs = Proofs::new(&exponent, theirs, &context.run, (theirs, &share), context.question)?;
        let confirmation = proofs.answerer.confirmation();
        Ok((Self { expected: proofs.asker }, share, confirmation))
    }

    /// Whether the asker has proved to have typed the same.
    #[must_use]
    pub fn compare(self, proof: &Confirmation) -> bool {
        self.expected.is(proof)
    }

    /// The state, for a store: what the asker has to prove, 64 bytes.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.expected.0.to_vec())
    }

    /// Reads what [`Answerer::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] for everything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let expected = Proof(Box::new(reader.array()?));
        reader.finish()?;
        Ok(Self { expected })
    }
}

/// What one side has to show. Secret until it does.
#[derive(ZeroizeOnDrop)]
struct Proof(Box<[u8; Confirmation::LEN]>);

impl Proof {
    fn new(key: &hmac::Key, role: u8, transcript: &[u8]) -> Self {
        let tag = hmac::sign(key, &[&[role][..], transcript].concat());
        let mut bytes = Box::new([0; Confirmation::LEN]);
        bytes.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    fn is(&self, shown: &Confirmation) -> bool {
        verify_slices_are_equal(self.0.as_slice(), shown.as_bytes()).is_ok()
    }

    fn confirmation(&self) -> Confirmation {
        Confirmation::new(*self.0)
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(secret)")
    }
}

/// What both sides have to show.
struct Proofs {
    asker: Proof,
    answerer: Proof,
}

impl Proofs {
    /// `own` is this side's scalar, `theirs` the other's share; `shares` are both, the asker's first.
    fn new(
        own: &Exponent,
        theirs: &Share,
        run: &RunId,
        (asker, answerer): (&Share, &Share),
        question: &QuestionText,
    ) -> Result<Self, ShareError> {
        let mut transcript = lv_cat(&[asker.as_bytes(), question.as_str().as_bytes()]);
        transcript.extend(lv_cat(&[answerer.as_bytes().as_slice(), &[]]));
        let shared = own.times(theirs.as_bytes()).ok_or(ShareError)?;
        let key = IntermediateKey::new(run.as_bytes(), &shared, &transcript).mac_key(run.as_bytes());
        let mac = hmac::Key::new(hmac::HMAC_SHA512, key.as_slice());
        let proof = |role| Proof::new(&mac, role, &transcript);
        Ok(Self { asker: proof(ASKER), answerer: proof(ANSWERER) })
    }
}
