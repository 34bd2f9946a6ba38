//! What the two ends of a conversation do, and nobody between them can undo.
//!
//! | file | object | by |
//! | --- | --- | --- |
//! | `sealed` | the seal around everything that is stored; messages before there is a session | Noise N; Noise X |
//! | `bundle` | what a device can be written to by: its mailbox, a signed prekey, one-time keys | Ed25519 |
//! | `x3dh` | the agreement that begins a session | X3DH, as published by Signal |
//! | `initial` | how the first message of a session begins, and every other one | |
//! | `ratchet` | a session | the Double Ratchet with header encryption, as published by Signal |
//! | `safety_number` | what two people compare to know that nobody stands between | SHA-512, 5,200 times |
//! | `question` | how two people who share only a memory know it | CPace, ristretto255 and SHA-512 |
//! | `pushed` | the seal around what is pushed to a listener | Noise N |
//! | `introduction` | where an account listens, for everybody who knows its id | XChaCha20-Poly1305, Ed25519 |
//!
//! All parameters, `lp(d)` being a length byte and a label (B1):
//!
//! ```text
//! seal        Noise_N_25519_AESGCM_SHA256 to the inbox's key or the mailbox's signed prekey
//!             prologue  lp("sotto/seal/1") ‖ chain id ‖ version, address, timestamp, ttl
//!             payload   u32 length ‖ kind u8 ‖ body ‖ zeros, so that the data has one of six lengths
//!             kinds     0 cover   1 plain   2 of a session   3 initial
//! plain       Noise_X_25519_AESGCM_SHA256 to the same key
//!             prologue  lp("sotto/auth/1") ‖ chain id ‖ address ‖ e of the seal
//!             payload   protobuf Content
//! session     session tag 16 ‖ message
//! initial     01 ‖ initiator 33 ‖ its device ‖ epoch of the bundle u32 ‖ EK 32 ‖ session
//! bundle      Ed25519 over lp("sotto/v1/prekeys") ‖ chain id ‖ bundle
//! X3DH        DH1 = DH(IK initiator, SPK)  DH2 = DH(EK, IK responder)  DH3 = DH(EK, SPK)  DH4 = DH(EK, one-time key)
//!             HKDF-SHA-256( salt zeros(32), ikm 0xFF × 32 ‖ DH1 ‖ DH2 ‖ DH3 ‖ DH4, info lp("sotto/x3dh/1") )
//!             = root key 32 ‖ header key 32 ‖ next header key 32 ‖ session tag 16
//! root        HKDF-SHA-256( salt root key, ikm DH, info lp("sotto/dr/root/1") )
//!             = root key 32 ‖ chain key 32 ‖ next header key 32
//! chain       message key = HMAC-SHA-256( chain key, 01 )   next chain key = HMAC-SHA-256( chain key, 02 )
//! message     nonce 12 ‖ AES-256-GCM( header key, ratchet key 32 ‖ PN u32 ‖ N u32 )            header, 68 bytes
//!             ‖ nonce 12 ‖ AES-256-GCM( message key, plaintext )                               body, 28 bytes more
//!             associated data of the header: AD; of the body: AD ‖ header
//! AD          lp("sotto/dr/1") ‖ chain id ‖ initiator 33 ‖ device ‖ responder 33 ‖ device ‖ session tag 16
//! number      h = SHA-512( lp("sotto/v1/safety-number") ‖ chain id ‖ 01 ‖ account 33 )
//!             then 5,200 times h = SHA-512( h ‖ account 33 )
//! ```
//!
//! A key of Noise seals one thing, under the nonce zero: it follows from an ephemeral key that is drawn for that. Nonces of
//! messages are drawn. A header key serves for a chain, which has fewer than the 2^32 messages that random nonces allow
//! (NIST SP 800-38D, 8.3); a message key serves once, and should a copied state ever use one twice, it is with another
//! nonce.

mod bundle;
mod initial;
mod introduction;
mod pushed;
mod question;
mod ratchet;
mod safety_number;
mod sealed;
mod x3dh;

pub use bundle::{Bundle, BundleError, BundleSecrets};
pub use initial::{InitialHeader, InitialMessage, Inside, SessionBody};
pub use introduction::{Introduction, IntroductionError, introduction_address};
pub use pushed::{PushContext, open_push, seal_push};
pub use question::{Answer, AnswerError, Answerer, Asker, Attempts, QuestionContext, ShareError};
#[cfg(test)]
pub(crate) use ratchet::recorded;
pub use ratchet::{DecryptError, Decrypted, EncryptError, Ratchet};
pub use safety_number::{CodeError, DigitsError, SafetyNumber, Scanned};
pub use sealed::{KIND_PLAIN, OpenError, Opened, SealContext, SealError, open, seal, seal_session};
pub use x3dh::{Agreed, SessionTag, SharedSecrets, X3dhError, associated_data, initiate, respond};

#[cfg(test)]
mod tests;
