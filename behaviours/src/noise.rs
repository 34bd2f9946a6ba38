//! Noise handshakes over aws-lc: the keys, the two patterns of paths and tunnels and of sealed data, and nothing else.
//!
//! | pattern | where | who it shows |
//! | --- | --- | --- |
//! | `Noise_NK_25519_AESGCM_SHA256` | layers of a path's build (B5), tunnels (B6) | the responder |
//! | `Noise_N_25519_AESGCM_SHA256` | what is sealed to an address (B12) | nobody |
//! | `Noise_X_25519_AESGCM_SHA256` | what is authenticated inside of that | the sender, to the receiver |
//!
//! There is one suite, so nothing is negotiated. The handshake is snow's, the four primitives are aws-lc's (`resolver`);
//! what follows a handshake uses the raw split keys in place ([`crate::onion::keys`]). Randomness is injected: a
//! handshake draws 32 bytes for its ephemeral key, when it writes, and nothing else.

pub(crate) mod aead;
mod resolver;

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use rand_core::CryptoRng;
use snow::HandshakeState;
use snow::params::NoiseParams;
use sotto_proto::account::X25519Secret;
use sotto_proto::id::X25519Key;
use sotto_proto::limits::budget::{KEY, TAG};
use zeroize::Zeroizing;

use self::resolver::Resolver;

/// Bytes that sealing with pattern N adds: `e`, tag.
pub const N_LAYER: usize = KEY + TAG;
/// Bytes that sealing with pattern X adds: `e`, the sender's sealed key, tag.
pub const X_LAYER: usize = KEY + (KEY + TAG) + TAG;

/// Why a handshake came to nothing. Whoever shows it to a stranger shows no more than that.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Wrong key, changed bytes, a wrong length, or a key of small order.
    #[error("noise handshake: {0}")]
    Handshake(#[from] snow::Error),
    /// It opened, but the sender's key is not one that anybody can answer to.
    #[error("the sender's key is not a usable X25519 key")]
    Sender,
}

/// A key of small order: what would be shared with it is known to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is of small order")]
pub struct AllZero;

/// An X25519 private key, made ready for agreements, with its public half. Zeroized when the last use of it ends;
/// `Debug` shows the public half only.
///
/// Behind a pointer that handshakes share, so that no copy is made of it, and its public half is computed once: that
/// costs as much as half an agreement.
pub struct Secret(Arc<Ready>);

struct Ready {
    key: X25519Secret,
    /// aws-lc wipes what it frees.
    agreement: PrivateKey,
    public: X25519Key,
}

impl Secret {
    /// The secret in these bytes, clamped; zeroizes the originals.
    #[must_use]
    pub fn take(bytes: &mut [u8; 32]) -> Self {
        Self::new(X25519Secret::take(bytes))
    }

    /// A new one.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self::new(draw(rng))
    }

    /// The secret that belongs to the X25519 key which an Ed25519 seed's public key converts to: a server's.
    #[must_use]
    pub fn of_ed25519_seed(seed: &[u8; 32]) -> Self {
        Self::new(X25519Secret::of_ed25519_seed(seed))
    }

    #[expect(clippy::expect_used, reason = "every 32 bytes are an X25519 private key; only memory could be missing")]
    fn new(key: X25519Secret) -> Self {
        let agreement = PrivateKey::from_private_key(&agreement::X25519, key.expose()).expect("32 bytes are a key");
        let public = agreement.compute_public_key().expect("a private key has a public half");
        let public = X25519Key::try_from(public.as_ref()).expect("X25519 keys are 32 bytes");
        Self(Arc::new(Ready { key, agreement, public }))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> X25519Key {
        self.0.public
    }

    /// The bytes, for writing them to a store.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.key.expose()
    }

    /// The secret shared with `peer`.
    ///
    /// # Errors
    /// [`AllZero`] where it would be zeros, whatever the secret (RFC 7748, 6.1).
    pub fn agree(&self, peer: &X25519Key) -> Result<Zeroizing<[u8; 32]>, AllZero> {
        let peer = UnparsedPublicKey::new(&agreement::X25519, peer.as_bytes());
        agreement::agree(&self.0.agreement, peer, AllZero, |bytes| {
            let mut shared = Zeroizing::new([0; 32]);
            if bytes.len() != shared.len() || bytes.iter().fold(0, |seen, byte| seen | byte) == 0 {
                return Err(AllZero);
            }
            shared.copy_from_slice(bytes);
            Ok(shared)
        })
    }
}

impl Clone for Secret {
    /// Another pointer to it.
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl From<&X25519Secret> for Secret {
    fn from(secret: &X25519Secret) -> Self {
        Self::take(&mut Zeroizing::new(*secret.expose()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.0.public.short())
    }
}

/// Draws an ephemeral key.
pub(crate) fn draw(rng: &mut dyn CryptoRng) -> X25519Secret {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *bytes);
    X25519Secret::take(&mut bytes)
}

/// Seals `payload` to a key, anonymously.
///
/// # Errors
/// [`Error`] if `to` is of small order, or the payload longer than a Noise message.
pub fn n_seal(prologue: &[u8], to: &X25519Key, payload: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, Error> {
    n_seal_with(prologue, to, Secret::generate(rng), payload)
}

/// [`n_seal`] with an ephemeral key drawn before, because the payload is bound to its public half. It is used up.
///
/// # Errors
/// As [`n_seal`].
#[expect(clippy::needless_pass_by_value, reason = "an ephemeral key must not be used twice")]
pub fn n_seal_with(prologue: &[u8], to: &X25519Key, ephemeral: Secret, payload: &[u8]) -> Result<Vec<u8>, Error> {
    let mut handshake = Handshake::initiator(Pattern::N, prologue, None, to)?;
    handshake.seal(payload, N_LAYER, X25519Secret::take(&mut Zeroizing::new(*ephemeral.expose())))
}

/// Opens what [`n_seal`] made.
///
/// # Errors
/// [`Error`] if it is not for this key and prologue.
pub fn n_open(prologue: &[u8], secret: &Secret, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    Handshake::responder(Pattern::N, prologue, secret)?.open(message, N_LAYER)
}

/// Seals `payload` to a key, and proves to its owner, and nobody else, whom it is from.
///
/// # Errors
/// As [`n_seal`].
pub fn x_seal(
    prologue: &[u8],
    from: &Secret,
    to: &X25519Key,
    payload: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, Error> {
    Handshake::initiator(Pattern::X, prologue, Some(from), to)?.seal(payload, X_LAYER, draw(rng))
}

/// Opens what [`x_seal`] made, and tells whose it is.
///
/// # Errors
/// [`Error`] if it is not for this key and prologue, or from a key in another encoding than its one canonical one.
pub fn x_open(prologue: &[u8], secret: &Secret, message: &[u8]) -> Result<(X25519Key, Zeroizing<Vec<u8>>), Error> {
    let mut handshake = Handshake::responder(Pattern::X, prologue, secret)?;
    let payload = handshake.open(message, X_LAYER)?;
    let sender = handshake.state.get_remote_static().and_then(|key| X25519Key::try_from(key).ok());
    Ok((sender.filter(X25519Key::is_usable).ok_or(Error::Sender)?, payload))
}

/// The handshakes in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Nk,
    N,
    X,
}

impl Pattern {
    fn params(self) -> NoiseParams {
        static NK: LazyLock<NoiseParams> = LazyLock::new(|| parsed("Noise_NK_25519_AESGCM_SHA256"));
        static N: LazyLock<NoiseParams> = LazyLock::new(|| parsed("Noise_N_25519_AESGCM_SHA256"));
        static X: LazyLock<NoiseParams> = LazyLock::new(|| parsed("Noise_X_25519_AESGCM_SHA256"));
        match self {
            Self::Nk => NK.clone(),
            Self::N => N.clone(),
            Self::X => X.clone(),
        }
    }
}

#[expect(clippy::expect_used, reason = "the three names above, each tested")]
fn parsed(name: &str) -> NoiseParams {
    name.parse().expect("a name that snow knows")
}

/// The ephemeral key that the next message is written with. Snow owns its source of randomness for as long as a
/// handshake lives, ours is lent to a call: the call leaves the drawn key here.
type Slot = Arc<Mutex<Option<X25519Secret>>>;

/// The keys after a handshake, each for one direction.
pub(crate) struct Split {
    /// The initiator seals with it.
    pub(crate) forward: Zeroizing<[u8; 32]>,
    /// The responder seals with it.
    pub(crate) backward: Zeroizing<[u8; 32]>,
}

/// A handshake under way.
pub(crate) struct Handshake {
    state: HandshakeState,
    ephemeral: Slot,
}

impl Handshake {
    pub(crate) fn initiator(
        pattern: Pattern,
        prologue: &[u8],
        own: Option<&Secret>,
        to: &X25519Key,
    ) -> Result<Self, Error> {
        let (builder, ephemeral) = builder(pattern, own);
        let builder = builder.prologue(prologue)?.remote_public_key(to.as_bytes())?;
        let state = match own {
            Some(secret) => builder.local_private_key(secret.expose())?.build_initiator()?,
            None => builder.build_initiator()?,
        };
        Ok(Self { state, ephemeral })
    }

    pub(crate) fn responder(pattern: Pattern, prologue: &[u8], own: &Secret) -> Result<Self, Error> {
        let (builder, ephemeral) = builder(pattern, Some(own));
        let state = builder.prologue(prologue)?.local_private_key(own.expose())?.build_responder()?;
        Ok(Self { state, ephemeral })
    }

    /// Writes the next message, with this ephemeral key; tells its length.
    pub(crate) fn write(&mut self, payload: &[u8], ephemeral: X25519Secret, out: &mut [u8]) -> Result<usize, Error> {
        *self.ephemeral.lock().unwrap_or_else(PoisonError::into_inner) = Some(ephemeral);
        Ok(self.state.write_message(payload, out)?)
    }

    /// Reads the next message; tells the length of the payload. After an error, the same message may be tried at
    /// another length: what was agreed with its key is remembered.
    pub(crate) fn read(&mut self, message: &[u8], payload: &mut [u8]) -> Result<usize, Error> {
        Ok(self.state.read_message(message, payload)?)
    }

    /// The keys, once both messages passed.
    pub(crate) fn split(mut self) -> Result<Split, Error> {
        if !self.state.is_handshake_finished() {
            return Err(snow::Error::State(snow::error::StateProblem::HandshakeNotFinished).into());
        }
        let (forward, backward) = self.state.dangerously_get_raw_split();
        Ok(Split { forward: Zeroizing::new(forward), backward: Zeroizing::new(backward) })
    }

    fn seal(&mut self, payload: &[u8], layer: usize, ephemeral: X25519Secret) -> Result<Vec<u8>, Error> {
        let mut message = vec![0; payload.len() + layer];
        let length = self.write(payload, ephemeral, &mut message)?;
        message.truncate(length);
        Ok(message)
    }

    fn open(&mut self, message: &[u8], layer: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut payload = Zeroizing::new(vec![0; message.len().saturating_sub(layer)]);
        let length = self.read(message, &mut payload)?;
        payload.truncate(length);
        Ok(payload)
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handshake(secret)")
    }
}

fn builder<'a>(pattern: Pattern, own: Option<&Secret>) -> (snow::Builder<'a>, Slot) {
    let ephemeral = Slot::default();
    let resolver = Resolver::new(own.cloned(), Arc::clone(&ephemeral));
    (snow::Builder::with_resolver(pattern.params(), Box::new(resolver)), ephemeral)
}

#[cfg(test)]
mod tests;
