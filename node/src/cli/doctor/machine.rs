//! What is to be seen on this machine, whether or not the node runs.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use sotto_chain::process::OPEN_FILES;
use sotto_proto::net_addr::NodeAddr;

use super::Finding;
use crate::cli::status::size;
use crate::cli::{CliError, Context};
use crate::config::Config;
use crate::keys::{KeyDirectory, KeyError, Slot, closed_to_others};
use crate::run::DATABASE;
use crate::service_node::MailLimits;
use crate::status::NodeStatus;
use crate::status::store::StoreStatus;
use crate::store;

/// Without so many bytes of disk the database cannot even tidy up.
const DISK_LEAST: u64 = 256 << 20;
/// How long the own port is waited for.
const CONNECT: Duration = Duration::from_secs(1);

/// Whether a node would start with the settings.
pub(super) fn settings(context: &Context, config: Result<&Config, &CliError>) -> Finding {
    let genesis = config.map_err(Clone::clone).and_then(|config| context.genesis(config));
    match genesis {
        Ok(file) => {
            let (chain, preset) = (file.genesis.chain_id(), file.genesis.preset.name());
            Finding::ok("settings", format!("they are good; the chain is {} ({preset})", chain.short()))
        }
        Err(error) => {
            let hint = error.hint.clone().or_else(|| Some("sotto-node config show --origin".into()));
            Finding::failed("settings", CliError { hint, ..error })
        }
    }
}

/// Whether the keys are there, are keys, and are nobody else's to read.
pub(super) fn keys(datadir: &Path) -> Finding {
    let open = fs::metadata(datadir).map(|metadata| closed_to_others(datadir, &metadata));
    match read_keys(datadir) {
        Ok(_) if !matches!(open, Ok(Ok(()))) => {
            let text = "they are closed to others; the data directory around them is not";
            Finding::warn("keys", text, format!("chmod go-rwx {}", datadir.display()))
        }
        Ok(true) => Finding::ok("keys", "node, operator and x25519 key are there and closed to others"),
        Ok(false) => {
            Finding::ok("keys", "node and x25519 key are there and closed to others; the operator key is not here")
        }
        Err(error) => {
            let advice = match &error {
                KeyError::Open { path, .. } => format!("chmod go-rwx {}", path.display()),
                KeyError::Missing(_) | KeyError::NotAKey(_) => {
                    "bring it back from a backup: sotto-node keys --help".into()
                }
                KeyError::Exists(_) | KeyError::Io { .. } => "see to the disk and to who owns the file".into(),
            };
            Finding::fail("keys", error.to_string(), advice)
        }
    }
}

/// Reads every key; whether the operator's is among them.
fn read_keys(datadir: &Path) -> Result<bool, KeyError> {
    let keys = KeyDirectory::of(datadir);
    keys.check()?;
    keys.read(Slot::Node)?;
    keys.read(Slot::X25519)?;
    for slot in [Slot::X25519Previous, Slot::X25519Next] {
        keys.find(slot)?;
    }
    Ok(keys.find(Slot::Operator)?.is_some())
}

/// Whether the process may open as many files as it needs; without one, whether it could.
pub(super) fn open_files(pid: Option<u32>) -> Finding {
    let limit = match pid {
        Some(pid) => fs::read_to_string(format!("/proc/{pid}/limits")).ok().and_then(|limits| soft_limit(&limits)),
        None => Some(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)),
    };
    let advice = format!("raise it: LimitNOFILE={OPEN_FILES} in the unit, or ulimit -n {OPEN_FILES} before it starts");
    match limit {
        Some(limit) if limit >= OPEN_FILES => Finding::ok("open-files", format!("the limit is {}", number(limit))),
        Some(limit) => Finding::warn("open-files", format!("the limit is {limit}, {OPEN_FILES} are wanted"), advice),
        None => Finding::warn("open-files", "the limit of the node's process cannot be read", "ask as the node's user"),
    }
}

fn number(limit: u64) -> String {
    if limit == u64::MAX { "none".into() } else { limit.to_string() }
}

/// The soft limit of open files in `/proc/PID/limits`.
fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// How many bytes of messages a node may still take: by what the running one says, else by its settings and as if it
/// had none.
pub(super) fn may_take(store: Option<&StoreStatus>, config: Option<&Config>) -> u64 {
    match store {
        Some(store) => store.bytes_limit.saturating_sub(store.bytes),
        None => config.map_or_else(MailLimits::default, |config| config.mail).bytes,
    }
}

/// Whether the disk has room for `wanted` more bytes of messages.
pub(super) fn disk(datadir: &Path, wanted: u64) -> Finding {
    match rustix::fs::statvfs(datadir) {
        Ok(stat) => judge_disk(stat.f_bavail.saturating_mul(stat.f_frsize), wanted),
        Err(error) => Finding::warn("disk", format!("its size cannot be read: {error}"), "see to the disk"),
    }
}

fn judge_disk(free: u64, wanted: u64) -> Finding {
    let text = format!("{} free; messages may take {} more", size(free), size(wanted));
    if free < DISK_LEAST {
        Finding::fail("disk", text, "make room: the node soon takes no more writes")
    } else if free < wanted {
        Finding::warn("disk", text, "make room, or lower mail-size: senders are turned away then and nothing breaks")
    } else {
        Finding::ok("disk", text)
    }
}

/// What the running node says of its store.
pub(super) fn store(store: &StoreStatus) -> Finding {
    let text = format!("{} records, {}", store.records, size(store.bytes));
    if !store.loaded {
        Finding::warn("database", format!("{text}; the disk is still being read"), "wait: sotto-node store stats")
    } else if store.damaged > 0 {
        let advice = "others have what is lost; if there is more of it each time, replace the disk";
        Finding::warn("database", format!("{text}; {} damaged since the start", store.damaged), advice)
    } else {
        Finding::ok("database", text)
    }
}

/// Whether the database of a node that does not run can be opened.
pub(super) fn database(datadir: &Path) -> Finding {
    match store::open_read_only(&datadir.join(DATABASE)) {
        Ok(Some(_)) => Finding::ok("database", "it can be opened; to check every record: sotto-node store verify"),
        Ok(None) => Finding::ok("database", "there is none yet"),
        Err(error) => Finding::fail("database", error.to_string(), "see to the disk; then sotto-node store verify"),
    }
}

/// Whether the running node's port answers, and its registered addresses from here.
pub(super) fn listening(status: &NodeStatus) -> Finding {
    let Some(listen) = status.listen.as_deref().and_then(|listen| listen.parse::<NodeAddr>().ok()) else {
        return Finding::fail(
            "ports",
            "the node does not listen yet",
            "look at its log: is another process on its port?",
        );
    };
    if let Err(error) = connect(listen) {
        return Finding::fail(
            "ports",
            format!("{listen} does not answer: {error}"),
            "look at the firewall of this machine",
        );
    }
    let registered = status.addresses.iter().filter_map(|address| address.parse::<NodeAddr>().ok());
    match registered.filter(|address| *address != listen).find_map(|address| Some((address, connect(address).err()?))) {
        Some((address, error)) => Finding::warn(
            "ports",
            format!("{listen} answers; the registered {address} does not from here: {error}"),
            "many routers refuse the way back in: see whether others have dialled, below",
        ),
        None if status.addresses.is_empty() => Finding::ok("ports", format!("{listen} answers")),
        None => Finding::ok("ports", format!("{listen} answers, and so does what is registered")),
    }
}

fn connect(address: NodeAddr) -> std::io::Result<()> {
    let ip = match address.ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    TcpStream::connect_timeout(&SocketAddr::new(ip, address.port), CONNECT).map(drop)
}

/// Whether a node that does not run could listen.
pub(super) fn free_port(config: &Config) -> Finding {
    match TcpListener::bind(config.listen.socket_addr()) {
        Ok(_) => Finding::ok("ports", format!("{} is free", config.listen)),
        Err(error) => {
            let advice = "end who has it (ss -ltnp), or listen elsewhere: --listen";
            Finding::fail("ports", format!("cannot listen on {}: {error}", config.listen), advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::cli::doctor::Verdict;
    use crate::keys::Seed;

    #[test]
    fn keys_that_others_may_read_fail_with_the_command_that_closes_them() {
        let datadir = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(datadir.path(), 0o700);
        let keys = KeyDirectory::of(datadir.path());
        keys.create().unwrap();
        let missing = super::keys(datadir.path());
        assert_eq!(
            (missing.verdict, missing.text.contains("node.key is missing")),
            (Verdict::Fail, true),
            "{missing:?}"
        );
        for slot in [Slot::Node, Slot::X25519] {
            keys.write_new(slot, &Seed::random().unwrap()).unwrap();
        }
        assert_eq!(super::keys(datadir.path()).verdict, Verdict::Ok);
        mode(&keys.path(Slot::X25519), 0o640);
        let open = super::keys(datadir.path());
        let advice = format!("chmod go-rwx {}", keys.path(Slot::X25519).display());
        assert_eq!((open.verdict, open.advice), (Verdict::Fail, Some(advice)));
        mode(&keys.path(Slot::X25519), 0o600);
        mode(datadir.path(), 0o755);
        assert_eq!(super::keys(datadir.path()).verdict, Verdict::Warn);
    }

    #[test]
    fn limits_are_read_as_the_kernel_shows_them() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             7000                 7000                 processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(
            soft_limit("Max open files            unlimited            unlimited            files"),
            Some(u64::MAX)
        );
        assert_eq!(soft_limit("Max open files"), None);
        assert!(open_files(Some(std::process::id())).text.starts_with("the limit is "));
    }

    #[test]
    fn a_disk_fails_when_it_is_nearly_full_and_warns_when_it_will_be() {
        assert_eq!(judge_disk(DISK_LEAST - 1, 0).verdict, Verdict::Fail);
        assert_eq!(judge_disk(DISK_LEAST, DISK_LEAST + 1).verdict, Verdict::Warn);
        assert_eq!(judge_disk(DISK_LEAST, DISK_LEAST).verdict, Verdict::Ok);
        assert_eq!(disk(Path::new("/proc/no such place"), 0).verdict, Verdict::Warn);
    }

    #[test]
    fn a_stopped_node_may_take_what_its_settings_say() {
        let mut settings = crate::config::Settings::default();
        let setting = crate::config::setting::find("mail-size").unwrap();
        settings.set(setting, "64M".into(), crate::config::Origin::Flag(setting.name));
        let config = Config::from_settings(&settings).unwrap();
        assert_eq!(may_take(None, Some(&config)), 64 << 20);
        assert_eq!(may_take(None, None), MailLimits::default().bytes, "its settings are no good");
    }

    #[test]
    fn a_port_that_somebody_has_is_no_free_one_and_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = NodeAddr::from(listener.local_addr().unwrap());
        assert!(connect(address).is_ok());
        drop(listener);
        assert!(connect(address).is_err());
    }
}
