//! The one task in which everything meets; see the figure in [`producer`](crate::producer).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use sotto_behaviours::clock::Clock;
use sotto_behaviours::network::{Event, FetchOutcome, GossipId, Network, ReplyTo, Request, Response, Verdict};
use sotto_proto::chain::SignedHeader;
use sotto_proto::id::{Height, NodeId};
use sotto_proto::network::NetworkView;
use sotto_proto::request::{ChainRequest, ChainResponse, Error, ListRequest, ListResponse};
use sotto_proto::sign::Ed25519;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::BlockError;
use crate::producer::block_log::AppendError;
use crate::producer::command::{Answer, Command, Question};
use crate::producer::disk::{Disk, Done, Ended, Job};
use crate::producer::machine::{Audience, Input, Machine, Output, Refusal, Reply, Ticket};
use crate::producer::metrics::Metrics;
use crate::producer::report::{self, Vitals};
use crate::producer::{serve, snapshots};

/// Replies that peers and commands wait for. Transactions are answered at once; only commands that make blocks wait.
const MAX_WAITING: usize = 256;

/// Why the producer ends other than on request.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Blocks cannot be stored.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The disk thread is gone.
    #[error(transparent)]
    Disk(#[from] Ended),
    /// The state machine failed on its own block.
    #[error("defect in the state machine: {0}")]
    Defect(#[from] BlockError),
    /// Threads or sockets cannot be made.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Who waits for the machine.
enum Waiter {
    Peer(ReplyTo),
    Command(oneshot::Sender<Result<Reply, Refusal>>),
}

/// Everything the loop owns.
pub(super) struct EventLoop {
    pub(super) machine: Machine,
    pub(super) network: Network,
    pub(super) disk: Disk<ReplyTo>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) view: watch::Sender<Arc<NetworkView>>,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) started: Instant,
    pub(super) progress: Progress,
}

/// What the loop remembers between events.
#[derive(Default)]
pub(super) struct Progress {
    tickets: u64,
    waiting: BTreeMap<Ticket, Waiter>,
    /// When the batch that is on its way to disk was sent there.
    writing: Option<Instant>,
    /// The height of the last snapshot asked for.
    snapshot: Height,
    listening: bool,
    /// Who is shown the second of two branches; `None` while there is one.
    second_half: Option<BTreeSet<NodeId>>,
}

impl EventLoop {
    /// Runs until `cancel`, or until blocks can no longer be made or stored.
    pub(super) async fn run(mut self, cancel: CancellationToken) -> Result<(), RunError> {
        self.progress.snapshot = Height(self.machine.tip().height().0 / snapshots::INTERVAL * snapshots::INTERVAL);
        self.metrics.show(&self.machine);
        while !cancel.is_cancelled() {
            let timer = self.machine.next_timer().map(|time| self.clock.instant(time));
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                done = self.disk.next() => self.on_done(done?)?,
                () = sleep_until(timer) => self.feed(Input::Timer)?,
                Some(command) = self.commands.recv() => self.on_command(command)?,
                event = self.network.next() => self.on_event(event)?,
            }
        }
        self.finish_write().await
    }

    /// Lets a batch that is on its way to disk arrive: it is found there after the restart, whoever waits is answered.
    async fn finish_write(&mut self) -> Result<(), RunError> {
        while self.progress.writing.is_some() {
            match self.disk.next().await? {
                Done::Appended(result) => {
                    result?;
                    self.progress.writing = None;
                }
                _ => continue,
            }
        }
        Ok(())
    }

    fn feed(&mut self, input: Input) -> Result<(), RunError> {
        let begin = Instant::now();
        let outputs = VecDeque::from(self.machine.handle(input, self.clock.now()));
        self.metrics.handled(begin.elapsed());
        outputs.into_iter().try_for_each(|output| self.carry_out(output))
    }

    fn carry_out(&mut self, output: Output) -> Result<(), RunError> {
        match output {
            Output::Persist(batch) => {
                self.progress.writing = Some(Instant::now());
                if self.disk.send(Job::Append(batch))?.is_some() {
                    // The queue has room for one batch, and the machine makes one at a time.
                    return Err(RunError::Disk(Ended));
                }
            }
            Output::Adopted { undone, added } => self.on_adopted(undone, added)?,
            Output::Publish { block, audience } => self.publish(block, audience),
            Output::Reply { ticket, reply } => self.reply(ticket, reply),
            Output::Dropped { id, reason } => {
                self.metrics.dropped();
                tracing::info!(tx = id.short(), reason, "a transaction was dropped");
            }
            Output::Halted => {
                tracing::error!(reason = self.machine.halted().unwrap_or_default(), "no more blocks are produced");
            }
            Output::Defect(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn on_adopted(&mut self, undone: u64, added: u64) -> Result<(), RunError> {
        self.metrics.adopted(undone, added, &self.machine);
        self.view.send_replace(Arc::new(self.machine.view()));
        let tip = self.machine.tip();
        if undone > 0 {
            tracing::warn!(undone, added, tip = tip.height().0, "blocks were undone on request");
        } else {
            tracing::debug!(tip = tip.height().0, hash = tip.tip_hash().short(), added, "produced");
        }
        // The oldest state held is below everything that can still be undone.
        let oldest = self.machine.chain().oldest();
        if oldest.height() >= self.progress.snapshot.plus(snapshots::INTERVAL) {
            self.progress.snapshot = oldest.height();
            if self.disk.send(Job::Snapshot(Box::new(oldest.clone())))?.is_some() {
                tracing::warn!("the disk is too slow for a snapshot; the next one will do");
            }
        }
        Ok(())
    }

    /// Gossips a block, in a split to half of the nodes only. They pass it on, so in the end everybody has both
    /// branches; but of two equally long ones each node stays on the one it saw first.
    fn publish(&mut self, block: Vec<u8>, audience: Audience) {
        if audience == Audience::All {
            self.progress.second_half = None;
            return self.network.publish_block(block);
        }
        let second = self.progress.second_half.get_or_insert_with(|| {
            let nodes = self.machine.tip().nodes();
            let half: BTreeSet<_> =
                self.network.connected().filter(|node| nodes.contains_key(node)).skip(1).step_by(2).collect();
            tracing::warn!(second_half = half.len(), "a split begins: two heads");
            half
        });
        self.network.publish_block_to(block, |node| second.contains(node) == (audience == Audience::SecondHalf));
    }

    fn reply(&mut self, ticket: Ticket, reply: Result<Reply, Refusal>) {
        if let Ok(Reply::Submitted(_)) | Err(Refusal::Invalid(_) | Refusal::Full(_) | Refusal::Malformed(_)) = &reply {
            self.metrics.submitted(reply.is_ok());
        }
        match self.progress.waiting.remove(&ticket) {
            Some(Waiter::Peer(to)) => {
                let response = match reply {
                    Ok(_) => ChainResponse::Submitted,
                    Err(refusal) => ChainResponse::Error(serve::refused(&refusal)),
                };
                self.network.respond(to, Response::Chain(response));
            }
            // Whoever asked may have gone meanwhile.
            Some(Waiter::Command(to)) => drop(to.send(reply)),
            None => {}
        }
    }

    fn on_command(&mut self, command: Command) -> Result<(), RunError> {
        match command {
            Command::Act(action, to) => self.act(Waiter::Command(to), |ticket| action.input(ticket)),
            Command::Ask(question, to) => {
                drop(to.send(self.answer(question)));
                Ok(())
            }
        }
    }

    fn act(&mut self, waiter: Waiter, input: impl FnOnce(Ticket) -> Input) -> Result<(), RunError> {
        let ticket = Ticket(self.progress.tickets);
        self.progress.tickets += 1;
        let full = self.progress.waiting.len() >= MAX_WAITING;
        self.progress.waiting.insert(ticket, waiter);
        if full {
            self.reply(ticket, Err(Refusal::Busy));
            return Ok(());
        }
        self.feed(input(ticket))
    }

    fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Status => {
                let vitals = Vitals { counts: self.network.counts(), uptime: self.started.elapsed() };
                Answer::Status(Box::new(report::status(&self.machine, vitals)))
            }
            Question::Account(key) => Answer::Account(report::account(&self.machine, &key)),
            Question::Transaction(id) => Answer::Transaction(report::transaction(&self.machine, &id)),
            Question::Stakes(only) => Answer::Stakes(report::stakes(&self.machine, only.as_ref())),
            Question::Ready => Answer::Ready(match self.machine.halted() {
                Some(reason) => Some(reason.to_owned()),
                None => (!self.progress.listening).then(|| "the network does not listen yet".to_owned()),
            }),
        }
    }

    fn on_done(&mut self, done: Done<ReplyTo>) -> Result<(), RunError> {
        match done {
            Done::Appended(result) => {
                result?;
                if let Some(begin) = self.progress.writing.take() {
                    self.metrics.appended(begin.elapsed());
                }
                self.feed(Input::Durable)?;
            }
            Done::Blocks { asker, blocks } => {
                warn_of_damage(blocks.as_ref().err());
                self.network.respond(asker, Response::Chain(serve::blocks(blocks)));
            }
            Done::Headers { asker, headers } => {
                warn_of_damage(headers.as_ref().err());
                self.network.respond(asker, Response::List(serve::headers(headers)));
            }
            Done::Snapshot { height, result: Ok(()) } => tracing::info!(height = height.0, "snapshot written"),
            Done::Snapshot { height, result: Err(error) } => {
                tracing::warn!(height = height.0, %error, "no snapshot; a restart replays more blocks");
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<(), RunError> {
        match event {
            Event::Listening(address) => {
                self.progress.listening = true;
                tracing::info!(%address, "listening");
            }
            Event::Block { from, gossip, bytes } => self.on_block(from, gossip, &bytes)?,
            Event::Blocks { from, fetch, blocks } => {
                for bytes in &blocks {
                    self.see(from, bytes)?;
                }
                // Nothing is taken over from others: this process makes the blocks.
                self.network.fetched(fetch, FetchOutcome::Inserted { tip: self.machine.tip().height() });
            }
            Event::SwarmMessage { gossip, .. } => self.network.judge(gossip, Verdict::Ignore),
            Event::Request { from, request, reply } => self.on_request(&from, request, reply)?,
            Event::OtherGenesis { node } => {
                tracing::info!(peer = node.short(), "a peer speaks another chain's protocols");
            }
            // No tunnel ends at the producer.
            Event::TunnelRequest { .. } | Event::TunnelReady { .. } | Event::TunnelClosed { .. } => {}
            Event::PeerConnected { .. }
            | Event::PeerDisconnected { .. }
            | Event::Response { .. }
            | Event::ClockJudged(_) => {}
        }
        Ok(())
    }

    /// A block from gossip is one of ours that came round, or it should not exist.
    fn on_block(&mut self, from: NodeId, gossip: GossipId, bytes: &[u8]) -> Result<(), RunError> {
        let verdict = self.see(from, bytes)?;
        self.network.judge(gossip, verdict);
        Ok(())
    }

    fn see(&mut self, from: NodeId, bytes: &[u8]) -> Result<Verdict, RunError> {
        let header = bytes.get(..SignedHeader::LEN).and_then(|bytes| SignedHeader::decode(bytes).ok());
        let Some(header) = header else { return Ok(Verdict::Reject) };
        let (chain, authority) = (self.machine.tip().chain(), self.machine.tip().founding().authority);
        if self.machine.recent_hashes().get(&header.header.height) == Some(&header.hash(&chain)) {
            return Ok(Verdict::Accept);
        }
        if !header.verify(&chain, &authority, &Ed25519) {
            return Ok(Verdict::Reject);
        }
        self.metrics.foreign();
        tracing::debug!(peer = from.short(), height = header.header.height.0, "a block that is not on the chain");
        self.feed(Input::Seen(Box::new(header)))?;
        Ok(Verdict::Ignore)
    }

    fn on_request(&mut self, peer: &NodeId, request: Request, reply: ReplyTo) -> Result<(), RunError> {
        if let Some(response) = self.second_branch(peer, &request) {
            self.network.respond(reply, Response::Chain(response));
            return Ok(());
        }
        match request {
            Request::Chain(ChainRequest::Tip) => {
                let tip = self.machine.tip();
                let (height, hash) = (tip.height(), tip.tip_hash());
                self.network.respond(reply, Response::Chain(ChainResponse::Tip { height, hash }));
            }
            Request::Chain(ChainRequest::Blocks { from, max_bytes }) => {
                let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
                self.read(Job::Blocks { from, max_bytes, asker: reply })?;
            }
            Request::Chain(ChainRequest::SubmitTransaction(transaction)) => {
                self.act(Waiter::Peer(reply), |ticket| Input::Submit { ticket, transaction })?;
            }
            Request::List(request) => self.on_list_request(request, reply)?,
            // A status request is answered inside the network, and the producer has no part in the others.
            Request::Status(_) | Request::Repair(_) | Request::Offer(_) => drop(reply),
        }
        Ok(())
    }

    /// In a split, what those are told who see the second branch; `None` if that is what all are told.
    fn second_branch(&self, peer: &NodeId, request: &Request) -> Option<ChainResponse> {
        self.progress.second_half.as_ref().filter(|half| half.contains(peer))?;
        let tip = self.machine.tip().height();
        match request {
            Request::Chain(ChainRequest::Tip) => {
                let (hash, _) = self.machine.second_branch(tip)?;
                Some(ChainResponse::Tip { height: tip, hash })
            }
            Request::Chain(ChainRequest::Blocks { from, max_bytes }) => {
                let (_, blocks) = self.machine.second_branch(*from)?;
                let blocks = serve::fitting(blocks, usize::try_from(*max_bytes).unwrap_or(usize::MAX));
                Some(ChainResponse::Blocks { blocks, tip })
            }
            _ => None,
        }
    }

    fn on_list_request(&mut self, request: ListRequest, reply: ReplyTo) -> Result<(), RunError> {
        let response = match request {
            ListRequest::Info => serve::info(&self.view.borrow(), self.clock.now().wall),
            ListRequest::Buckets { height, buckets } => serve::buckets(&self.view.borrow(), height, &buckets),
            ListRequest::Hashes { height } => serve::hashes(&self.view.borrow(), height),
            ListRequest::Headers { from, count } => {
                let count = serve::headers_shown(&self.view.borrow(), from, count);
                if count > 0 {
                    return self.read(Job::Headers { from, count, asker: reply });
                }
                ListResponse::Headers(Vec::new())
            }
        };
        self.network.respond(reply, Response::List(response));
        Ok(())
    }

    /// Has something read, or says that too much is being read.
    fn read(&mut self, job: Job<ReplyTo>) -> Result<(), RunError> {
        let refused = self.disk.send(job)?;
        if refused.is_some() {
            self.metrics.busy();
        }
        match refused {
            Some(Job::Blocks { asker, .. }) => {
                self.network.respond(asker, Response::Chain(ChainResponse::Error(Error::Busy)));
            }
            Some(Job::Headers { asker, .. }) => {
                self.network.respond(asker, Response::List(ListResponse::Error(Error::Busy)));
            }
            Some(Job::Append(_) | Job::Snapshot(_)) | None => {}
        }
        Ok(())
    }
}

fn warn_of_damage(error: Option<&crate::producer::block_log::ReadError>) {
    if let Some(error) = error {
        use crate::producer::block_log::ReadError;
        match error {
            ReadError::Pruned(_) => tracing::debug!(%error, "a peer asks for old blocks"),
            ReadError::Io { .. } | ReadError::Damaged(_) => tracing::error!(%error, "the block log is damaged"),
        }
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
