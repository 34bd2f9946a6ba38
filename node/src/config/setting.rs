//! The table of all settings.

/// One setting: flag, environment variable and file key at once.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// Flag without dashes, and key in files.
    pub name: &'static str,
    /// Environment variable.
    pub environment: &'static str,
    /// Value where none is set; empty for none.
    pub default: &'static str,
    /// What stands for the value in help; empty for a switch.
    pub value: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Whether every command takes the flag, not only those that run or set up a node.
    pub global: bool,
}

macro_rules! settings {
    ($($name:literal $environment:literal $default:literal $value:literal $global:literal $help:literal;)*) => {
        /// Every setting, in the order people look for them.
        pub static SETTINGS: &[Setting] = &[$(Setting {
            name: $name,
            environment: $environment,
            default: $default,
            value: $value,
            help: $help,
            global: $global,
        }),*];
    };
}

settings! {
    "genesis" "SOTTO_NODE_GENESIS" "" "FILE" false
        "Genesis file of the chain; without it, the copy that `init` put in the data directory";
    "listen" "SOTTO_NODE_LISTEN" "0.0.0.0:22020" "ADDR" false
        "Where to listen for peers; outgoing connections leave from the same IP address";
    "announce" "SOTTO_NODE_ANNOUNCE" "" "ADDR,…" false
        "Addresses to register on the chain, if they differ from the one listened on (NAT, several networks); up to 4";
    "http" "SOTTO_NODE_HTTP" "127.0.0.1:22021" "ADDR|off" false
        "Where to answer /healthz, /readyz, /metrics and /status; read-only";
    "moniker" "SOTTO_NODE_MONIKER" "" "NAME" false
        "What people call this node; shown by its own status only";
    "region" "SOTTO_NODE_REGION" "" "REGION" false
        "Where the node says it stands, such as eu or us-east; clients spread their paths over regions";
    "register" "SOTTO_NODE_REGISTER" "false" "" false
        "Register the node at start if it is not registered, with the operator key in the data directory";
    "stake" "SOTTO_NODE_STAKE" "" "COINS" false
        "How much to stake when registering; without it, what the chain asks for";
    "bootstrap" "SOTTO_NODE_BOOTSTRAP" "" "KEY@ADDR,…" false
        "Nodes to start from, besides those in the genesis file";
    "threads" "SOTTO_NODE_THREADS" "1" "N" false
        "Threads of the network; 1 is best unless the node is large";
    "mail-records" "SOTTO_NODE_MAIL_RECORDS" "100000" "N" false
        "Records to keep before senders are turned away; each takes some 230 bytes of memory";
    "mail-size" "SOTTO_NODE_MAIL_SIZE" "2G" "SIZE" false
        "Bytes of records to keep before senders are turned away";
    "on-event" "SOTTO_NODE_ON_EVENT" "" "CMD" false
        "Shell command to run, one line of JSON on its input, when the node becomes ready or is no longer, is \
         decommissioned, joins or leaves a swarm, or its disk fails";
    "log-level" "SOTTO_NODE_LOG_LEVEL" "info" "FILTER" true
        "What to log: error, warn, info, debug, trace, or a filter such as info,sotto_node=debug";
    "log-format" "SOTTO_NODE_LOG_FORMAT" "text" "text|json|logfmt" true
        "How log lines look";
    "log-file" "SOTTO_NODE_LOG_FILE" "" "FILE" true
        "Log to this file instead of the terminal";
    "log-max-size" "SOTTO_NODE_LOG_MAX_SIZE" "10M" "SIZE" true
        "Begin a new log file at this size";
    "log-keep" "SOTTO_NODE_LOG_KEEP" "3" "N" true
        "Old log files to keep";
}

/// The setting of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// All names, for error messages.
#[must_use]
pub fn names() -> String {
    SETTINGS.iter().map(|setting| setting.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_variables_follow_from_names() {
        for setting in SETTINGS {
            let expected = format!("SOTTO_NODE_{}", setting.name.to_uppercase().replace('-', "_"));
            assert_eq!(setting.environment, expected);
            assert!(std::ptr::eq(find(setting.name).unwrap(), setting), "{} is not unique", setting.name);
        }
    }
}
