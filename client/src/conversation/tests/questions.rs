//! Verification by question and answer.

use sotto_proto::content::{QuestionText, Step};

use super::*;
use crate::crypto::Answer;
use crate::store::{RunState, VerifiedBy};

fn ask_it(party: &mut Party, whom: Address, answer: &str) -> Result<(), Error> {
    let (question, answer) = (QuestionText::new("where?".to_owned()).unwrap(), Answer::new(answer).unwrap());
    party.change(|tx, me, rng| ask_question(tx, me, &whom, &question, &answer, rng)).map(|_| ())
}

fn answer_it(party: &mut Party, whom: Address, answer: &str) -> Result<RunState, Error> {
    let answer = Answer::new(answer).unwrap();
    party.change(|tx, me, rng| answer_question(tx, me, &whom, &answer, rng))
}

fn verified(party: &mut Party, whom: Address) -> Option<VerifiedBy> {
    party.store.transaction().unwrap().verified_by(&whom).unwrap()
}

fn states(party: &mut Party, whom: Address) -> Vec<RunState> {
    party.store.transaction().unwrap().questions_of(&whom).unwrap().into_iter().map(|run| run.state).collect()
}

/// What runs are computed from, wherever it lies.
fn secrets(party: &mut Party, whom: Address) -> usize {
    let runs = party.store.transaction().unwrap().questions_of(&whom).unwrap();
    runs.iter().filter(|run| run.secret.is_some() || run.share.is_some()).count()
}

#[test]
fn the_same_answer_verifies_both_and_another_one_neither() {
    for (mut alice, mut bob) in both_ways() {
        befriend(&mut alice, &mut bob);
        let (a, b) = (alice.id(), bob.id());
        for (typed, same) in [("the river", false), ("  The LAKE ", true)] {
            ask_it(&mut alice, b, "the lake").unwrap();
            bob.hear_all(&alice.outgoing());
            assert!(
                matches!(&bob.shown.last().unwrap().1.body, Body::Question(q) if matches!(q.step, Step::Ask { .. }))
            );
            answer_it(&mut bob, a, typed).unwrap();
            // The process dies and comes back in between.
            bob.store = bob.store.copy();
            alice.store = alice.store.copy();
            settle(&mut alice, &mut bob);
            let by = same.then_some(VerifiedBy::Question);
            assert_eq!((verified(&mut alice, b), verified(&mut bob, a)), (by, by), "{typed}");
            let state = if same { RunState::Same } else { RunState::Different };
            assert!(states(&mut alice, b).contains(&state) && states(&mut bob, a).contains(&state));
            assert_eq!((secrets(&mut alice, b), secrets(&mut bob, a)), (0, 0), "nothing is left to try answers with");
            pass(1, [&mut alice, &mut bob]);
        }
    }
}

#[test]
fn three_runs_a_day_begin_at_either_end() {
    let (mut alice, mut bob) = friends();
    let (a, b) = (alice.id(), bob.id());
    for _ in 0..3 {
        ask_it(&mut alice, b, "x").unwrap();
        bob.hear_all(&alice.outgoing());
        answer_it(&mut bob, a, "y").unwrap();
        settle(&mut alice, &mut bob);
    }
    assert!(matches!(ask_it(&mut alice, b, "x"), Err(Error::TooOften(_))));
    assert!(matches!(ask_it(&mut bob, a, "x"), Err(Error::TooOften(_))), "answers count as well");
    pass(1, [&mut alice, &mut bob]);
    ask_it(&mut alice, b, "x").unwrap();
}

#[test]
fn one_run_is_one_guess() {
    let (mut alice, mut bob) = friends();
    let (a, b) = (alice.id(), bob.id());
    ask_it(&mut alice, b, "the lake").unwrap();
    bob.hear_all(&alice.outgoing());
    // Bob keeps his state from before the answer, and guesses again with it.
    let before = bob.store.copy();
    answer_it(&mut bob, a, "the river").unwrap();
    alice.hear_all(&bob.outgoing());
    bob.store = before;
    answer_it(&mut bob, a, "the lake").unwrap();
    alice.hear_all(&bob.outgoing());
    assert_eq!(verified(&mut alice, b), None);
    assert!(matches!(answer_it(&mut bob, a, "x"), Err(Error::NoQuestion(_))));
}

#[test]
fn a_run_ends_with_its_session() {
    let (mut alice, mut bob) = friends();
    let (a, b) = (alice.id(), bob.id());
    ask_it(&mut alice, b, "the lake").unwrap();
    bob.hear_all(&alice.outgoing());
    pass(1, [&mut alice, &mut bob]);
    alice.renew(b);
    settle(&mut alice, &mut bob);
    assert!(matches!(answer_it(&mut bob, a, "the lake"), Err(Error::NoQuestion(_))));
    assert_eq!((secrets(&mut alice, b), verified(&mut alice, b)), (0, None));
}

#[test]
fn who_does_not_answer_says_so() {
    let (mut alice, mut bob) = friends();
    let (a, b) = (alice.id(), bob.id());
    ask_it(&mut alice, b, "x").unwrap();
    bob.hear_all(&alice.outgoing());
    bob.change(|tx, me, rng| refuse_question(tx, me, &a, rng)).unwrap();
    settle(&mut alice, &mut bob);
    assert_eq!((states(&mut alice, b), states(&mut bob, a)), (vec![RunState::Ended], vec![RunState::Ended]));
    assert_eq!((secrets(&mut alice, b), verified(&mut alice, b)), (0, None));
    assert_eq!(alice.notices.len(), 1);
}
