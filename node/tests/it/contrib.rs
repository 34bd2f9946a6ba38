//! The systemd units.

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

fn unit(name: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(name)).unwrap()
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
