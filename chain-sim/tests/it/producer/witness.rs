//! A peer of the producer.

use super::*;

/// A peer of the producer that remembers every block it is shown, and follows the chain as a node does.
pub(super) struct Witness {
    pub(super) network: Network,
    pub(super) producer: sotto_proto::id::NodeId,
    pub(super) chain: ChainId,
    pub(super) seen: BTreeMap<Height, BTreeSet<BlockHash>>,
    pub(super) gossiped: u64,
    pub(super) follower: Follower,
    pub(super) view: watch::Sender<Arc<NetworkView>>,
}

impl Witness {
    pub(super) fn new(place: &Place, role: Role) -> Self {
        Self::on(place, role, place.genesis().genesis)
    }

    pub(super) fn on(place: &Place, role: Role, genesis: Genesis) -> Self {
        let state = State::genesis(&genesis);
        let follower = Follower::new(state.clone());
        let (sender, view) = watch::channel(Arc::new(follower.view()));
        let producer = Peer { node: genesis.producer, addresses: vec![place.listen()] };
        let config = NetworkConfig {
            identity: Zeroizing::new(*node_key().seed()),
            chain: state.chain(),
            role,
            listen: (role == Role::Node).then(|| place.address(28_000)),
            producer,
            bootstrap: Vec::new(),
            limits: ConnectionLimits { per_address_enabled: false, ..ConnectionLimits::default() },
            private_addresses: true,
            timeouts: Timeouts::default(),
            clock: WallClock::system(),
            relay: None,
        };
        let network = Network::new(config, view, None).unwrap();
        let (chain, producer) = (state.chain(), genesis.producer);
        Self { network, producer, chain, seen: BTreeMap::new(), gossiped: 0, follower, view: sender }
    }

    pub(super) fn saw(&mut self, bytes: &[u8]) {
        let block = Block::decode(bytes).unwrap();
        self.seen.entry(block.height()).or_default().insert(block.hash(&self.chain));
        self.follower.insert(block, &Ed25519).unwrap();
        self.view.send_replace(Arc::new(self.follower.view()));
    }

    pub(super) fn highest(&self) -> Height {
        self.seen.last_key_value().map_or(Height(0), |(height, _)| *height)
    }

    pub(super) fn on_event(&mut self, event: Event) {
        match event {
            Event::Block { gossip, bytes, .. } => {
                self.gossiped += 1;
                self.saw(&bytes);
                self.network.judge(gossip, Verdict::Accept);
            }
            Event::Blocks { fetch, blocks, .. } => {
                blocks.iter().for_each(|block| self.saw(block));
                let tip = self.highest();
                self.network.fetched(fetch, FetchOutcome::Inserted { tip });
            }
            _ => {}
        }
    }

    /// Asks once.
    pub(super) async fn try_ask(&mut self, request: Request) -> Result<Response, RequestError> {
        let Ok(asked) = self.network.request(self.producer, request) else {
            return Err(RequestError::Unreachable);
        };
        loop {
            match self.network.next().await {
                Event::Response { id, result, .. } if id == asked => return result,
                event => self.on_event(event),
            }
        }
    }

    /// Asks until there is an answer.
    pub(super) async fn ask(&mut self, request: Request) -> Response {
        let begin = Instant::now();
        loop {
            match self.try_ask(request.clone()).await {
                Ok(response) => return response,
                Err(error) => {
                    assert!(begin.elapsed() < PATIENCE, "{error}");
                    let pause = tokio::time::sleep(Duration::from_millis(50));
                    tokio::pin!(pause);
                    loop {
                        tokio::select! {
                            () = &mut pause => break,
                            event = self.network.next() => self.on_event(event),
                        }
                    }
                }
            }
        }
    }

    pub(super) async fn chain(&mut self, request: ChainRequest) -> ChainResponse {
        match self.ask(Request::Chain(request)).await {
            Response::Chain(response) => response,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn list(&mut self, request: ListRequest) -> ListResponse {
        match self.ask(Request::List(request)).await {
            Response::List(response) => response,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn blocks(&mut self, from: Height) -> Vec<Vec<u8>> {
        match self.chain(ChainRequest::Blocks { from, max_bytes: 1 << 20 }).await {
            ChainResponse::Blocks { blocks, .. } => blocks,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn submit(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        match self.chain(ChainRequest::SubmitTransaction(bytes)).await {
            ChainResponse::Submitted => Ok(()),
            ChainResponse::Error(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn sign(&self, nonce: u64, payload: Payload) -> Transaction {
        let operator = operator();
        let node = matches!(payload, Payload::Register { .. }).then(node_key);
        let body = TxBody { signer: operator.public(), nonce, fee: Amount(0), payload };
        Transaction::sign(body, &operator, node.as_ref(), &self.chain)
    }

    pub(super) fn transfer(&self, nonce: u64) -> Transaction {
        self.sign(nonce, Payload::Transfer { to: node_key().public(), amount: Amount(1) })
    }

    pub(super) fn register(&self, place: &Place) -> Transaction {
        self.sign(
            0,
            Payload::Register {
                node: node_key().node_id(),
                x25519: X25519Key::new([5; 32]),
                stake: Amount::coins(100),
                region: "eu".parse().unwrap(),
                addresses: vec![place.address(28_000)],
            },
        )
    }
}
