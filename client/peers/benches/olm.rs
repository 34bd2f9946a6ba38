//! A session's work for 1 KiB of text beside that of Olm, Matrix's double ratchet, in vodozemac. Olm encrypts no headers:
//! what is compared does less there.
#![expect(clippy::expect_used, reason = "a bench stops at the first thing that is wrong")]

#[path = "../../../behaviours/benches/support/ratio.rs"]
mod ratio;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_behaviours::noise::Secret;
use sotto_client::crypto::{Bundle, InitialHeader, Ratchet, initiate, respond};
use sotto_proto::account::{Account, Entropy};
use sotto_proto::address::Address;
use sotto_proto::id::PublicKey;
use sotto_proto::time::UnixSeconds;
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{self, OlmMessage, SessionConfig};

const TEXT: [u8; 1024] = [b'x'; 1024];
/// As long as a session's is (B12).
const ASSOCIATED: [u8; 127] = [7; 127];
const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

/// Two of our accounts, of which the second is written to by its bundle.
struct Accounts {
    initiator: Account,
    responder: Account,
    prekey: Secret,
    rng: ChaCha20Rng,
}

impl Accounts {
    fn new() -> Self {
        let [initiator, responder] = [1, 2].map(|byte| Account::new(&Entropy::take(&mut [byte; 16])));
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        Self { initiator, responder, prekey: Secret::generate(&mut rng), rng }
    }

    /// What somebody who begins a session has before: a bundle, and the secret of its first one-time key.
    fn bundle(&mut self) -> (Bundle, Secret) {
        let (account, mailbox) = (self.responder.address(), Address::mailbox(&PublicKey::new([6; 32])));
        let prekey = self.prekey.public();
        let (bundle, mut secrets) = Bundle::create((account, 0), mailbox, 1, NOW, prekey, &mut self.rng);
        (bundle, secrets.take(0).expect("not taken yet"))
    }

    /// A session: the first message is encrypted and decrypted.
    fn session(&mut self, bundle: &Bundle, one_time: &Secret) -> [Ratchet; 2] {
        let agreed = initiate(&self.initiator, bundle, 0, &mut self.rng).expect("sound keys");
        let mut initiator =
            Ratchet::initiator(&agreed.secrets, bundle.prekey(), &mut self.rng).expect("a sound prekey");
        let message = initiator.encrypt(&ASSOCIATED, &TEXT, &mut self.rng).expect("can send");
        let (initiator_id, ephemeral) = (self.initiator.address(), agreed.ephemeral);
        let header = InitialHeader { initiator: initiator_id, device: 0, epoch: 1, ephemeral };
        let agreed = respond(&self.responder, &self.prekey, one_time, &header).expect("sound keys");
        let mut responder = Ratchet::responder(&agreed.secrets, self.prekey.clone());
        responder.decrypt(&ASSOCIATED, &message, NOW).expect("opens");
        [initiator, responder]
    }
}

/// Two of theirs.
struct OlmAccounts {
    initiator: olm::Account,
    responder: olm::Account,
}

impl OlmAccounts {
    fn new() -> Self {
        Self { initiator: olm::Account::new(), responder: olm::Account::new() }
    }

    fn one_time_key(&mut self) -> Curve25519PublicKey {
        self.responder.generate_one_time_keys(1);
        let key = self.responder.one_time_keys().into_values().next().expect("one was made");
        self.responder.mark_keys_as_published();
        key
    }

    fn session(&mut self, one_time: Curve25519PublicKey) -> [olm::Session; 2] {
        let (config, identity) = (SessionConfig::version_1(), self.responder.curve25519_key());
        let mut initiator = self.initiator.create_outbound_session(config, identity, one_time).expect("sound keys");
        let OlmMessage::PreKey(message) = initiator.encrypt(TEXT).expect("can send") else {
            return self.session(one_time);
        };
        let identity = self.initiator.curve25519_key();
        let created = self.responder.create_inbound_session(config, identity, &message).expect("opens");
        [initiator, created.session]
    }
}

/// A message from the first to the second.
fn exchange([from, to]: &mut [Ratchet; 2], rng: &mut ChaCha20Rng) {
    let message = from.encrypt(&ASSOCIATED, black_box(&TEXT), rng).expect("can send");
    black_box(to.decrypt(&ASSOCIATED, &message, NOW).expect("opens"));
}

fn olm_exchange([from, to]: &mut [olm::Session; 2]) {
    let message = from.encrypt(black_box(&TEXT)).expect("can send");
    black_box(to.decrypt(&message).expect("opens"));
}

/// Each message comes from whoever received the last one: a step every time.
fn turn(ends: &mut [Ratchet; 2], rng: &mut ChaCha20Rng) {
    ends.reverse();
    exchange(ends, rng);
}

fn olm_turn(ends: &mut [olm::Session; 2]) {
    ends.reverse();
    olm_exchange(ends);
}

/// Sessions in which both have sent.
fn sessions() -> ([Ratchet; 2], [olm::Session; 2], ChaCha20Rng) {
    let mut accounts = Accounts::new();
    let (bundle, one_time) = accounts.bundle();
    let mut ours = accounts.session(&bundle, &one_time);
    let mut accounts_of_olm = OlmAccounts::new();
    let key = accounts_of_olm.one_time_key();
    let mut theirs = accounts_of_olm.session(key);
    for _ in 0..2 {
        turn(&mut ours, &mut accounts.rng);
        olm_turn(&mut theirs);
    }
    (ours, theirs, accounts.rng)
}

fn ratios() {
    let (mut ours, mut theirs, mut rng) = sessions();
    let base = || ratio::timed(|| olm_exchange(&mut theirs));
    ratio::print("a message of a chain, both sides", "Olm", base, || ratio::timed(|| exchange(&mut ours, &mut rng)));
    let base = || ratio::timed(|| olm_turn(&mut theirs));
    ratio::print("a message with a step, both sides", "Olm", base, || ratio::timed(|| turn(&mut ours, &mut rng)));
    let (mut accounts, mut accounts_of_olm) = (Accounts::new(), OlmAccounts::new());
    let base = || {
        let key = accounts_of_olm.one_time_key();
        ratio::timed(|| drop(black_box(accounts_of_olm.session(key))))
    };
    ratio::print("a session and its first message, both sides", "Olm", base, || {
        let (bundle, one_time) = accounts.bundle();
        ratio::timed(|| drop(black_box(accounts.session(&bundle, &one_time))))
    });
}

fn olm(c: &mut Criterion) {
    ratios();
    let (mut ours, mut theirs, mut rng) = sessions();
    let mut group = c.benchmark_group("session");
    group.bench_function("chain", |b| b.iter(|| exchange(&mut ours, &mut rng)));
    group.bench_function("chain_olm", |b| b.iter(|| olm_exchange(&mut theirs)));
    group.bench_function("step", |b| b.iter(|| turn(&mut ours, &mut rng)));
    group.bench_function("step_olm", |b| b.iter(|| olm_turn(&mut theirs)));
    group.finish();
}

criterion_group!(benches, olm);
criterion_main!(benches);
