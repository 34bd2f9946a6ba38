//! A hop behind the guard that stands still while paths through it are up: no path ends for a while, and nothing comes
//! back through it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use sotto_client::messenger::Messenger;
use sotto_client::network::paths::Purpose;
use sotto_client::store::{AccountName, Accounts, NewMessage, Passphrase};
use sotto_proto::chain::GenesisFile;
use sotto_proto::content::{Body, Content, MessageId, Text};
use sotto_proto::envelope::Ttl;
use sotto_proto::id::NodeId;
use zeroize::Zeroizing;

use super::guards::number_of;
use super::steps::user;
use crate::harness::Figure;
use crate::testnet::Testnet;

const PATIENCE: Duration = Duration::from_secs(30);
/// What it may cost on a busy machine: less than half of what is waited for a member's answer.
const PAST_HOP: Duration = Duration::from_secs(4);

pub(super) fn frozen(testnet: &Testnet) -> Figure {
    user(testnet, "uma");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let taken = runtime.block_on(Box::pin(past_frozen_hops(testnet)));
    for took in taken {
        assert!(took < PAST_HOP, "{taken:?}");
    }
    let [exit, middle, read] = taken.map(|took| took.as_millis());
    Figure(format!("stored after {exit} ms past an exit, {middle} ms past a middle hop; read after {read} ms"))
}

async fn past_frozen_hops(testnet: &Testnet) -> [Duration; 3] {
    let mut messenger = messenger(testnet).await;
    let mut taken = [Duration::ZERO; 3];
    for (took, position) in taken.iter_mut().zip([2, 1]) {
        let hops = store(&mut messenger).await;
        *took = while_paused(testnet, hops[position], async || {
            store(&mut messenger).await;
        })
        .await;
    }
    let path = messenger.path(Purpose::Receive).await.unwrap();
    assert_eq!(messenger.receive().await.unwrap().messages.len(), 4);
    taken[2] = while_paused(testnet, path.hops()[2].node, async || {
        assert!(messenger.receive().await.unwrap().answered > 0);
    })
    .await;
    assert!(messenger.paths().held().all(|(_, held)| !held.is(&path)), "it was let go of");
    taken
}

async fn messenger(testnet: &Testnet) -> Messenger {
    let json = std::fs::read_to_string(testnet.path().join("genesis.json")).unwrap();
    let genesis = GenesisFile::from_json(&json).unwrap();
    let place = testnet.path().join("users").join("uma");
    let passphrase = std::fs::read_to_string(place.join("passphrase")).unwrap();
    let passphrase = Passphrase::typed(Zeroizing::new(passphrase.trim_end().to_owned())).unwrap();
    let accounts = Accounts::new(&place.join("data"), genesis.genesis.chain_id());
    let name: AccountName = "uma".parse().unwrap();
    let account = accounts.open(&name, &passphrase).unwrap();
    Messenger::open(genesis, account, PATIENCE, |_| ()).await.unwrap()
}

/// Sends a message to its own account; returns the hops of its path.
async fn store(messenger: &mut Messenger) -> [NodeId; 3] {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let id = MessageId::new([NEXT.fetch_add(1, Ordering::Relaxed); 16]);
    let (now, recipient) = (messenger.clock().now(), messenger.address());
    let content = Content::new(id, now, Body::Text(Text::new("past a hop".to_owned()).unwrap()));
    let new = NewMessage::plain(recipient, content, Ttl::new(3600).unwrap(), now);
    messenger.account_mut().store.enqueue(&new).unwrap();
    messenger.send(&id, |_| ()).await.unwrap().hops
}

/// Stops a node, measures, and lets it go on, whatever came of it.
async fn while_paused(testnet: &Testnet, node: NodeId, measured: impl AsyncFnOnce()) -> Duration {
    struct Resume<'a>(&'a Testnet, u64);
    impl Drop for Resume<'_> {
        fn drop(&mut self) {
            self.0.run(&format!("node resume {}", self.1));
        }
    }
    let number = number_of(testnet, &node.to_string());
    testnet.run(&format!("node pause {number}")).ok();
    let _resumed = Resume(testnet, number);
    let began = Instant::now();
    measured().await;
    began.elapsed()
}
