//! Verification by question and answer: the steps of a run, and how many there may be.
//!
//! A run is bound to the session that its question came by, and ends when another one takes that one's place. What a step is
//! computed from is gone once the step is taken: one run is one guess. Each end counts its own runs, asked and answered.

use rand_core::CryptoRng;
use sotto_proto::address::Address;
use sotto_proto::content::{Body, Content, Question, QuestionText, RunId, Step};

use super::hearing::Heard;
use super::notice::{Change, Notice};
use super::speaking::{TTL, draw, for_sending, speak};
use super::{Error, Me};
use crate::crypto::{Answer, Answerer, Asker, QuestionContext};
use crate::store::{
    Contact, ContactState, Letter, QuestionRun, RunState, Session, StoreError, Transaction, VerifiedBy,
};

/// Asks a contact something that only it knows. It is queued.
///
/// # Errors
/// [`Error::TooOften`], and those of [`super::say`].
pub fn ask_question(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    question: &QuestionText,
    answer: &Answer,
    rng: &mut dyn CryptoRng,
) -> Result<RunId, Error> {
    let (contact, session) = speakable(tx, me, account)?;
    count(tx, me, &contact)?;
    end_open(tx, account, true)?;
    let mut run = [0; RunId::LEN];
    rng.fill_bytes(&mut run);
    let run = RunId::new(run);
    let context = QuestionContext {
        chain: me.chain,
        asker: me.address(),
        answerer: *account,
        session: &session.tag,
        run,
        question,
    };
    let (asker, share) = Asker::ask(&context, answer, rng);
    tx.add_question(&QuestionRun {
        account: *account,
        run,
        asked: true,
        session: session.tag,
        question: question.clone(),
        share: None,
        secret: Some(asker.encode()),
        state: RunState::Asked,
        created: me.now,
    })?;
    step(tx, me, account, Question { run, step: Step::Ask { question: question.clone(), share } }, rng)?;
    Ok(run)
}

/// The question of a contact that waits for an answer from here.
///
/// # Errors
/// [`Error::NoQuestion`]
pub fn open_question(tx: &Transaction<'_>, account: &Address) -> Result<QuestionRun, Error> {
    let open = |run: &QuestionRun| !run.asked && run.state == RunState::Asked;
    let name = || super::names::called(tx, account);
    match tx.questions_of(account)?.into_iter().find(open) {
        Some(run) => Ok(run),
        None => Err(Error::NoQuestion(name()?)),
    }
}

/// Answers the question of a contact that waits. Whether it was the same answer, its confirmation tells.
///
/// # Errors
/// [`Error::NoQuestion`], [`Error::TooOften`], and those of [`super::say`].
pub fn answer_question(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    answer: &Answer,
    rng: &mut dyn CryptoRng,
) -> Result<RunState, Error> {
    let run = open_question(tx, account)?;
    let (contact, session) = speakable(tx, me, account)?;
    let Some(share) = run.share.filter(|_| session.tag == run.session) else {
        return Err(Error::NoQuestion(contact.name));
    };
    count(tx, me, &contact)?;
    let context = QuestionContext {
        chain: me.chain,
        asker: *account,
        answerer: me.address(),
        session: &run.session,
        run: run.run,
        question: &run.question,
    };
    let (state, secret, said) = match Answerer::answer(&context, &share, answer, rng) {
        Ok((answerer, share, confirmation)) => {
            (RunState::Answered, Some(answerer.encode()), Step::Answer { share, confirmation })
        }
        // What was sent is no share: nobody honest does that.
        Err(_) => (RunState::Different, None, Step::Refuse),
    };
    tx.set_question(&run, state, secret.as_ref().map(|secret| secret.as_slice()))?;
    step(tx, me, account, Question { run: run.run, step: said }, rng)?;
    Ok(state)
}

/// Does not answer the question of a contact that waits, and tells it so.
///
/// # Errors
/// [`Error::NoQuestion`], and those of [`super::say`].
pub fn refuse_question(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    rng: &mut dyn CryptoRng,
) -> Result<(), Error> {
    let run = open_question(tx, account)?;
    tx.set_question(&run, RunState::Ended, None)?;
    step(tx, me, account, Question { run: run.run, step: Step::Refuse }, rng)
}

/// A step of the other side came, and is in the history.
pub(super) fn heard(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    session: &Session,
    content: &Content,
    question: &Question,
    rng: &mut dyn CryptoRng,
) -> Result<Heard, Error> {
    let account = session.account;
    let is_open = |run: &QuestionRun, state| run.session == session.tag && run.state == state;
    let find = |asked| tx.question(&account, &question.run, asked);
    let is_news = match &question.step {
        Step::Ask { question: text, share } => {
            end_open(tx, &account, false)?;
            tx.add_question(&QuestionRun {
                account,
                run: question.run,
                asked: false,
                session: session.tag,
                question: text.clone(),
                share: Some(*share),
                secret: None,
                // By a session that was replaced nobody is answered.
                state: if session.retired.is_none() { RunState::Asked } else { RunState::Ended },
                created: me.now,
            })?
        }
        Step::Answer { share, confirmation } => match find(true)?.filter(|run| is_open(run, RunState::Asked)) {
            None => false,
            Some(run) => {
                let asker = run.secret.as_ref().and_then(|secret| Asker::decode(secret).ok());
                let confirmed = asker.and_then(|asker| asker.compare(share, confirmation));
                end(tx, me, &run, confirmed.is_some())?;
                let next = confirmed.map_or(Step::Refuse, |confirmation| Step::Confirm { confirmation });
                match step(tx, me, &account, Question { run: run.run, step: next }, rng) {
                    Err(Error::Store(error)) => return Err(error.into()),
                    // The run is over whether the other side can be told or not.
                    Err(error) => tracing::debug!(%error, "a run ends untold"),
                    Ok(()) => {}
                }
                true
            }
        },
        Step::Confirm { confirmation } => match find(false)?.filter(|run| is_open(run, RunState::Answered)) {
            None => false,
            Some(run) => {
                let answerer = run.secret.as_ref().and_then(|secret| Answerer::decode(secret).ok());
                end(tx, me, &run, answerer.is_some_and(|answerer| answerer.compare(confirmation)))?;
                true
            }
        },
        Step::Refuse => {
            let asked = find(true)?.filter(|run| is_open(run, RunState::Asked));
            let answered = find(false)?.filter(|run| is_open(run, RunState::Answered) || is_open(run, RunState::Asked));
            match asked.or(answered) {
                None => false,
                Some(run) => {
                    let is_answered = run.state == RunState::Answered;
                    let state = if is_answered { RunState::Different } else { RunState::Ended };
                    tx.set_question(&run, state, None)?;
                    true
                }
            }
        }
    };
    if !is_news {
        return Ok(Heard::Nothing);
    }
    let letter = Letter::Message {
        sender: account,
        device: session.device,
        session: Some(session.tag),
        content: content.clone(),
    };
    let notices = vec![Notice::new(account, Change::Question(question.run))];
    Ok(Heard::Changed { letter: Some(letter), notices })
}

/// A run ends with a comparison. Who has the same answer is verified.
fn end(tx: &Transaction<'_>, me: &Me<'_>, run: &QuestionRun, same: bool) -> Result<(), StoreError> {
    tx.set_question(run, if same { RunState::Same } else { RunState::Different }, None)?;
    if same { tx.set_verified_by(&run.account, me.now, VerifiedBy::Question) } else { Ok(()) }
}

/// Earlier runs in the same direction that nobody has answered end with a new one.
fn end_open(tx: &Transaction<'_>, account: &Address, asked: bool) -> Result<(), StoreError> {
    for run in tx.questions_of(account)? {
        if run.asked == asked && run.state == RunState::Asked {
            tx.set_question(&run, RunState::Ended, None)?;
        }
    }
    Ok(())
}

/// A run begins here, if one may.
fn count(tx: &Transaction<'_>, me: &Me<'_>, contact: &Contact) -> Result<(), Error> {
    let mut attempts = tx.attempts(&contact.account)?;
    let now = me.now.seconds();
    if !attempts.may_begin(now) {
        return Err(Error::TooOften(contact.name.clone()));
    }
    attempts.note(now);
    Ok(tx.set_attempts(&contact.account, &attempts)?)
}

/// A contact, and the session that it is written to by.
fn speakable(tx: &Transaction<'_>, me: &Me<'_>, account: &Address) -> Result<(Contact, Session), Error> {
    let contact = tx.contact(account)?.ok_or_else(|| Error::NoContact(account.to_string()))?;
    if contact.state == ContactState::Blocked {
        return Err(Error::Blocked(contact.name));
    }
    match for_sending(tx, me, account)? {
        Some(session) => Ok((contact, session)),
        None => Err(Error::NotAccepted(contact.name)),
    }
}

fn step(
    tx: &Transaction<'_>,
    me: &Me<'_>,
    account: &Address,
    question: Question,
    rng: &mut dyn CryptoRng,
) -> Result<(), Error> {
    speak(tx, me, account, Content::new(draw(rng), me.now, Body::Question(question)), TTL, rng)?;
    Ok(())
}
