//! The seal around what is pushed to a listener (M2): as around an envelope, but bound to the listening instead of an
//! address and a time.
//!
//! ```text
//! data = Noise_N to the seal key, as of an envelope         prologue  lp("sotto/push/1") ‖ chain id ‖ node 32 ‖ tag 16
//! ```
//!
//! The listening node sees neither who writes nor to which key; what it hands to another listening, or hands over again
//! after that has ended, opens nowhere. Only messages of sessions go this way: whoever knows a tag has one.

use rand_core::CryptoRng;
use sotto_behaviours::noise;
use sotto_proto::content::ListeningTag;
use sotto_proto::domain;
use sotto_proto::id::{ChainId, NodeId, X25519Key};
use sotto_proto::request::PushData;

use super::initial::{InitialMessage, Inside, SessionBody};
use super::sealed::{KIND_COVER, KIND_INITIAL, KIND_SESSION, OpenError, SealError, seal_content, unpad};

/// What the seal of a push is bound to.
#[derive(Clone, Copy, Debug)]
pub struct PushContext<'a> {
    /// The network.
    pub chain: &'a ChainId,
    /// Where the recipient listens.
    pub node: NodeId,
    /// The tag that it gave the sender.
    pub tag: ListeningTag,
}

/// Seals a session's message to the key that the recipient's mailbox is sealed to.
///
/// # Errors
/// [`SealError`] when the key is none, or the message is too long.
pub fn seal_push(
    context: &PushContext<'_>,
    to: &X25519Key,
    inside: &Inside,
    rng: &mut dyn CryptoRng,
) -> Result<PushData, SealError> {
    if !to.is_usable() {
        return Err(SealError::Key);
    }
    let (kind, body) = inside.encode();
    let data = seal_content(&prologue(context), to, noise::Secret::generate(rng), kind, &body)?;
    PushData::new(data).map_err(|_| SealError::TooLong { content: 1 + body.len() })
}

/// Opens it with the first of the secrets that does; `None` for cover.
///
/// # Errors
/// [`OpenError`] for everything that nobody meant for this listening, and for kinds that do not go this way.
pub fn open_push(
    context: &PushContext<'_>,
    secrets: &[noise::Secret],
    data: &PushData,
) -> Result<Option<Inside>, OpenError> {
    let (prologue, mut failure) = (prologue(context), OpenError::NoKey);
    for secret in secrets {
        match noise::n_open(&prologue, secret, data.as_slice()) {
            Ok(payload) => {
                let (kind, body) = unpad(&payload)?;
                return match kind {
                    KIND_COVER => Ok(None),
                    KIND_SESSION => Ok(Some(Inside::Session(SessionBody::decode(body)?))),
                    KIND_INITIAL => Ok(Some(Inside::Initial(InitialMessage::decode(body)?))),
                    kind => Err(OpenError::Kind(kind)),
                };
            }
            Err(error) => failure = OpenError::Seal(error),
        }
    }
    Err(failure)
}

fn prologue(context: &PushContext<'_>) -> Vec<u8> {
    let PushContext { chain, node, tag } = context;
    [domain::PUSH.prefixed().as_slice(), chain.as_bytes(), node.as_bytes(), tag.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;
    use sotto_proto::limits::ENVELOPE_DATA_SIZES;

    use super::*;
    use crate::crypto::SessionTag;

    const CHAIN: ChainId = ChainId::new([0xc4; 32]);

    fn context(node: u8, tag: u8) -> PushContext<'static> {
        PushContext { chain: &CHAIN, node: NodeId::new([node; 32]), tag: ListeningTag::new([tag; 16]) }
    }

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([7; 32])
    }

    fn message(length: usize) -> Inside {
        Inside::Session(SessionBody { tag: SessionTag::new([1; 16]), message: vec![2; length] })
    }

    #[test]
    fn a_push_opens_for_its_listening_and_for_no_other_node_tag_chain_or_key() {
        let mut rng = rng();
        let (own, other) = (noise::Secret::generate(&mut rng), noise::Secret::generate(&mut rng));
        let data = seal_push(&context(1, 2), &own.public(), &message(200), &mut rng).unwrap();
        let secrets = [other.clone(), own];
        assert_eq!(open_push(&context(1, 2), &secrets, &data).unwrap(), Some(message(200)));
        for wrong in [context(3, 2), context(1, 3), PushContext { chain: &ChainId::new([9; 32]), ..context(1, 2) }] {
            assert!(open_push(&wrong, &secrets, &data).is_err());
        }
        assert!(open_push(&context(1, 2), &[other], &data).is_err());
        assert!(open_push(&context(1, 2), &[], &data).is_err());
    }

    #[test]
    fn its_length_is_that_of_an_envelopes_data() {
        let mut rng = rng();
        let own = noise::Secret::generate(&mut rng);
        for (length, size) in [(200, 0), (2000, 1), (60_000, 5)] {
            let data = seal_push(&context(1, 2), &own.public(), &message(length), &mut rng).unwrap();
            assert_eq!(data.as_slice().len(), ENVELOPE_DATA_SIZES[size]);
        }
        let long = seal_push(&context(1, 2), &own.public(), &message(64_000), &mut rng);
        assert!(matches!(long, Err(SealError::TooLong { .. })));
        let none = seal_push(&context(1, 2), &X25519Key::new([0; 32]), &message(20), &mut rng);
        assert!(matches!(none, Err(SealError::Key)));
    }

    #[test]
    fn cover_is_dropped_and_what_has_no_session_does_not_go_this_way() {
        let mut rng = rng();
        let own = noise::Secret::generate(&mut rng);
        let mut sealed = |kind| {
            let ephemeral = noise::Secret::generate(&mut rng);
            PushData::new(seal_content(&prologue(&context(1, 2)), &own.public(), ephemeral, kind, &[3; 9]).unwrap())
        };
        let (cover, plain) = (sealed(KIND_COVER).unwrap(), sealed(crate::crypto::KIND_PLAIN).unwrap());
        assert_eq!(open_push(&context(1, 2), std::slice::from_ref(&own), &cover).unwrap(), None);
        assert!(matches!(open_push(&context(1, 2), &[own], &plain), Err(OpenError::Kind(1))));
    }
}
