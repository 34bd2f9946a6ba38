//! The systemd units, and what watches a node: dashboard, alerts and their containers.

use std::collections::BTreeSet;
use std::time::Duration;

use sotto_behaviours::network::{Counts, Registry};
use sotto_node::metrics::{self, Page};
use sotto_node::service_node::{MailCounts, PushCounts};
use sotto_proto::id::Height;

/// What a hardened unit must say.
const REQUIRED: [&str; 22] = [
    "Type=notify",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "PrivateUsers=yes",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictNamespaces=yes",
    "RestrictSUIDSGID=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "MemorySwapMax=0",
    "StateDirectoryMode=0700",
];

/// A file of this crate's directory, where its tests run: another clone's build may serve.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn unit(name: &str) -> String {
    read(&format!("contrib/{name}"))
}

#[test]
fn both_units_are_hardened() {
    for name in ["sotto-node.service", "sotto-node@.service"] {
        let unit = unit(name);
        for line in REQUIRED {
            assert!(unit.lines().any(|found| found == line), "{name} lacks {line}");
        }
        assert!(!unit.contains("seed"), "{name}: no secret on a command line or in the environment");
    }
}

#[test]
fn the_template_differs_from_the_unit_by_its_instance_only() {
    let settings = |name| -> Vec<String> {
        unit(name).lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
    };
    let single = settings("sotto-node.service");
    let template: Vec<_> = settings("sotto-node@.service")
        .into_iter()
        .filter(|line| !line.starts_with("EnvironmentFile="))
        .map(|line| line.replace(" %i", "").replace("-%i", ""))
        .collect();
    assert_eq!(single, template);
}

const DASHBOARD: &str = "contrib/grafana/sotto-node.json";
const ALERTS: &str = "contrib/prometheus/alerts.yml";

/// Every series on the node's own part of the page, once each has counted.
fn own_series() -> BTreeSet<String> {
    let page = Page::new(metrics::install().unwrap(), Registry::default());
    metrics::chain(Height(4), Height(1));
    metrics::blocks_applied(1, Duration::from_millis(1));
    metrics::reorganised(1);
    metrics::equivocations(1);
    metrics::chain_refused();
    metrics::connections(&Counts::default());
    metrics::request("list", "ok");
    metrics::loop_busy(Duration::from_millis(1));
    metrics::storage_synced(Duration::from_millis(1));
    metrics::storage_refused();
    metrics::storage_failed(true);
    metrics::storage_reopened();
    metrics::health(true, Some(0));
    metrics::mail(0, 0, false, &MailCounts::default());
    metrics::listening(0, &PushCounts::default());
    metrics::mail_gossip("accepted");
    metrics::http_refused();
    let page = page.render();
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// Every series of the network. Families with labels are not on the page before they have counted, and counting is
/// not for this crate to do; so they are read where they are registered, with what their type puts behind the name.
fn network_series() -> BTreeSet<String> {
    let source = read("../behaviours/src/metrics.rs");
    let kind = |field: &str| {
        let declares = |line: &&str| line.trim().trim_start_matches("pub(crate) ").starts_with(&format!("{field}: "));
        source.lines().find(declares).unwrap()
    };
    let mut series = BTreeSet::new();
    for call in source.split(".register(").skip(1) {
        let name = call.split('"').nth(1).unwrap();
        let (field, _) = call.split_once("self.").unwrap().1.split_once(".clone()").unwrap();
        let endings: &[&str] = match kind(field) {
            line if line.contains("Counter") => &["_total"],
            line if line.contains("Histogram") => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        series.extend(endings.iter().map(|ending| format!("sotto_network_{name}{ending}")));
    }
    series
}

/// Words that look like series; of other exporters as well, which then are found to be none of the node's.
fn series_of(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let prefixes = ["sotto_", "libp2p_", "gossip_", "process_"];
    words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix))).map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_ask_for_nothing_that_the_node_does_not_export() {
    let mut exported = own_series();
    exported.extend(network_series());
    for path in [DASHBOARD, ALERTS] {
        let used = series_of(&read(path));
        assert!(used.len() > 10, "{path}: {used:?}");
        let unknown: Vec<_> = used.difference(&exported).collect();
        assert!(unknown.is_empty(), "{path} asks for {unknown:?}");
    }
}

#[test]
fn the_dashboard_is_of_the_chosen_nodes_only() {
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    for target in panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten() {
        let query = target["expr"].as_str().unwrap();
        let chosen = query.matches(r#"{job=~"$job""#).count();
        assert!(chosen > 0 && chosen == query.matches('{').count(), "{query}");
    }
}

#[test]
fn every_alert_says_what_to_do() {
    let alerts = read(ALERTS);
    let count = |word: &str| alerts.lines().filter(|line| line.trim().starts_with(word)).count();
    assert!(count("- alert:") > 5);
    for word in ["summary:", "action:", "severity:"] {
        assert_eq!(count(word), count("- alert:"), "{word}");
    }
}

#[test]
fn the_monitoring_listens_on_loopback_with_pinned_images_and_no_password() {
    let compose = read("contrib/compose.yaml");
    for line in compose.lines().map(str::trim) {
        if let Some(image) = line.strip_prefix("image: ") {
            let (_, version) = image.split_once(':').unwrap();
            assert_eq!(version.split('.').count(), 3, "{image}");
        }
        assert!(!line.starts_with("ports:"), "the host's network is used, and loopback listened on");
        assert!(!line.contains("PASSWORD:"), "{line}: a file has it");
    }
    for line in ["- --web.listen-address=127.0.0.1:9090", "GF_SERVER_HTTP_ADDR: 127.0.0.1"] {
        assert!(compose.lines().any(|found| found.trim() == line), "{line}");
    }
}
