//! What peers answer when they are asked how they see this node: for the operator's `doctor`.
//!
//! ```text
//!  operator ─▶ up to N connected nodes: list/Info ─▶ their time, height, version
//!                                       └▶ list/Buckets at that height ─▶ their record of this node ─▶ operator
//! ```
//!
//! These are requests that everybody may make of a node; nothing else of what it thinks of others is told by any
//! protocol. Whoever has not answered in [`PATIENCE`] is reported with what there is by then.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::Rng as _;
use sotto_behaviours::network::{Request, RequestError, Response};
use sotto_proto::chain::{NodeRecord, NodeState, bucket_of};
use sotto_proto::codec::Reader;
use sotto_proto::id::{Height, NodeId};
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::request::{Info, ListRequest, ListResponse};
use sotto_proto::time::{Monotonic, Now};

use super::ServiceNode;
use super::message::{CommandId, Outgoing, Output, Refusal, Tag, To};

/// How long all answers together may take: less than an operator's command waits.
const PATIENCE: Duration = Duration::from_secs(4);
/// Surveys at once.
const SURVEYS: usize = 4;
/// Peers of one survey.
pub const PEERS: u16 = 64;

/// What a peer answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAnswer {
    /// Who.
    pub node: NodeId,
    /// What it says of itself, if it has answered.
    pub view: Option<PeerView>,
    /// Why there is no more.
    pub failure: Option<String>,
}

/// How a peer sees things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// How long its answer took.
    pub round_trip: Duration,
    /// Its final height.
    pub height: Height,
    /// Milliseconds that its clock is ahead of the own one, give or take half the round trip.
    pub ahead: i64,
    /// Its software's version.
    pub version: String,
    /// What its list has of this node; `None` until it was asked for.
    pub listed: Option<Listed>,
}

/// A node in somebody's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// It is not in there.
    Not,
    /// It is.
    As {
        /// Its state.
        state: NodeState,
        /// Where it can be reached.
        addresses: Vec<NodeAddr>,
    },
}

#[derive(Debug)]
struct Survey {
    until: Monotonic,
    answers: Vec<PeerAnswer>,
}

/// Surveys under way.
#[derive(Debug, Default)]
pub(super) struct Surveys {
    surveys: BTreeMap<CommandId, Survey>,
    /// Questions without an answer: of which survey, to whom, since when. At most one to each peer of a survey.
    asked: BTreeMap<Tag, (CommandId, NodeId, Monotonic)>,
}

impl Surveys {
    /// When the next one ends at the latest.
    pub(super) fn wake_at(&self) -> Option<Monotonic> {
        self.surveys.values().map(|survey| survey.until).min()
    }

    fn answer_of(&mut self, id: CommandId, node: NodeId) -> Option<&mut PeerAnswer> {
        self.surveys.get_mut(&id)?.answers.iter_mut().find(|answer| answer.node == node)
    }

    /// Those that everybody has answered, and those whose time is over.
    fn ended(&mut self, now: Monotonic) -> Vec<(CommandId, Vec<PeerAnswer>)> {
        let is_over =
            |id: &CommandId, survey: &Survey| now >= survey.until || !self.asked.values().any(|(of, _, _)| of == id);
        let over = self.surveys.iter().filter(|(id, survey)| is_over(id, survey));
        let over: Vec<CommandId> = over.map(|(id, _)| *id).collect();
        let late = self.asked.values().filter(|(of, _, _)| over.contains(of));
        let late: Vec<(CommandId, NodeId)> = late.map(|(of, node, _)| (*of, *node)).collect();
        self.asked.retain(|_, (of, _, _)| !over.contains(of));
        for (id, node) in late {
            if let Some(answer) = self.answer_of(id, node) {
                answer.failure = Some("no answer in time".into());
            }
        }
        over.into_iter().filter_map(|id| Some((id, self.surveys.remove(&id)?.answers))).collect()
    }
}

impl ServiceNode {
    /// Asks up to `most` connected nodes, drawn by lot. Answered by [`Output::Surveyed`].
    pub(super) fn begin_survey(&mut self, id: CommandId, most: u16, now: Now, outputs: &mut Vec<Output>) {
        let refused = if self.surveys.surveys.len() >= SURVEYS {
            Some(Refusal::Busy)
        } else if self.chain.is_none() {
            Some(Refusal::State("the chain is not known yet; try again soon".into()))
        } else {
            None
        };
        if let Some(refusal) = refused {
            return outputs.push(Output::Surveyed { id, result: Err(refusal) });
        }
        let nodes = self.drawn_nodes(usize::from(most.min(PEERS)));
        let answers = nodes.iter().map(|node| PeerAnswer { node: *node, view: None, failure: None }).collect();
        self.surveys.surveys.insert(id, Survey { until: now.monotonic.plus(PATIENCE), answers });
        for node in nodes {
            self.survey_asks(id, node, ListRequest::Info, now, outputs);
        }
    }

    /// Connected registered nodes. Keys are random, so a run of them that begins anywhere is a draw.
    fn drawn_nodes(&mut self, most: usize) -> Vec<NodeId> {
        let Some(chain) = &self.chain else { return Vec::new() };
        let mut nodes: Vec<_> = self.peers.nodes(|peer| chain.view.is_registered(peer)).collect();
        let count = u64::try_from(nodes.len()).unwrap_or(u64::MAX).max(1);
        nodes.rotate_left(usize::try_from(self.rng.next_u64() % count).unwrap_or(0));
        nodes.truncate(most);
        nodes
    }

    fn survey_asks(&mut self, id: CommandId, node: NodeId, request: ListRequest, now: Now, outputs: &mut Vec<Output>) {
        let tag = Tag(self.number());
        self.surveys.asked.insert(tag, (id, node, now.monotonic));
        let message = Outgoing::Request { tag, request: Request::List(request) };
        outputs.push(Output::Send { to: To::Node(node), message });
    }

    /// An answer to one of these questions.
    pub(super) fn on_survey_answer(
        &mut self,
        tag: Tag,
        result: &Result<Response, RequestError>,
        now: Now,
        outputs: &mut Vec<Output>,
    ) -> bool {
        let Some((id, node, asked)) = self.surveys.asked.remove(&tag) else { return false };
        let me = self.node_id();
        let Some(answer) = self.surveys.answer_of(id, node) else { return true };
        match result {
            Ok(Response::List(ListResponse::Info(info))) if answer.view.is_none() => {
                answer.view = Some(seen(info, now.monotonic.since(asked), now));
                let request = ListRequest::Buckets { height: info.final_height, buckets: [bucket_of(&me)].into() };
                self.survey_asks(id, node, request, now, outputs);
            }
            Ok(Response::List(ListResponse::Buckets { buckets, .. })) => {
                let listed = buckets.get(&bucket_of(&me)).and_then(|bucket| listed(&me, bucket));
                match (listed, &mut answer.view) {
                    (Some(listed), Some(view)) => view.listed = Some(listed),
                    _ => answer.failure = Some("its list cannot be read".into()),
                }
            }
            Ok(Response::List(ListResponse::Error(error))) => answer.failure = Some(error.to_string()),
            Ok(_) => answer.failure = Some("an answer to something else".into()),
            Err(error) => answer.failure = Some(error.to_string()),
        }
        true
    }

    /// Reports what is over.
    pub(super) fn advance_surveys(&mut self, now: Now, outputs: &mut Vec<Output>) {
        if self.surveys.surveys.is_empty() {
            return;
        }
        for (id, answers) in self.surveys.ended(now.monotonic) {
            outputs.push(Output::Surveyed { id, result: Ok(answers) });
        }
    }
}

fn seen(info: &Info, round_trip: Duration, now: Now) -> PeerView {
    let half = u64::try_from(round_trip.as_millis() / 2).unwrap_or(u64::MAX);
    let middle = i64::try_from(now.wall.0.saturating_sub(half)).unwrap_or(i64::MAX);
    let ahead = i64::try_from(info.time.0).unwrap_or(i64::MAX).saturating_sub(middle);
    PeerView { round_trip, height: info.final_height, ahead, version: info.version.as_str().to_owned(), listed: None }
}

/// What a bucket of somebody's list has of a node; `None` if it is no list.
fn listed(node: &NodeId, bucket: &[u8]) -> Option<Listed> {
    let mut reader = Reader::new(bucket);
    while reader.remaining() > 0 {
        let record = NodeRecord::read(&mut reader).ok()?;
        if record.node == *node {
            return Some(Listed::As { state: record.state, addresses: record.addresses });
        }
    }
    Some(Listed::Not)
}
