//! Commands as methods: `contact.list` is `sotto contact list`, and its parameters are that command's arguments in camel
//! case. One definition, the tree of commands, is behind both, so they cannot differ.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// Nouns and verbs that work on the open account and with nothing but it. Everything else needs a terminal, other
/// accounts, or gives away what opens this one.
const OFFERED: [&str; 11] =
    ["send", "history", "search", "message", "request", "contact", "verify", "path", "status", "doctor", "hook"];
/// Verbs of other nouns.
const OFFERED_VERBS: [&str; 2] = ["account.show", "account.set"];

/// Arguments that belong to the program, not to a command.
fn is_own(arg: &Arg) -> bool {
    !arg.is_global_set() && !matches!(arg.get_id().as_str(), "help" | "version")
}

/// Why a call is no command.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum MethodError {
    /// There is no such command, or it is not offered.
    #[error("there is no method {0:?}; rpc.discover lists them")]
    Unknown(String),
    /// A parameter that it does not have.
    #[error("{method} has no parameter {parameter:?}")]
    Parameter {
        /// The method.
        method: String,
        /// The parameter.
        parameter: String,
    },
    /// A value of the wrong kind.
    #[error("parameter {parameter:?}: expected {expected}")]
    Value {
        /// The parameter.
        parameter: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Parameters that are no object.
    #[error("parameters are an object")]
    NoObject,
}

/// Every method with its command, in order.
pub(in super::super) fn methods(tree: &Command) -> BTreeMap<String, &Command> {
    let mut methods = BTreeMap::new();
    for noun in tree.get_subcommands() {
        let name = noun.get_name();
        if !noun.has_subcommands() {
            if OFFERED.contains(&name) {
                methods.insert(name.to_owned(), noun);
            }
            continue;
        }
        for verb in noun.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let method = format!("{name}.{}", camel(verb.get_name()));
            if OFFERED.contains(&name) || OFFERED_VERBS.contains(&method.as_str()) {
                methods.insert(method, verb);
            }
        }
    }
    methods
}

/// The command of a method.
fn find<'a>(tree: &'a Command, method: &str) -> Option<&'a Command> {
    let (noun, verb) = method.split_once('.').map_or((method, None), |(noun, verb)| (noun, Some(verb)));
    let command = tree.find_subcommand(noun).filter(|command| command.get_name() == noun)?;
    let is_offered = OFFERED.contains(&noun) || OFFERED_VERBS.contains(&method);
    let is_verb = |command: &&Command| command.get_name() != "help" && verb == Some(&*camel(command.get_name()));
    match verb {
        _ if !is_offered => None,
        None => (!command.has_subcommands()).then_some(command),
        Some(_) => command.get_subcommands().find(is_verb),
    }
}

/// Parameters of every command's method: name, schema, description.
const COMMON: [(&str, &str, &str); 2] = [
    (YES, "boolean", "confirms what the command would have confirmed"),
    (ANSWERS, "array", "what the command would ask for at a terminal, in order, as text"),
];
const YES: &str = "yes";
const ANSWERS: &str = "answers";

/// What a call gives instead of what would be typed at a terminal.
pub(in super::super) fn answers(params: &Value) -> Result<Vec<Zeroizing<String>>, MethodError> {
    let given = params.get(ANSWERS).map(|given| values(ANSWERS, given)).transpose()?;
    Ok(given.unwrap_or_default().into_iter().map(Zeroizing::new).collect())
}

/// The command line of a call, behind the program's name; what is not of it is passed over ([`COMMON`]).
pub(in super::super) fn arguments(tree: &Command, method: &str, params: &Value) -> Result<Vec<OsString>, MethodError> {
    let command = find(tree, method).ok_or_else(|| MethodError::Unknown(method.to_owned()))?;
    let none = Map::new();
    let params = match params {
        Value::Null => &none,
        Value::Object(params) => params,
        _ => return Err(MethodError::NoObject),
    };
    let mut args: Vec<OsString> = method.split('.').map(|word| kebab(word).into()).collect();
    let mut left: BTreeMap<&str, &Value> = params.iter().map(|(name, value)| (name.as_str(), value)).collect();
    left.remove(ANSWERS);
    if let Some(yes) = left.remove(YES)
        && boolean(YES, yes)?
    {
        args.push("--yes".into());
    }
    let mut positional = Vec::new();
    for arg in command.get_arguments().filter(|arg| is_own(arg)) {
        let name = name_of(arg);
        let Some(value) = left.remove(name.as_str()) else { continue };
        if value.is_null() {
            continue;
        }
        if arg.is_positional() {
            positional.extend(values(&name, value)?.into_iter().map(OsString::from));
        } else if matches!(arg.get_action(), ArgAction::SetTrue) {
            if boolean(&name, value)? {
                args.push(flag(arg).into());
            }
        } else {
            args.extend(values(&name, value)?.into_iter().map(|value| format!("{}={value}", flag(arg)).into()));
        }
    }
    if let Some((parameter, _)) = left.pop_first() {
        return Err(MethodError::Parameter { method: method.to_owned(), parameter: parameter.to_owned() });
    }
    if !positional.is_empty() {
        args.push("--".into());
        args.extend(positional);
    }
    Ok(args)
}

/// A parameter's name: that of the argument, and for what is just *which* one, what it is one of.
fn name_of(arg: &Arg) -> String {
    match (arg.get_id().as_str(), arg.get_value_names()) {
        ("which", Some([what, ..])) => camel(&what.to_lowercase()),
        (id, _) => camel(id),
    }
}

fn flag(arg: &Arg) -> String {
    arg.get_long().map_or_else(|| format!("--{}", arg.get_id()), |long| format!("--{long}"))
}

fn boolean(parameter: &str, value: &Value) -> Result<bool, MethodError> {
    value.as_bool().ok_or_else(|| MethodError::Value { parameter: parameter.to_owned(), expected: "true or false" })
}

/// One or several values as text.
fn values(parameter: &str, value: &Value) -> Result<Vec<String>, MethodError> {
    let plain = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => {
            Err(MethodError::Value { parameter: parameter.to_owned(), expected: "text, a number, or several of them" })
        }
    };
    match value {
        Value::Array(values) => values.iter().map(plain).collect(),
        value => Ok(vec![plain(value)?]),
    }
}

/// The OpenRPC description of a command's method.
pub(super) fn describe(method: &str, command: &Command) -> Value {
    let common = COMMON.iter().map(|(name, kind, description)| {
        json!({"name": name, "required": false, "description": description, "schema": {"type": kind}})
    });
    let own = command.get_arguments().filter(|arg| is_own(arg)).map(parameter);
    let params: Vec<Value> = own.chain(common).collect();
    let summary = command.get_about().map(ToString::to_string).unwrap_or_default();
    json!({
        "name": method, "summary": summary, "paramStructure": "by-name", "params": params,
        "result": {
            "name": "documents",
            "description": format!("what `sotto {} --json` prints", kebab(method).replace('.', " ")),
            "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Document"}},
        },
        "errors": [{"$ref": "#/components/errors/Failed"}],
    })
}

fn parameter(arg: &Arg) -> Value {
    let is_many =
        arg.get_num_args().is_some_and(|range| range.max_values() > 1) || matches!(arg.get_action(), ArgAction::Append);
    let one = match arg.get_action() {
        ArgAction::SetTrue => json!({"type": "boolean"}),
        _ => {
            let allowed: Vec<String> =
                arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
            if allowed.is_empty() { json!({"type": ["string", "integer"]}) } else { json!({"enum": allowed}) }
        }
    };
    let schema = if is_many { json!({"anyOf": [one, {"type": "array", "items": one}]}) } else { one };
    json!({
        "name": name_of(arg), "required": arg.is_required_set(),
        "description": arg.get_help().map(ToString::to_string).unwrap_or_default(), "schema": schema,
    })
}

/// `reply-to` and `reply_to` as `replyTo`.
fn camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut words = name.split(['-', '_']);
    camel.push_str(words.next().unwrap_or_default());
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

/// `replyTo` as `reply-to`.
fn kebab(name: &str) -> String {
    let mut kebab = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}

#[cfg(test)]
mod tests {
    use super::super::super::command;
    use super::*;

    fn line(method: &str, params: Value) -> Result<Vec<String>, MethodError> {
        let args = arguments(&command(), method, &params)?;
        Ok(args.into_iter().map(|arg| arg.into_string().unwrap()).collect())
    }

    #[test]
    fn parameters_become_arguments_and_cannot_pass_for_flags() {
        assert_eq!(line("contact.list", Value::Null).unwrap(), ["contact", "list"]);
        let sent = line("send", json!({"recipients": ["bob", "--all"], "message": "--yes", "ttl": "1d"})).unwrap();
        assert_eq!(sent, ["send", "--message=--yes", "--ttl=1d", "--", "bob", "--all"]);
        let numbers = line("history", json!({"contact": "bob", "limit": 3, "export": null})).unwrap();
        assert_eq!(numbers, ["history", "--limit=3", "--", "bob"]);
        let asked = json!({"contact": "bob", "question": "Where?", "answers": ["Lisbon"]});
        assert_eq!(line("verify.ask", asked.clone()).unwrap(), ["verify", "ask", "--", "bob", "Where?"]);
        assert_eq!(answers(&asked).unwrap().iter().map(|text| text.as_str()).collect::<Vec<_>>(), ["Lisbon"]);
        assert!(answers(&json!({})).unwrap().is_empty() && answers(&json!({"answers": [{}]})).is_err());
        let yes = line("contact.delete", json!({"contact": "bob", "yes": true})).unwrap();
        assert_eq!(yes, ["contact", "delete", "--yes", "--", "bob"]);
    }

    #[test]
    fn what_is_no_method_or_no_parameter_is_refused_by_name() {
        for method in
            ["account.exportPhrase", "account.delete", "passphrase.change", "config.set", "nothing", "contact"]
        {
            assert_eq!(line(method, json!({})), Err(MethodError::Unknown(method.to_owned())));
        }
        let unknown = MethodError::Parameter { method: "contact.list".into(), parameter: "what".into() };
        assert_eq!(line("contact.list", json!({"what": 1})), Err(unknown));
        assert!(matches!(line("send", json!({"recipients": {}})), Err(MethodError::Value { .. })));
        assert_eq!(line("send", json!([1])), Err(MethodError::NoObject));
    }

    #[test]
    fn every_offered_command_is_there_and_reads_back_as_itself() {
        let tree = command();
        let methods = methods(&tree);
        for (method, command) in &methods {
            assert_eq!(find(&tree, method).map(Command::get_name), Some(command.get_name()), "{method}");
        }
        for noun in ["send", "history", "request.accept", "contact.list", "verify.show", "path.show", "account.show"] {
            assert!(methods.contains_key(noun), "{noun}");
        }
        for (method, command) in &methods {
            let description = describe(method, command);
            assert_eq!(description["name"], json!(method));
            assert!(!description["summary"].as_str().unwrap().is_empty(), "{method} says nothing of itself");
            for parameter in description["params"].as_array().unwrap() {
                let name = parameter["name"].as_str().unwrap();
                assert_eq!(camel(&kebab(name)), name, "{method}");
            }
        }
    }

    #[test]
    fn names_have_two_spellings() {
        assert_eq!(
            (camel("reply-to"), camel("my_name"), camel("limit")),
            ("replyTo".into(), "myName".into(), "limit".into())
        );
        assert_eq!((kebab("replyTo"), kebab("exportPhrase")), ("reply-to".into(), "export-phrase".into()));
    }
}
