//! What the operator wants done.

use sotto_proto::time::Now;

use super::message::{Command, CommandId, Outgoing, Output, Refusal, Tag, To};
use super::{COMMANDS, ServiceNode};

impl ServiceNode {
    pub(super) fn on_command(&mut self, id: CommandId, command: Command, now: Now, outputs: &mut Vec<Output>) {
        let refuse = |refusal| Output::Answer { id, result: Err(refusal) };
        match command {
            Command::Submit(_) if self.commands.len() >= COMMANDS => outputs.push(refuse(Refusal::Busy)),
            Command::Submit(bytes) => {
                let tag = Tag(self.number());
                self.commands.insert(tag, id);
                outputs.push(Output::Send { to: To::Producer, message: Outgoing::Transaction { tag, bytes } });
            }
            Command::RotateKey if self.entry().is_none() => {
                outputs.push(refuse(Refusal::State("the node is not registered, so no key of it is in use".into())));
            }
            Command::RotateKey => {
                self.keys.rotate_now();
                outputs.push(Output::Answer { id, result: Ok(()) });
            }
            Command::Drain { force } => {
                let result = self.drain(force, now, outputs);
                outputs.push(Output::Answer { id, result });
            }
            Command::EndDrain => {
                let result = self.end_drain();
                outputs.push(Output::Answer { id, result });
            }
        }
    }
}
