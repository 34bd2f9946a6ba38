use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde::Deserialize;
use sotto_proto::id::X25519Key;

use super::*;

/// Computed by another program from the description above; that program gives the draft's own vectors, too.
const VECTORS: &str = include_str!("../../../tests/data/question.json");

#[derive(Deserialize)]
struct Vector {
    chain: String,
    asker: String,
    answerer: String,
    session: String,
    run: String,
    question: String,
    typed: String,
    asker_scalar: String,
    answerer_scalar: String,
    asker_share: String,
    answerer_share: String,
    asker_confirmation: String,
    answerer_confirmation: String,
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

/// What a run is bound to, owned; each test changes what it is about.
#[derive(Clone)]
struct Run {
    chain: ChainId,
    asker: Address,
    answerer: Address,
    session: SessionTag,
    run: RunId,
    question: QuestionText,
}

fn account(byte: u8) -> Address {
    Address::account(&X25519Key::new([byte; 32]))
}

impl Run {
    fn new() -> Self {
        Self {
            chain: ChainId::new([1; 32]),
            asker: account(2),
            answerer: account(3),
            session: SessionTag::new([4; 16]),
            run: RunId::new([5; 16]),
            question: QuestionText::new("Where did we meet?".to_owned()).unwrap(),
        }
    }

    fn context(&self) -> QuestionContext<'_> {
        QuestionContext {
            chain: &self.chain,
            asker: self.asker,
            answerer: self.answerer,
            session: &self.session,
            run: self.run,
            question: &self.question,
        }
    }

    fn ask(&self, answer: &str, rng: &mut ChaCha20Rng) -> (Asker, Share) {
        Asker::ask(&self.context(), &typed(answer), rng)
    }

    fn answer(&self, theirs: &Share, answer: &str, rng: &mut ChaCha20Rng) -> (Answerer, Share, Confirmation) {
        Answerer::answer(&self.context(), theirs, &typed(answer), rng).unwrap()
    }
}

fn typed(answer: &str) -> Answer {
    Answer::new(answer).unwrap()
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([6; 32])
}

/// Both sides of a run, each with its own view of it: what asker and answerer learn.
fn run(asks: (&Run, &str), answers: (&Run, &str), rng: &mut ChaCha20Rng) -> (bool, bool) {
    let (asker, share) = asks.0.ask(asks.1, rng);
    let (answerer, theirs, proof) = answers.0.answer(&share, answers.1, rng);
    match asker.compare(&theirs, &proof) {
        Some(confirmation) => (true, answerer.compare(&confirmation)),
        // It refuses. No confirmation that it could have sent instead is one.
        None => (false, answerer.compare(&proof)),
    }
}

#[test]
fn shares_and_confirmations_are_those_of_the_vectors() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let run = Run {
            chain: ChainId::new(array(&vector.chain)),
            asker: vector.asker.parse().unwrap(),
            answerer: vector.answerer.parse().unwrap(),
            session: SessionTag::new(array(&vector.session)),
            run: RunId::new(array(&vector.run)),
            question: QuestionText::new(vector.question).unwrap(),
        };
        let answer = typed(&vector.typed);
        let generator = cpace::generator(answer.as_bytes(), &run.context().channel(), run.run.as_bytes());
        let scalar = |hex: &str| Exponent::read(&array(hex)).unwrap();
        let (asks, answers) = (scalar(&vector.asker_scalar), scalar(&vector.answerer_scalar));
        let (first, second) = (asks.times_generator(&generator), answers.times_generator(&generator));
        assert_eq!((hex::encode(first), hex::encode(second)), (vector.asker_share, vector.answerer_share));
        let shares = (Share::new(first), Share::new(second));
        for (own, theirs) in [(&asks, &shares.1), (&answers, &shares.0)] {
            let proofs = Proofs::new(own, theirs, &run.run, (&shares.0, &shares.1), &run.question).unwrap();
            assert_eq!(hex::encode(*proofs.asker.0), vector.asker_confirmation);
            assert_eq!(hex::encode(*proofs.answerer.0), vector.answerer_confirmation);
        }
    }
}

#[test]
fn the_same_answer_convinces_both_and_another_one_neither() {
    let (same, rng) = (Run::new(), &mut rng());
    assert_eq!(run((&same, "At the lake"), (&same, " at  the LAKE "), rng), (true, true));
    assert_eq!(run((&same, "at the lake"), (&same, "at the sea"), rng), (false, false));
    assert_eq!(run((&same, "at the lake"), (&same, "at the lake!"), rng), (false, false));
}

#[test]
fn whoever_sees_another_run_has_no_answer_in_common() {
    let (one, rng) = (Run::new(), &mut rng());
    let others = [
        Run { chain: ChainId::new([9; 32]), ..one.clone() },
        Run { asker: account(9), ..one.clone() },
        Run { answerer: account(9), ..one.clone() },
        Run { asker: one.answerer, answerer: one.asker, ..one.clone() },
        Run { session: SessionTag::new([9; 16]), ..one.clone() },
        Run { run: RunId::new([9; 16]), ..one.clone() },
        Run { question: QuestionText::new("Where will we meet?".to_owned()).unwrap(), ..one.clone() },
    ];
    for other in others {
        assert_eq!(run((&one, "at the lake"), (&other, "at the lake"), rng), (false, false));
        assert_eq!(run((&other, "at the lake"), (&one, "at the lake"), rng), (false, false));
    }
}

#[test]
fn who_stands_between_and_hands_everything_on_is_found_out() {
    // Alice sees Mallory as the other; so does Bob, by another account of hers.
    let rng = &mut rng();
    let (alice, bob) = (Run::new(), Run { asker: account(7), answerer: account(8), ..Run::new() });
    let (asker, share) = alice.ask("at the lake", rng);
    let (answerer, theirs, proof) = bob.answer(&share, "at the lake", rng);
    assert!(asker.compare(&theirs, &proof).is_none());
    assert!(!answerer.compare(&proof), "nor is his own proof one for the asker");
}

#[test]
fn what_somebody_sent_serves_nobody_as_an_answer_to_himself() {
    let (alice, rng) = (Run::new(), &mut rng());
    // The other side sends Alice's question back to her as its own, and what she answers as its answer to hers.
    let (asker, share) = alice.ask("at the lake", rng);
    let back = Run { asker: alice.answerer, answerer: alice.asker, ..alice.clone() };
    let (_, theirs, proof) = back.answer(&share, "at the lake", rng);
    assert!(asker.compare(&theirs, &proof).is_none());
    // Her own share, with any proof.
    let (asker, share) = alice.ask("at the lake", rng);
    assert!(asker.compare(&share, &proof).is_none());
    // Even with the proof that belongs to it.
    let (asker, share) = alice.ask("at the lake", rng);
    let proofs = Proofs::new(&asker.exponent, &share, &alice.run, (&share, &share), &alice.question).unwrap();
    assert!(asker.compare(&share, &proofs.answerer.confirmation()).is_none());
    // The answerer's proof back to it as the asker's.
    let (asker, share) = alice.ask("at the lake", rng);
    let (answerer, theirs, proof) = alice.answer(&share, "at the lake", rng);
    assert!(!answerer.compare(&proof));
    assert!(asker.compare(&theirs, &proof).is_some());
}

#[test]
fn a_repeated_answer_serves_no_other_run() {
    let (alice, rng) = (Run::new(), &mut rng());
    let (first, share) = alice.ask("at the lake", rng);
    let (answerer, theirs, proof) = alice.answer(&share, "at the lake", rng);
    let confirmation = first.compare(&theirs, &proof).unwrap();
    // Even where the run has the same id, because the asker has lost what it knew.
    let (second, again) = alice.ask("at the lake", rng);
    assert_ne!(again, share);
    assert!(second.compare(&theirs, &proof).is_none());
    let (other, ..) = alice.answer(&again, "at the lake", rng);
    assert!(!other.compare(&confirmation));
    assert!(answerer.compare(&confirmation));
}

#[test]
fn shares_that_are_none_are_refused_on_both_sides() {
    let (alice, rng) = (Run::new(), &mut rng());
    let minus_one = array("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
    for bad in [[0; 32], [0xff; 32], minus_one, [1; 32]] {
        let bad = Share::new(bad);
        let answered = Answerer::answer(&alice.context(), &bad, &typed("at the lake"), rng);
        assert_eq!(answered.err(), Some(ShareError), "{bad:?}");
        let (asker, _) = alice.ask("at the lake", rng);
        assert!(asker.compare(&bad, &Confirmation::new([0; 64])).is_none());
    }
}

#[test]
fn a_run_goes_on_after_both_sides_were_restarted() {
    let (alice, rng) = (Run::new(), &mut rng());
    let (asker, share) = alice.ask("at the lake", rng);
    let asker = Asker::decode(&asker.encode()).unwrap();
    let (answerer, theirs, proof) = alice.answer(&share, "at the lake", rng);
    let answerer = Answerer::decode(&answerer.encode()).unwrap();
    let confirmation = asker.compare(&theirs, &proof).unwrap();
    assert!(answerer.compare(&confirmation));
}

#[test]
fn what_is_no_state_is_not_read() {
    let (asker, _) = Run::new().ask("at the lake", &mut rng());
    let whole = asker.encode();
    assert!((0..whole.len()).all(|length| Asker::decode(&whole[..length]).is_err()));
    assert!(Asker::decode(&[&whole[..], &[0]].concat()).is_err());
    let mut scalar = whole.to_vec();
    scalar[48..80].fill(0xff);
    assert!(Asker::decode(&scalar).is_err(), "not canonical");
    assert!(Answerer::decode(&[0; 63]).is_err() && Answerer::decode(&[0; 65]).is_err());
}

#[test]
fn debug_shows_nothing_of_a_run() {
    let (alice, rng) = (Run::new(), &mut rng());
    let (asker, share) = alice.ask("at the lake", rng);
    let (answerer, ..) = alice.answer(&share, "at the lake", rng);
    assert_eq!(format!("{asker:?}"), "Asker(RunId(05050505))");
    assert_eq!(format!("{answerer:?}"), "Answerer { expected: Proof(secret) }");
    assert!(!format!("{:?}", alice.context()).contains("meet"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn both_learn_the_same_and_it_is_true(
        seed: [u8; 32], id: [u8; 16], one in "[ab ]{0,2}x", other in "[ab ]{0,2}x",
    ) {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let same = Run { run: RunId::new(id), ..Run::new() };
        let expected = typed(&one).as_bytes() == typed(&other).as_bytes();
        prop_assert_eq!(run((&same, &one), (&same, &other), &mut rng), (expected, expected));
    }

    #[test]
    fn whatever_is_changed_on_the_way_is_a_no(
        seed: [u8; 32], which in 0_usize..4, at in 0_usize..32, bit in 0_u32..8,
    ) {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let same = Run::new();
        let changed = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= 1 << bit;
            bytes
        };
        let change = |of: usize, bytes: &[u8]| if of == which { changed(bytes) } else { bytes.to_vec() };
        let share = |bytes: Vec<u8>| Share::new(bytes.try_into().unwrap());
        let proof = |bytes: Vec<u8>| Confirmation::new(bytes.try_into().unwrap());
        let (asker, first) = same.ask("at the lake", &mut rng);
        let first = share(change(0, first.as_bytes()));
        let answered = Answerer::answer(&same.context(), &first, &typed("at the lake"), &mut rng);
        let Ok((answerer, second, shown)) = answered else { return Ok(()) };
        let (second, shown) = (share(change(1, second.as_bytes())), proof(change(2, shown.as_bytes())));
        match asker.compare(&second, &shown) {
            Some(confirmation) => {
                prop_assert_eq!(which, 3);
                prop_assert!(!answerer.compare(&proof(change(3, confirmation.as_bytes()))));
            }
            None => prop_assert!(which < 3),
        }
    }

    #[test]
    fn whatever_comes_never_panics(
        share: [u8; 32], proof: [[u8; 32]; 2], state in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let same = Run::new();
        let (asker, _) = same.ask("at the lake", &mut rng());
        let proof = Confirmation::new(proof.concat().try_into().unwrap());
        prop_assert!(asker.compare(&Share::new(share), &proof).is_none());
        if let Ok((answerer, ..)) = Answerer::answer(&same.context(), &Share::new(share), &typed("x"), &mut rng()) {
            prop_assert!(!answerer.compare(&proof));
        }
        let _ = Asker::decode(&state);
    }
}
