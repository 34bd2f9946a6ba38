//! aws-lc's X25519, AES-256-GCM and SHA-256 behind snow's traits.
//!
//! All four primitives are resolved here, so that snow brings none of its own. What snow's traits cannot say is done
//! beside them:
//!
//! - `Dh::set` and `Cipher` cannot fail: keys are of fixed length, and buffers were measured by snow.
//! - A static key is known before, with its public half; setting it again costs nothing.
//! - The last agreement is remembered, because a hop tries a build at two lengths, with one ephemeral key.

use std::sync::{OnceLock, PoisonError};

use aws_lc_rs::aead::{Aad, LessSafeKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use sotto_proto::id::X25519Key;
use sotto_proto::limits::budget::TAG;
use zeroize::Zeroizing;

use super::{Secret, Slot, aead};

/// For one handshake.
pub(super) struct Resolver {
    own: Option<Secret>,
    ephemeral: Slot,
}

impl Resolver {
    pub(super) const fn new(own: Option<Secret>, ephemeral: Slot) -> Self {
        Self { own, ephemeral }
    }
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Drawn(Slot::clone(&self.ephemeral))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        let dh = X25519 { own: self.own.clone(), key: None, agreed: OnceLock::new() };
        (*choice == DHChoice::Curve25519).then(|| Box::new(dh) as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        (*choice == HashChoice::SHA256).then(|| Box::new(Sha256::new()) as Box<dyn Hash>)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        (*choice == CipherChoice::AESGCM).then(|| Box::new(Aes256Gcm(None)) as Box<dyn Cipher>)
    }
}

/// Randomness that was drawn before: 32 bytes, once.
struct Drawn(Slot);

impl Random for Drawn {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        let drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(Error::Rng)?;
        if out.len() != drawn.expose().len() {
            return Err(Error::Rng);
        }
        out.copy_from_slice(drawn.expose());
        Ok(())
    }
}

struct X25519 {
    own: Option<Secret>,
    key: Option<Secret>,
    agreed: OnceLock<Agreed>,
}

struct Agreed {
    peer: [u8; 32],
    shared: Zeroizing<[u8; 32]>,
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    #[expect(clippy::expect_used, reason = "snow hands on what our own builder gave it: 32 bytes")]
    fn set(&mut self, private: &[u8]) {
        let own = self.own.as_ref().filter(|own| verify_slices_are_equal(own.expose(), private).is_ok());
        self.key = own.cloned().or_else(|| {
            let mut bytes = Zeroizing::new([0; 32]);
            bytes.copy_from_slice(private.first_chunk::<32>().expect("an X25519 private key is 32 bytes"));
            Some(Secret::take(&mut bytes))
        });
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut *bytes)?;
        self.key = Some(Secret::take(&mut bytes));
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        self.key.as_ref().map_or(&[0; 32], |key| key.0.public.as_bytes())
    }

    fn privkey(&self) -> &[u8] {
        self.key.as_ref().map_or(&[0; 32], |key| key.expose())
    }

    /// Snow's buffers hold the longest keys of any curve: ours are at their beginning.
    fn dh(&self, peer: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let peer = peer.first_chunk().ok_or(Error::Dh)?;
        let out: &mut [u8; 32] = out.first_chunk_mut().ok_or(Error::Dh)?;
        if let Some(agreed) = self.agreed.get().filter(|agreed| agreed.peer == *peer) {
            out.copy_from_slice(&*agreed.shared);
            return Ok(());
        }
        let shared = self.key.as_ref().ok_or(Error::Dh)?.agree(&X25519Key::new(*peer)).map_err(|_| Error::Dh)?;
        out.copy_from_slice(&*shared);
        self.agreed.get_or_init(|| Agreed { peer: *peer, shared });
        Ok(())
    }
}

/// Short inputs are gathered and hashed at once: a context would cost an allocation for each of some thirty hashes. All
/// that is secret is short, and the buffer never grows, so that none of it is left behind in freed memory.
struct Sha256 {
    gathered: Zeroizing<Vec<u8>>,
    long: Option<digest::Context>,
}

impl Sha256 {
    /// Holds the inputs of all key derivations: a block of key and one of data.
    const CAPACITY: usize = 256;

    fn new() -> Self {
        Self { gathered: Zeroizing::new(Vec::with_capacity(Self::CAPACITY)), long: None }
    }
}

impl Hash for Sha256 {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.gathered.clear();
        self.long = None;
    }

    fn input(&mut self, data: &[u8]) {
        if self.gathered.len() + data.len() <= Self::CAPACITY {
            self.gathered.extend_from_slice(data);
            return;
        }
        let context = self.long.get_or_insert_with(|| digest::Context::new(&digest::SHA256));
        context.update(&self.gathered);
        context.update(data);
        self.gathered.clear();
    }

    fn result(&mut self, out: &mut [u8]) {
        let digest = match self.long.take() {
            Some(mut context) => {
                context.update(&self.gathered);
                context.finish()
            }
            None => digest::digest(&digest::SHA256, &self.gathered),
        };
        self.gathered.clear();
        out[..32].copy_from_slice(digest.as_ref());
    }
}

struct Aes256Gcm(Option<LessSafeKey>);

impl Cipher for Aes256Gcm {
    fn name(&self) -> &'static str {
        "AESGCM"
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0 = Some(aead::key(key));
    }

    #[expect(clippy::expect_used, reason = "snow has set a key and measured the buffer")]
    fn encrypt(&self, nonce: u64, authenticated: &[u8], plain: &[u8], out: &mut [u8]) -> usize {
        let key = self.0.as_ref().expect("snow sets the key first");
        let (sealed, rest) = out.split_at_mut(plain.len());
        let aad = Aad::from(authenticated);
        key.seal_out_of_place_scatter(aead::nonce(nonce), aad, plain, sealed, &[], &mut rest[..TAG])
            .expect("a Noise message is shorter than AES-GCM allows");
        plain.len() + TAG
    }

    fn decrypt(&self, nonce: u64, authenticated: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let key = self.0.as_ref().ok_or(Error::Decrypt)?;
        let (sealed, tag) = sealed.split_last_chunk::<TAG>().ok_or(Error::Decrypt)?;
        let plain = out.get_mut(..sealed.len()).ok_or(Error::Decrypt)?;
        key.open_separate_gather(aead::nonce(nonce), Aad::from(authenticated), sealed, tag, plain)
            .map_err(|_| Error::Decrypt)?;
        Ok(sealed.len())
    }
}
