//! Node keys and libp2p peer ids: two spellings of one Ed25519 key.
//!
//! The peer id of an Ed25519 key is its protobuf encoding under the identity hash, so both directions are plain byte
//! work: `00 24` (identity multihash of 36 bytes) `08 01` (key type Ed25519) `12 20` (32 bytes follow) and the key.

use libp2p::PeerId;
use libp2p::multihash::Multihash;
use sotto_proto::id::NodeId;

/// Multihash code of "no hash at all".
const IDENTITY: u64 = 0;
/// Protobuf around a raw Ed25519 key.
const ED25519: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// A peer whose id is not that of an Ed25519 key. No part of this network has such peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not the id of an Ed25519 key")]
pub struct NotEd25519(pub PeerId);

/// The peer id of a node key. Whether the 32 bytes are a point on the curve is not looked at: if they are not, nobody
/// can prove to be that peer.
#[must_use]
pub fn peer_id(node: &NodeId) -> PeerId {
    let mut encoded = [0; 36];
    encoded[..4].copy_from_slice(&ED25519);
    encoded[4..].copy_from_slice(node.as_bytes());
    #[expect(clippy::expect_used, reason = "36 bytes under the identity hash are what a peer id may be")]
    Multihash::wrap(IDENTITY, &encoded)
        .ok()
        .and_then(|hash| PeerId::from_multihash(hash).ok())
        .expect("an identity multihash of 36 bytes is a peer id")
}

/// The node key of a peer id.
///
/// # Errors
/// [`NotEd25519`] for keys of other types.
pub fn node_id(peer: &PeerId) -> Result<NodeId, NotEd25519> {
    let hash: &Multihash<64> = peer.as_ref();
    hash.digest()
        .strip_prefix(&ED25519)
        .filter(|_| hash.code() == IDENTITY)
        .and_then(|key| NodeId::try_from(key).ok())
        .ok_or(NotEd25519(*peer))
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;
    use sotto_proto::sign::SigningKey;

    use super::*;

    #[test]
    fn a_node_key_and_its_peer_id_convert_both_ways() {
        for seed in 0..32 {
            let node = SigningKey::from_seed(&[seed; 32]).node_id();
            let keypair = Keypair::ed25519_from_bytes([seed; 32]).unwrap();
            assert_eq!(peer_id(&node), keypair.public().to_peer_id());
            assert_eq!(node_id(&peer_id(&node)), Ok(node));
        }
    }

    #[test]
    fn bytes_that_are_no_curve_point_still_have_a_peer_id() {
        let node = NodeId::new([0xff; 32]);
        assert_eq!(node_id(&peer_id(&node)), Ok(node));
    }

    #[test]
    fn peer_ids_that_are_no_ed25519_key_are_refused() {
        let hashed = PeerId::from_multihash(Multihash::wrap(0x12, &[7; 32]).unwrap()).unwrap();
        let secp256k1 = PeerId::from_multihash(Multihash::wrap(0, &[0x08, 0x02, 0x12, 0x21, 1]).unwrap()).unwrap();
        assert_eq!(node_id(&hashed), Err(NotEd25519(hashed)));
        assert_eq!(node_id(&secp256k1), Err(NotEd25519(secp256k1)));
        assert!(node_id(&PeerId::random()).is_err());
    }
}
