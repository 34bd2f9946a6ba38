//! The OpenRPC document (1.3.2) of all methods.

use serde_json::{Value, json};

use super::method;

/// Methods that are no commands: name, summary, parameters (name, type, required, description).
type Parameter = (&'static str, &'static str, bool, &'static str);
const OWN: [(&str, &str, &[Parameter]); 8] = [
    ("rpc.discover", "This document", &[]),
    (
        "events.subscribe",
        "Have events sent as notifications \"event\": mail behind a cursor, and what happens meanwhile",
        &[("after", "string", false, "mail after this cursor; without it, all that was not acknowledged")],
    ),
    ("events.unsubscribe", "No more events on this connection", &[]),
    (
        "events.ack",
        "Everything up to a cursor was seen: it is not told again",
        &[("cursor", "string", true, "the \"cursor\" of an event")],
    ),
    (
        "inbox.take",
        "Mail that was not acknowledged, the oldest first",
        &[
            ("after", "string", false, "all mail after this cursor instead"),
            ("limit", "integer", false, "at most so many; 256 at most"),
            ("waitMs", "integer", false, "wait so long for something to come; a minute at most"),
        ],
    ),
    ("daemon.status", "Whether the account is unlocked and connected", &[]),
    ("daemon.lock", "Forget the account's keys until it is unlocked", &[]),
    ("daemon.stop", "End the daemon", &[]),
];

/// The document.
pub(in super::super) fn document() -> Value {
    let own = OWN.iter().map(|(name, summary, parameters)| {
        let params: Vec<Value> = parameters
            .iter()
            .map(|(name, kind, required, description)| {
                json!({"name": name, "required": required, "description": description, "schema": {"type": kind}})
            })
            .collect();
        json!({
            "name": name, "summary": summary, "paramStructure": "by-name", "params": params,
            "result": {"name": "result", "schema": {"type": "object"}},
            "errors": [{"$ref": "#/components/errors/Failed"}],
        })
    });
    let tree = super::tree();
    let commands = method::methods(tree);
    let methods: Vec<Value> =
        own.chain(commands.iter().map(|(name, command)| method::describe(name, command))).collect();
    json!({
        "openrpc": "1.3.2",
        "info": {"title": "Sotto", "version": env!("CARGO_PKG_VERSION"),
                 "description": "JSON-RPC 2.0, a line each, over a Unix socket, standard input and output, or HTTP"},
        "methods": methods,
        "components": {
            "schemas": {"Document": {
                "type": "object", "required": ["v", "type"], "additionalProperties": true,
                "properties": {"v": {"type": "integer", "const": 1}, "type": {"type": "string"}},
            }},
            "errors": {"Failed": {
                "code": -32000, "message": "the command failed",
                "data": {"type": "object", "properties": {
                    "code": {"type": "string"}, "exit": {"type": "integer"}, "hint": {"type": ["string", "null"]},
                    "retry_after_ms": {"type": ["integer", "null"]},
                }},
            }},
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_method_is_described_once_and_every_reference_leads_somewhere() {
        let document = document();
        let methods = document["methods"].as_array().unwrap();
        let names: BTreeSet<&str> = methods.iter().map(|method| method["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), methods.len());
        assert!(names.contains("send") && names.contains("events.subscribe"));
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
        for method in methods {
            let params = method["params"].as_array().unwrap();
            let unique: BTreeSet<&str> = params.iter().map(|param| param["name"].as_str().unwrap()).collect();
            assert_eq!(unique.len(), params.len(), "{method}");
        }
    }
}
