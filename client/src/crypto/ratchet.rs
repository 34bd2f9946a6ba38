//! A session: the Double Ratchet with header encryption, as published by Signal (section 4 of its specification).
//!
//! ```text
//!              initiator                                 responder
//!   root key                   of X3DH                   root key
//!   sends under                header key                receives next under
//!   receives next under        next header key           sends next under
//!   ratchet key                drawn                     its signed prekey
//!
//!   a step:   root key, chain key, next header key = HKDF-SHA-256( root key, DH(own ratchet key, theirs) )
//!   a message: chain key ─HMAC 01─▶ message key, ─HMAC 02─▶ next chain key
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `keys` | the key derivations, and sealing under their keys |
//! | `header` | what stands before a message, encrypted |
//! | `skipped` | keys of messages that were overtaken |
//! | `codec` | how a session lies in the store |
//! | `recorded` | in tests: which key has sealed under which nonce |
//!
//! A message is decrypted on a copy of what it changes, and that takes its place once the message has opened: nobody who
//! is not at the other end can change anything (faults 41). The own half of a step is made when there is something to
//! send, with fresh randomness.

mod codec;
mod header;
mod keys;
#[cfg(test)]
pub(crate) mod recorded;
mod skipped;

use std::fmt;

use rand_core::CryptoRng;
use sotto_behaviours::noise::{AllZero, Secret};
use sotto_proto::id::X25519Key;
use sotto_proto::limits::SKIP_MAX;
use sotto_proto::time::UnixSeconds;
use zeroize::Zeroizing;

use self::header::{Header, SEALED_HEADER};
use self::keys::{Key, body_associated, open_body, seal_body};
use self::skipped::Skipped;
use super::SharedSecrets;

/// Why nothing can be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    /// The responder has no key of the other side before something came.
    #[error("nothing has come from the other side yet")]
    NotYet,
    /// The other side's key gives zeros.
    #[error("the session: {0}")]
    AllZero(#[from] AllZero),
    /// A chain of 2^32 messages is at its end.
    #[error("the session has no numbers left")]
    Exhausted,
}

/// Why a message does not decrypt. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// Too short to be one.
    #[error("too short for a message")]
    Short,
    /// No header key opens it: it is of another session, forged, or older than what is remembered.
    #[error("it is not of this session, or older than what is remembered")]
    Unknown,
    /// It was decrypted before, or its key is gone.
    #[error("it was decrypted before")]
    Repeated,
    /// It claims that more messages were lost than may be.
    #[error("it skips {skipped} messages, at most {SKIP_MAX} may be")]
    TooManySkipped {
        /// How many.
        skipped: u32,
    },
    /// The header opens and the body does not: only the other side, or somebody who stole its keys, can make that.
    #[error("its body does not open")]
    Forged,
    /// Its ratchet key gives zeros.
    #[error("the session: {0}")]
    AllZero(#[from] AllZero),
}

/// What was decrypted.
#[derive(Debug)]
pub struct Decrypted {
    /// The plaintext.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// Whether keys of overtaken messages came or went: [`Ratchet::encode_skipped`] is another then.
    pub skipped_changed: bool,
}

/// Keys in one direction, from one step to the next.
#[derive(Clone)]
struct Chain {
    key: Key,
    header: Key,
    number: u32,
}

impl Chain {
    /// The next message's key; the chain is behind it then.
    fn next(&mut self) -> Key {
        let (message, next) = self.key.message_and_next();
        self.key = next;
        self.number = self.number.wrapping_add(1);
        message
    }
}

/// One side of a session.
pub struct Ratchet {
    root: Key,
    /// The own ratchet key: that of `sending`, or the one before where there is none.
    own: Secret,
    /// The other side's.
    peer: Option<X25519Key>,
    /// `None` from a step of the other side to the first message after it.
    sending: Option<Chain>,
    receiving: Option<Chain>,
    /// Messages of the sending chain before.
    previous: u32,
    next_sending: Key,
    next_receiving: Key,
    skipped: Skipped,
}

/// Where a header was found to belong.
enum Found {
    /// The receiving chain.
    Current(Header),
    /// The one after it.
    Next(Header),
    /// One before it.
    Earlier(Key, Header),
}

impl Ratchet {
    /// The initiator's side, by the responder's signed prekey.
    ///
    /// # Errors
    /// [`AllZero`]
    pub fn initiator(
        secrets: &SharedSecrets,
        prekey: &X25519Key,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, EncryptError> {
        let [root, header, next_header] = secrets.parts().map(Key::new);
        let own = Secret::generate(rng);
        let (root, chain, next_sending) = root.step(&*own.agree(prekey)?);
        Ok(Self {
            root,
            own,
            peer: Some(*prekey),
            sending: Some(Chain { key: chain, header, number: 0 }),
            receiving: None,
            previous: 0,
            next_sending,
            next_receiving: next_header,
            skipped: Skipped::default(),
        })
    }

    /// The responder's side.
    #[must_use]
    pub fn responder(secrets: &SharedSecrets, prekey: Secret) -> Self {
        let [root, header, next_header] = secrets.parts().map(Key::new);
        Self {
            root,
            own: prekey,
            peer: None,
            sending: None,
            receiving: None,
            previous: 0,
            next_sending: next_header,
            next_receiving: header,
            skipped: Skipped::default(),
        }
    }

    /// Encrypts a message bound to `associated`. The changed session must be on disk before the message leaves.
    ///
    /// # Errors
    /// [`EncryptError`]
    pub fn encrypt(
        &mut self,
        associated: &[u8],
        plaintext: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, EncryptError> {
        if self.sending.is_none() {
            self.step(rng)?;
        }
        let chain = self.sending.as_mut().ok_or(EncryptError::NotYet)?;
        if chain.number == u32::MAX {
            return Err(EncryptError::Exhausted);
        }
        let header = Header { key: self.own.public(), previous: self.previous, number: chain.number };
        let sealed = header.seal(&chain.header, associated, rng);
        let key = chain.next();
        let mut message = Vec::with_capacity(sealed.len() + keys::BODY_OVERHEAD + plaintext.len());
        message.extend_from_slice(&sealed);
        seal_body(&key, &body_associated(associated, &sealed), plaintext, rng, &mut message);
        Ok(message)
    }

    /// The own half of a step.
    fn step(&mut self, rng: &mut dyn CryptoRng) -> Result<(), EncryptError> {
        let peer = self.peer.ok_or(EncryptError::NotYet)?;
        let own = Secret::generate(rng);
        let (root, chain, next) = self.root.step(&*own.agree(&peer)?);
        let header = std::mem::replace(&mut self.next_sending, next);
        self.sending = Some(Chain { key: chain, header, number: 0 });
        (self.root, self.own) = (root, own);
        Ok(())
    }

    /// Decrypts a message bound to `associated`.
    ///
    /// # Errors
    /// [`DecryptError`]; nothing has changed then.
    pub fn decrypt(&mut self, associated: &[u8], message: &[u8], now: UnixSeconds) -> Result<Decrypted, DecryptError> {
        let (sealed, body) = message.split_first_chunk::<SEALED_HEADER>().ok_or(DecryptError::Short)?;
        let bound = body_associated(associated, sealed);
        match self.find(sealed, associated)? {
            Found::Earlier(header_key, header) => self.overtaken(&header_key, &header, &bound, body),
            Found::Current(header) => self.current(&header, &bound, body, now),
            Found::Next(header) => self.after_a_step(&header, &bound, body, now),
        }
    }

    fn find(&self, sealed: &[u8; SEALED_HEADER], associated: &[u8]) -> Result<Found, DecryptError> {
        if let Some(chain) = &self.receiving
            && let Some(header) = Header::open(&chain.header, associated, sealed)
        {
            let is_past = header.number < chain.number;
            return Ok(if is_past { Found::Earlier(chain.header.clone(), header) } else { Found::Current(header) });
        }
        if let Some(header) = Header::open(&self.next_receiving, associated, sealed) {
            return Ok(Found::Next(header));
        }
        let earlier = self.skipped.header_keys().find_map(|key| Some((key, Header::open(key, associated, sealed)?)));
        earlier.map(|(key, header)| Found::Earlier(key.clone(), header)).ok_or(DecryptError::Unknown)
    }

    /// A message that later ones have overtaken.
    fn overtaken(
        &mut self,
        header_key: &Key,
        header: &Header,
        bound: &[u8],
        body: &[u8],
    ) -> Result<Decrypted, DecryptError> {
        let key = self.skipped.key(header_key, header.number).ok_or(DecryptError::Repeated)?;
        let plaintext = open_body(key, bound, body).ok_or(DecryptError::Forged)?;
        self.skipped.remove(header_key, header.number);
        Ok(Decrypted { plaintext, skipped_changed: true })
    }

    /// A message of the receiving chain.
    fn current(
        &mut self,
        header: &Header,
        bound: &[u8],
        body: &[u8],
        now: UnixSeconds,
    ) -> Result<Decrypted, DecryptError> {
        let mut chain = self.receiving.clone().ok_or(DecryptError::Unknown)?;
        let skipped = skip(&mut chain, header.number)?;
        let plaintext = open_body(&chain.next(), bound, body).ok_or(DecryptError::Forged)?;
        let skipped_changed = !skipped.is_empty();
        self.skipped.add(&chain.header, skipped, now);
        self.receiving = Some(chain);
        Ok(Decrypted { plaintext, skipped_changed })
    }

    /// The first message after a step of the other side.
    fn after_a_step(
        &mut self,
        header: &Header,
        bound: &[u8],
        body: &[u8],
        now: UnixSeconds,
    ) -> Result<Decrypted, DecryptError> {
        let mut before = self.receiving.clone();
        // Of a chain that was left too far behind no keys are kept: were the message refused, so were all that follow it.
        let left = before.as_mut().and_then(|chain| skip(chain, header.previous).ok()).unwrap_or_default();
        let (root, key, next_receiving) = self.root.step(&*self.own.agree(&header.key)?);
        let mut chain = Chain { key, header: self.next_receiving.clone(), number: 0 };
        let skipped = skip(&mut chain, header.number)?;
        let plaintext = open_body(&chain.next(), bound, body).ok_or(DecryptError::Forged)?;
        let skipped_changed = !left.is_empty() || !skipped.is_empty();
        if let Some(before) = &before {
            self.skipped.add(&before.header, left, now);
        }
        self.skipped.add(&chain.header, skipped, now);
        (self.root, self.next_receiving) = (root, next_receiving);
        self.peer = Some(header.key);
        self.receiving = Some(chain);
        if let Some(sent) = self.sending.take() {
            self.previous = sent.number;
        }
        Ok(Decrypted { plaintext, skipped_changed })
    }

    /// Forgets keys of chains whose last message was overtaken before then. True if there were any.
    pub fn drop_skipped_before(&mut self, time: UnixSeconds) -> bool {
        self.skipped.drop_before(time)
    }
}

/// Keys of the messages of a chain before `number`, which were overtaken or are lost.
fn skip(chain: &mut Chain, number: u32) -> Result<Vec<(u32, Key)>, DecryptError> {
    let skipped = number.saturating_sub(chain.number);
    if skipped > SKIP_MAX {
        return Err(DecryptError::TooManySkipped { skipped });
    }
    Ok((0..skipped).map(|_| (chain.number, chain.next())).collect())
}

impl fmt::Debug for Ratchet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |chain: &Option<Chain>| chain.as_ref().map(|chain| chain.number);
        let (sent, received) = (number(&self.sending), number(&self.receiving));
        write!(f, "Ratchet(sent {sent:?}, received {received:?}, {} skipped)", self.skipped.len())
    }
}

#[cfg(test)]
mod tests;
