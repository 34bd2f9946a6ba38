//! Transactions that a node is asked to pass on: it pays for them at the producer, so it looks at them first.

use sotto_behaviours::network::{Request, RequestId, Response};
use sotto_proto::request::{ChainRequest, ChainResponse, Error};

use crate::support::{Host, Net, node_of, transaction, until};

/// The producer, a node, and clients of that node.
async fn scene(clients: u8) -> Vec<Host> {
    let net = Net::new();
    let view = net.view(1, &[1], &[]);
    let mut hosts = vec![net.host(0, view.clone()), net.host(1, view.clone())];
    hosts.extend((0..clients).map(|index| {
        let client = net.client(20 + index);
        client.set_view(view.clone());
        client
    }));
    until(&mut hosts, "connected", |hosts| hosts[1].is_connected(0)).await;
    hosts
}

/// What the node says to each client's transaction.
async fn submit(hosts: &mut [Host], transactions: Vec<Vec<u8>>) -> Vec<ChainResponse> {
    let mut ids = Vec::new();
    for (client, bytes) in hosts[2..].iter_mut().zip(transactions) {
        let request = Request::Chain(ChainRequest::SubmitTransaction(bytes));
        ids.push(client.network.request(node_of(1), request).unwrap());
    }
    until(hosts, "all are answered", |hosts| {
        hosts[2..].iter().zip(&ids).all(|(client, id)| client.responses.contains_key(id))
    })
    .await;
    let answer = |(client, id): (&Host, &RequestId)| match &client.responses[id].1 {
        Ok(Response::Chain(answer)) => answer.clone(),
        other => panic!("{other:?}"),
    };
    hosts[2..].iter().zip(&ids).map(answer).collect()
}

#[tokio::test]
async fn what_is_no_transaction_or_wrongly_signed_is_not_passed_on() {
    let mut hosts = scene(4).await;
    let (right, mut forged, mut cut) = (transaction(1), transaction(2), transaction(3));
    *forged.last_mut().unwrap() ^= 1;
    cut.pop();
    let answers = submit(&mut hosts, vec![right.clone(), forged, cut, vec![7; 600]]).await;
    assert_eq!(
        answers,
        [
            ChainResponse::Submitted,
            ChainResponse::Error(Error::Unauthorized),
            ChainResponse::Error(Error::Malformed),
            ChainResponse::Error(Error::Malformed),
        ]
    );
    assert_eq!(hosts[0].transactions, [right]);
}

#[tokio::test]
async fn strangers_cannot_use_up_what_a_node_may_submit() {
    let mut hosts = scene(6).await;
    let (mut passed_on, mut refused) = (0, 0);
    // Each client for itself stays far below its allowance.
    for round in 0..32 {
        for answer in submit(&mut hosts, (0..6).map(|client| transaction(6 * round + client)).collect()).await {
            match answer {
                ChainResponse::Submitted => passed_on += 1,
                ChainResponse::Error(Error::RateLimited { .. }) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(passed_on >= 64 && refused > 0, "{passed_on} passed on, {refused} refused");
    assert_eq!(hosts[0].transactions.len(), passed_on);
    // The node's own are taken all the while.
    for nonce in 1000..1008 {
        let id = hosts[1].network.submit_transaction(transaction(nonce)).unwrap();
        until(&mut hosts, "answered", |hosts| hosts[1].responses.contains_key(&id)).await;
        assert_eq!(hosts[1].responses[&id], (node_of(0), Ok(Response::Chain(ChainResponse::Submitted))));
    }
}
