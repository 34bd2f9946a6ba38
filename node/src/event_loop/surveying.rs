//! How peers see the node, for whoever asked.

use sotto_proto::chain::NodeRecord;
use sotto_proto::net_addr::NodeAddr;

use super::EventLoop;
use crate::service_node::{CommandId, Listed, PeerAnswer, Refusal};
use crate::status::survey::{ListedStatus, PeerAnswerStatus, SurveyStatus};

impl EventLoop {
    pub(super) fn tell_of_survey(&mut self, id: CommandId, result: Result<Vec<PeerAnswer>, Refusal>) {
        let status = result.map(|answers| self.survey_status(&answers));
        if let Some(reply) = self.surveys.remove(&id) {
            drop(reply.send(status)); // whoever asked may have gone away
        }
    }

    fn survey_status(&self, answers: &[PeerAnswer]) -> SurveyStatus {
        let machine = &self.parts.machine;
        let current = machine.chain().map(|chain| chain.view.current());
        let record = current.and_then(|current| current.nodes.get(&machine.node_id()));
        SurveyStatus {
            v: SurveyStatus::VERSION,
            kind: SurveyStatus::TYPE.to_owned(),
            node: machine.node_id().to_string(),
            height: current.map_or(0, |current| current.height.0),
            own: record.map(|record| own(record)),
            answers: answers.iter().map(|answer| self.answer_status(answer)).collect(),
        }
    }

    fn answer_status(&self, answer: &PeerAnswer) -> PeerAnswerStatus {
        let view = answer.view.as_ref();
        PeerAnswerStatus {
            peer: answer.node.to_string(),
            direction: self.direction(&answer.node),
            round_trip_ms: view.map(|view| u64::try_from(view.round_trip.as_millis()).unwrap_or(u64::MAX)),
            height: view.map(|view| view.height.0),
            clock_ahead_ms: view.map(|view| view.ahead),
            version: view.map(|view| view.version.clone()),
            shown_record: view.is_some_and(|view| view.listed.is_some()),
            listed: view.and_then(|view| view.listed.as_ref()).and_then(listed),
            failure: answer.failure.clone(),
        }
    }
}

fn own(record: &NodeRecord) -> ListedStatus {
    ListedStatus { state: record.state.name().to_owned(), addresses: texts(&record.addresses) }
}

fn listed(listed: &Listed) -> Option<ListedStatus> {
    match listed {
        Listed::Not => None,
        Listed::As { state, addresses } => {
            Some(ListedStatus { state: state.name().to_owned(), addresses: texts(addresses) })
        }
    }
}

fn texts(addresses: &[NodeAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}
