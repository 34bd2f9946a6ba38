//! The admin socket: who may enter, what it takes, what it refuses.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use sotto_node::admin::{self, SOCKET, client};
use sotto_node::http::serve::serve;
use sotto_proto::chain::Transaction;
use tokio_util::sync::CancellationToken;

use crate::chain::{TestChain, key};
use crate::http::{LIMITS, answering};

const TIMEOUT: Duration = Duration::from_secs(5);

struct Server {
    datadir: tempfile::TempDir,
    chain: TestChain,
    shutdown: CancellationToken,
}

impl Server {
    fn start() -> Self {
        let (datadir, chain) = (tempfile::tempdir().unwrap(), TestChain::new());
        let listener = admin::listen(datadir.path()).unwrap();
        let shutdown = CancellationToken::new();
        let router = admin::router(answering(), chain.genesis.chain_id());
        tokio::spawn(serve(listener, router, LIMITS, shutdown.clone()));
        Self { datadir, chain, shutdown }
    }

    /// Asks from a thread of its own, as another process would.
    async fn ask(&self, method: &'static str, target: String, body: String) -> client::Answer {
        let datadir = self.datadir.path().to_owned();
        let ask = move || client::ask(&datadir, method, &target, &body, TIMEOUT).unwrap();
        tokio::task::spawn_blocking(ask).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

#[tokio::test]
async fn only_the_owner_may_enter_and_a_dead_socket_is_replaced() {
    let server = Server::start();
    let mode = std::fs::metadata(server.datadir.path().join(SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(admin::listen(server.datadir.path()).unwrap());
    drop(admin::listen(server.datadir.path()).unwrap());
}

#[tokio::test]
async fn a_transaction_is_taken_and_named() {
    let server = Server::start();
    let transaction = server.chain.registration(0);
    let answer = server.ask("POST", "/tx".into(), format!("{}\n", hex::encode(transaction.encode()))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains(&transaction.id(&server.chain.genesis.chain_id()).to_string()));
}

#[tokio::test]
async fn what_is_no_transaction_is_refused_with_the_reason() {
    let server = Server::start();
    let good = server.chain.registration(0).encode();
    for (body, expected) in [
        (String::new(), 400),
        ("zz".into(), 400),
        (hex::encode(&good[1..]), 400),
        (hex::encode([good.clone(), vec![0]].concat()), 400),
        ("0".repeat(10_000), 413),
        ("0".repeat(1 << 20), 413),
    ] {
        let answer = server.ask("POST", "/tx".into(), body.clone()).await;
        assert_eq!(answer.status, expected, "{:.60}: {}", body, answer.body);
    }
    assert!(Transaction::decode(&good).is_ok());
}

#[tokio::test]
async fn accounts_are_shown_by_key() {
    let server = Server::start();
    let account = key("operator", 0).public();
    let answer = server.ask("GET", format!("/account/{account}"), String::new()).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("\"balance\":\"0\""), "{}", answer.body);
    assert_eq!(server.ask("GET", "/survey/many".into(), String::new()).await.status, 400);
    assert_eq!(server.ask("GET", "/account/zz".into(), String::new()).await.status, 400);
    assert_eq!(server.ask("GET", format!("/account/{}", "0".repeat(5000)), String::new()).await.status, 400);
}

#[tokio::test]
async fn what_an_operator_asks_is_shown() {
    let server = Server::start();
    for (target, kind) in [
        ("/swarm", "node.swarm"),
        ("/peers", "node.peers"),
        ("/store", "node.store"),
        ("/drain", "node.drain"),
        ("/survey/7", "node.survey"),
    ] {
        let answer = server.ask("GET", target.into(), String::new()).await;
        assert_eq!(answer.status, 200, "{target}");
        let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((document["v"].as_u64(), document["type"].as_str()), (Some(1), Some(kind)), "{target}");
    }
}

#[tokio::test]
async fn orders_are_taken() {
    let server = Server::start();
    for target in ["/keys/rotate", "/shutdown"] {
        assert_eq!(server.ask("POST", target.into(), String::new()).await.status, 202, "{target}");
        assert_eq!(server.ask("GET", target.into(), String::new()).await.status, 405, "{target}");
    }
}

#[tokio::test]
async fn draining_is_begun_and_ended_and_nothing_else_is_understood() {
    let server = Server::start();
    for (method, body, expected) in
        [("POST", "", 202), ("POST", "force\n", 202), ("POST", "faster", 400), ("DELETE", "", 202), ("PUT", "", 405)]
    {
        let answer = server.ask(method, "/drain".into(), body.into()).await;
        assert_eq!(answer.status, expected, "{method} {body}: {}", answer.body);
    }
}
