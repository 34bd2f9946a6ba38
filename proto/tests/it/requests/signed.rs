//! What is signed: golden values, and who may not sign for what.

use sotto_proto::id::PublicKey;
use sotto_proto::limits::SIGNED_DELETE_MAX;

use super::*;

#[test]
fn the_golden_retrieve_signature_holds() {
    let (key, read) = (account_key(), golden_read());
    assert_eq!(key.public().to_string(), "4cb76fdc6d32278e3f83dbf608360ecc6b65727934b85d2fb86862ff98c46ab7");
    assert_eq!(read.node.to_string(), "4ce2d1eaf5734b0b3ca79f0983b7991f5ba71ab5fa7117a34cf610505d79ec80");
    assert_eq!(read.to_bytes().len(), Read::LEN);
    let signed = SignedRead::<Retrieve>::sign(read, &key, &chain());
    assert_eq!(
        hex::encode(signed.authorization().unwrap().signature),
        "271f7d4d954e3032debb411e1a2eb480b611c9ed02d29ac7687981a17cb8399d\
         a4be17639d863babca7f753e28433b74632140367f43c08cdb4ccabe9b91e609"
    );
    assert!(signed.verify(&chain(), &Ed25519));
}

#[test]
fn a_signature_to_retrieve_does_not_subscribe() {
    let (key, read) = (account_key(), golden_read());
    let retrieve = SignedRead::<Retrieve>::sign(read, &key, &chain());
    let subscribe = SignedRead::<Subscribe>::sign(read, &key, &chain());
    assert!(subscribe.verify(&chain(), &Ed25519));
    assert_ne!(retrieve.authorization(), subscribe.authorization());

    let wire = wire::SwarmRequest::from(SwarmRequest::Retrieve(retrieve));
    let Some(wire::swarm_request::Kind::Retrieve(taken)) = wire.kind else { panic!("not a retrieve") };
    let forged = wire::SubscribeRequest { request: taken.request, key: taken.key, signature: taken.signature };
    let forged = wire::SwarmRequest { kind: Some(wire::swarm_request::Kind::Subscribe(forged)) };
    let Ok(SwarmRequest::Subscribe(forged)) = SwarmRequest::try_from(forged) else { panic!("not a subscribe") };
    assert!(!forged.verify(&chain(), &Ed25519));
}

#[test]
fn a_stranger_reads_nothing_and_deletes_nothing() {
    let stranger = SigningKey::from_seed(&[9; 32]);
    for address in [ACCOUNT.parse().unwrap(), Address::mailbox(&mailbox_key().public())] {
        let read = Read { address, ..golden_read() };
        assert!(!SignedRead::<Retrieve>::sign(read, &stranger, &chain()).verify(&chain(), &Ed25519));
        let delete = Delete::new(address, UnixSeconds(1), deleted(1, 600)).unwrap();
        assert!(!SignedDelete::sign(delete, &stranger, &chain()).verify(&chain(), &Ed25519));
    }
}

#[test]
fn anybody_reads_a_public_record_and_nothing_else() {
    let public = Read { address: Address::new(AddressKind::PublicRecord, [1; 32]), ..golden_read() };
    let unsigned = SignedRead::<Retrieve>::public(public).unwrap();
    assert!(unsigned.verify(&chain(), &Ed25519));
    assert_eq!(SignedRead::<Retrieve>::sign(public, &mailbox_key(), &chain()), unsigned);
    assert!(SignedRead::<Retrieve>::public(golden_read()).is_err());
    round_trip(SwarmRequest::Retrieve(unsigned));

    let stripped = wire::RetrieveRequest { request: golden_read().to_bytes(), key: vec![], signature: vec![] };
    let stripped = wire::SwarmRequest { kind: Some(wire::swarm_request::Kind::Retrieve(stripped)) };
    assert!(SwarmRequest::try_from(stripped).is_err());
}

#[test]
fn a_key_comes_along_only_where_the_address_does_not_hold_it() {
    let fields = |address, key: &SigningKey| {
        let read = Read { address, ..golden_read() };
        let request = SwarmRequest::Retrieve(SignedRead::sign(read, key, &chain()));
        round_trip(request.clone());
        match wire::SwarmRequest::from(request).kind {
            Some(wire::swarm_request::Kind::Retrieve(wire)) => wire,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fields(ACCOUNT.parse().unwrap(), &account_key()).key, account_key().public().as_bytes());
    let mut mailbox = fields(Address::mailbox(&mailbox_key().public()), &mailbox_key());
    assert!(mailbox.key.is_empty());
    // Two encodings of one request must not exist.
    mailbox.key = mailbox_key().public().as_bytes().to_vec();
    let wire = wire::SwarmRequest { kind: Some(wire::swarm_request::Kind::Retrieve(mailbox)) };
    assert!(SwarmRequest::try_from(wire).is_err());
}

#[test]
fn a_delete_holds_for_its_bytes_key_and_chain() {
    for (address, key) in
        [(ACCOUNT.parse().unwrap(), account_key()), (Address::mailbox(&mailbox_key().public()), mailbox_key())]
    {
        let delete = Delete::new(address, UnixSeconds(1_790_000_000), deleted(3, 86_400)).unwrap();
        assert_eq!(delete.to_bytes().len(), 33 + 8 + 2 + 3 * 44);
        let signed = SignedDelete::sign(delete, &key, &chain());
        assert!(signed.verify(&chain(), &Ed25519));
        assert!(!signed.verify(&ChainId::new([0; 32]), &Ed25519));
        let bytes = signed.encode();
        assert_eq!(SignedDelete::decode(&bytes), Ok(signed.clone()));
        round_trip(SwarmRequest::Delete(signed));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let holds = SignedDelete::decode(&changed).is_ok_and(|delete| delete.verify(&chain(), &Ed25519));
            assert!(!holds, "byte {index}");
        }
    }
}

#[test]
fn a_delete_of_what_cannot_be_deleted_is_refused() {
    let address = Address::mailbox(&mailbox_key().public());
    let new = |address, records| Delete::new(address, UnixSeconds(1), records);
    assert!(new(address, deleted(DELETE_IDS, 600)).is_ok());
    assert!(new(address, deleted(DELETE_IDS + 1, 600)).is_err());
    assert!(new(address, deleted(1, 9)).is_err());
    assert!(new(address, deleted(1, 345_601)).is_err());
    assert!(new(Address::group_epoch(&mailbox_key().public()), deleted(1, 600)).is_err());
    assert!(new(Address::new(AddressKind::PublicRecord, [1; 32]), deleted(1, 600)).is_err());
    let longest = SignedDelete::sign(new(address, deleted(DELETE_IDS, 600)).unwrap(), &mailbox_key(), &chain());
    assert_eq!(longest.encode().len(), SIGNED_DELETE_MAX);
    assert_eq!(longest.delete().records()[0].expiry(), UnixSeconds(1_790_000_600));
}

#[test]
fn a_receipt_holds_for_the_node_it_names() {
    let node = SigningKey::from_seed(&[3; 32]);
    let receipt = Receipt {
        node: node.node_id(),
        address: ACCOUNT.parse().unwrap(),
        id: RecordId::new([5; 32]),
        expiry: UnixSeconds(1_790_000_600),
        height: Height(7),
    };
    assert_eq!(receipt.to_bytes().len(), Receipt::LEN);
    assert_eq!(Receipt::decode(&receipt.to_bytes()), Ok(receipt));
    let signature = receipt.sign(&node, &chain());
    assert!(receipt.verify(&chain(), &signature, &Ed25519));
    assert!(!Receipt { height: Height(8), ..receipt }.verify(&chain(), &signature, &Ed25519));
    assert!(!Receipt { node: account_key().node_id(), ..receipt }.verify(&chain(), &signature, &Ed25519));
}

#[test]
fn either_key_of_an_account_signs_for_it() {
    // The same account under the other sign of its Ed25519 key: the address, not the key, is the identity.
    let address: Address = ACCOUNT.parse().unwrap();
    let mut other = *account_key().public().as_bytes();
    other[31] ^= 0x80;
    assert!(address.is_signed_by(&account_key().public()));
    assert!(address.is_signed_by(&PublicKey::new(other)));
}
