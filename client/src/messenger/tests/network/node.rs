//! What a node of the network answers.

use sotto_proto::limits::REQUEST_TIME_SECONDS;

use super::*;

/// A node that keeps nothing but the common mailbox.
pub(super) struct Node {
    pub(super) seed: u8,
    pub(super) established: Arc<AtomicUsize>,
    pub(super) chain: ChainId,
    pub(super) header: SignedHeader,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) list: Arc<ListDesk>,
    pub(super) silent: Arc<AtomicBool>,
    pub(super) dripping: Arc<AtomicBool>,
    /// Answers of one that drips.
    pub(super) drops: JoinSet<(TunnelId, SwarmResponse)>,
    pub(super) subscribers: BTreeMap<TunnelId, u64>,
    /// Who listens to which tags.
    pub(super) listeners: BTreeMap<ListeningTag, TunnelId>,
}

impl Node {
    pub(super) async fn run(mut self, mut network: Network) {
        let mut grown = self.mailbox.grown.subscribe();
        loop {
            self.established.store(network.counts().established, Ordering::Relaxed);
            tokio::select! {
                event = network.next() => match event {
                    Event::TunnelRequest { tunnel, request } if !self.silent.load(Ordering::Relaxed) => {
                        self.answer(&network, tunnel, request);
                    }
                    Event::TunnelClosed { tunnel } => {
                        self.subscribers.remove(&tunnel);
                        self.listeners.retain(|_, listener| *listener != tunnel);
                    }
                    _ => {}
                },
                Ok(()) = grown.changed() => self.push(&network),
                Some(Ok((tunnel, answer))) = self.drops.join_next() => {
                    network.tunnel_answer(tunnel, answer, false);
                }
            }
        }
    }

    fn push(&mut self, network: &Network) {
        if self.silent.load(Ordering::Relaxed) {
            return;
        }
        if self.is_former() {
            for tunnel in std::mem::take(&mut self.subscribers).into_keys() {
                network.tunnel_answer(tunnel, SwarmResponse::Error(WRONG_SWARM), false);
            }
        }
        for (tunnel, seq) in &mut self.subscribers {
            let records = self.mailbox.after(*seq);
            *seq = records.next_seq;
            network.tunnel_answer(*tunnel, SwarmResponse::Records(records), true);
        }
    }

    /// Whether it takes no subscription, which is counted.
    fn refuses(&self) -> bool {
        let mut refusing = self.mailbox.refusing.lock().unwrap();
        refusing.get_mut(&self.seed).map(|refusals| *refusals += 1).is_some()
    }

    /// What is said to questions whose time is too far from the node's.
    fn skew_of(&self, request: &SwarmRequest) -> Option<Error> {
        let time = match request {
            SwarmRequest::Retrieve(read) => read.read().time,
            SwarmRequest::Subscribe(read) => read.read().time,
            _ => return None,
        };
        let ahead = self.mailbox.clocks.lock().unwrap().get(&self.seed).copied().unwrap_or_default();
        let now = UnixSeconds(WallClock::system().now().seconds().0 + ahead);
        (time.0.abs_diff(now.0) > REQUEST_TIME_SECONDS).then_some(Error::ClockSkew { now })
    }

    /// Whether others keep the mail by now.
    fn is_former(&self) -> bool {
        FORMER[self.mailbox.keeping.load(Ordering::Relaxed)..].contains(&self.seed)
    }

    /// The final height it tells.
    fn height(&self) -> Height {
        let disagrees = self.list.disagreeing.load(Ordering::Relaxed);
        if disagrees { Height(1_000_000 * u64::from(self.seed)) } else { HEIGHT }
    }

    /// What it lets wait if it drips.
    fn drop_of(&self, request: &SwarmRequest) -> Option<SwarmResponse> {
        match request {
            SwarmRequest::Retrieve(read) if read.read().cursor.seq > 0 => {
                let next_seq = read.read().cursor.seq + 1;
                let records = Records { epoch: 1, records: Vec::new(), next_seq, more: true, syncing: false };
                Some(SwarmResponse::Records(records))
            }
            SwarmRequest::List(ListRequest::Buckets { height, buckets }) => {
                let one =
                    ListRequest::Buckets { height: *height, buckets: buckets.first().copied().into_iter().collect() };
                Some(SwarmResponse::List(self.list.answer(&self.chain, one)))
            }
            _ => None,
        }
    }

    fn answer(&mut self, network: &Network, tunnel: TunnelId, request: SwarmRequest) {
        if let Some(skew) = self.skew_of(&request) {
            network.tunnel_answer(tunnel, SwarmResponse::Error(skew), false);
            return;
        }
        if self.dripping.load(Ordering::Relaxed)
            && let Some(answer) = self.drop_of(&request)
        {
            let drip = Duration::from_millis(self.mailbox.drip_ms.load(Ordering::Relaxed));
            self.drops.spawn(async move {
                tokio::time::sleep(drip).await;
                (tunnel, answer)
            });
            return;
        }
        let answer = match request {
            SwarmRequest::Retrieve(_) | SwarmRequest::Subscribe(_) | SwarmRequest::Store { .. } if self.is_former() => {
                SwarmResponse::Error(WRONG_SWARM)
            }
            SwarmRequest::Retrieve(read) if self.dripping.load(Ordering::Relaxed) => {
                self.mailbox.retrieves.fetch_add(1, Ordering::Relaxed);
                let records = Records { more: true, ..self.mailbox.after(read.read().cursor.seq) };
                SwarmResponse::Records(Records { next_seq: records.next_seq.max(1), ..records })
            }
            SwarmRequest::Retrieve(read) => {
                self.mailbox.retrieves.fetch_add(1, Ordering::Relaxed);
                SwarmResponse::Records(self.mailbox.after(read.read().cursor.seq))
            }
            SwarmRequest::Subscribe(_) if self.refuses() => SwarmResponse::Error(Error::Busy),
            SwarmRequest::Subscribe(read) => {
                self.mailbox.subscribed.lock().unwrap().push(self.seed);
                self.mailbox.subscriptions.fetch_add(1, Ordering::Relaxed);
                let records = self.mailbox.after(read.read().cursor.seq);
                self.subscribers.insert(tunnel, records.next_seq);
                network.tunnel_answer(tunnel, SwarmResponse::Records(records), true);
                return;
            }
            SwarmRequest::Store { record, .. } => self.store(record),
            SwarmRequest::List(ListRequest::Info) => SwarmResponse::List(ListResponse::Info(Info {
                final_height: self.height(),
                time: WallClock::system().now(),
                version: Line::new("test"),
                state: None,
            })),
            SwarmRequest::List(ListRequest::Headers { .. }) => {
                SwarmResponse::List(ListResponse::Headers(vec![self.header.clone()]))
            }
            SwarmRequest::List(request) => SwarmResponse::List(self.list.answer(&self.chain, request)),
            SwarmRequest::Listen(tags) => {
                self.listeners.retain(|_, listener| *listener != tunnel);
                self.listeners.extend(tags.as_slice().iter().map(|tag| (*tag, tunnel)));
                self.mailbox.listenings.lock().unwrap().push(self.seed);
                network.tunnel_answer(tunnel, SwarmResponse::Listening, true);
                return;
            }
            SwarmRequest::Push(push) => {
                self.mailbox.pushes.fetch_add(1, Ordering::Relaxed);
                match self.listeners.get(&push.tag) {
                    Some(_) if self.mailbox.swallowing.load(Ordering::Relaxed) => SwarmResponse::Delivered,
                    Some(listener) => {
                        for _ in 0..=self.mailbox.doubling.load(Ordering::Relaxed) {
                            network.tunnel_answer(*listener, SwarmResponse::Pushed(push.clone()), true);
                        }
                        SwarmResponse::Delivered
                    }
                    None => SwarmResponse::NoListener,
                }
            }
            _ => SwarmResponse::Error(Error::Busy),
        };
        network.tunnel_answer(tunnel, answer, false);
    }

    fn store(&self, bytes: Vec<u8>) -> SwarmResponse {
        let record = Record::decode(&bytes).unwrap();
        let envelope = record.envelope();
        let receipt = Receipt {
            node: node_of(self.seed),
            address: envelope.address(),
            id: envelope.id(&self.chain),
            expiry: envelope.expiry(),
            height: HEIGHT,
        };
        self.mailbox.put(bytes);
        SwarmResponse::Stored { receipt, signature: receipt.sign(&key(self.seed), &self.chain) }
    }
}
