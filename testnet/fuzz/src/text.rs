//! What people type: every form that parses shows itself as something that parses to the same.

use libp2p::PeerId;
use sotto_behaviours::peer;
use sotto_client::store::{AccountName, FolderName};
use sotto_node::keys::Seed;
use sotto_proto::account::Entropy;
use sotto_proto::address::Address;
use sotto_proto::chain::Region;
use sotto_proto::content::MessageId;
use sotto_proto::id::{Amount, NodeId, PublicKey, RecordId, SwarmId};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::request::Line;

use crate::check::{canonical, shown, whole};
use crate::fixtures::{account, key, node};

pub(crate) fn text(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    match choice % 6 {
        0 => drop(canonical(bytes, NodeAddr::from_bytes, NodeAddr::to_bytes)),
        1 => drop(canonical(bytes, |bytes| Address::try_from(bytes), |address| address.to_bytes().to_vec())),
        2 => {
            let Ok(peer) = PeerId::from_bytes(bytes) else { return };
            let Ok(node) = peer::node_id(&peer) else { return };
            assert_eq!(peer::peer_id(&node), peer);
        }
        3 => {
            let Some(seed) = Seed::from_hex(bytes) else { return };
            let again = Seed::from_hex(&seed.to_line()).expect("what was written can be read");
            assert_eq!(again.expose(), seed.expose());
        }
        _ => {
            if let Ok(text) = std::str::from_utf8(bytes) {
                typed(text);
            }
        }
    }
}

fn typed(text: &str) {
    shown::<Address>(text);
    shown::<PublicKey>(text);
    shown::<NodeId>(text);
    shown::<RecordId>(text);
    shown::<SwarmId>(text);
    shown::<Amount>(text);
    shown::<MessageId>(text);
    shown::<AccountName>(text);
    if let Some(address) = shown::<NodeAddr>(text) {
        assert_eq!(NodeAddr::from_bytes(&address.to_bytes()), Ok(address));
        assert!(!address.dialable(false) || address.dialable(true), "allowed only where less is allowed");
    }
    if let Ok(region) = text.parse::<Region>() {
        assert_eq!(region.as_str(), text);
    }
    if let Some(folder) = FolderName::read(text) {
        assert_eq!(FolderName::read(&folder.to_string()), Some(folder));
    }
    let line = Line::<16>::new(text);
    assert!(line.as_str().len() <= 16);
    assert_eq!(Line::<16>::try_from(line.as_str().to_owned()), Ok(line), "what is shown may be sent");
}

pub(crate) fn text_seeds() -> Vec<Vec<u8>> {
    let addresses = ["/ip4/127.100.0.1/tcp/27010", "/ip6/2600::1/tcp/5000", "1.2.3.4:5000", "[::ffff:10.0.0.1]:443"];
    let parsed: Vec<NodeAddr> = addresses[..2].iter().map(|text| text.parse().expect("an address")).collect();
    let mut seeds: Vec<_> = parsed.iter().map(|address| whole(0, &address.to_bytes())).collect();
    seeds.push(whole(1, &account(1).address().to_bytes()));
    seeds.push(whole(2, &peer::peer_id(&key("node", 1).node_id()).to_bytes()));
    seeds.push(whole(3, node(3).to_string().as_bytes()));
    seeds.extend(addresses.iter().map(|address| whole(4, address.as_bytes())));
    let more = [
        account(1).address().to_string(),
        node(1).to_string(),
        "0x3fffffffffffffff".to_owned(),
        "18446744073.709551615".to_owned(),
        "12 SOTTO".to_owned(),
        "00112233445566778899aabbccddeeff".to_owned(),
        "eu-1".to_owned(),
        "alice \u{1f600}".to_owned(),
    ];
    seeds.extend(more.iter().map(|text| whole(4, text.as_bytes())));
    seeds
}

pub(crate) fn phrase(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Entropy::from_phrase(text) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(entropy) => {
            for phrase in [entropy.to_phrase(), entropy.to_session_phrase()] {
                let again = Entropy::from_phrase(phrase.expose()).expect("what is shown can be read");
                assert_eq!(again.expose(), entropy.expose());
            }
        }
    }
}

pub(crate) fn phrase_seeds() -> Vec<Vec<u8>> {
    let entropies =
        [[0; Entropy::LEN], [0xff; Entropy::LEN], [0x5a; Entropy::LEN]].map(|mut bytes| Entropy::take(&mut bytes));
    entropies
        .iter()
        .flat_map(|entropy| [entropy.to_phrase(), entropy.to_session_phrase()])
        .map(|phrase| phrase.expose().as_bytes().to_vec())
        .collect()
}
