//! Nodes with little memory or little of a processor: control groups, of version 1 or 2, whichever has the controller.
//!
//! Each limited node has a group of its own at the top of the hierarchy, `sotto_testnet_27000_memory_3`: two testnets of
//! one name in different directories have different ports. Its process goes back to where its supervisor is.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::Access;

use super::mountinfo::{self, Mount};
use crate::failure::{Context as _, Exit, Failure};
use crate::plan::Plan;

/// The memory of a limited node (F28).
const MEMORY_BYTES: u64 = 96 << 20;
/// The time over which the kernel adds up what a group used of a processor, in microseconds.
const PERIOD: u64 = 100_000;
/// How long a group may take to be empty once its process is gone.
const EMPTY: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// 96 MiB of memory. Only what a process takes from now on counts: limit it when it has just started.
    Memory,
    /// So many hundredths of a processor's time.
    Cpu {
        /// Above 0; a hundred are one processor.
        percent: u64,
    },
}

/// Who limits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controller {
    Memory,
    Cpu,
}

impl Limit {
    pub(super) const fn controller(self) -> Controller {
        match self {
            Self::Memory => Controller::Memory,
            Self::Cpu { .. } => Controller::Cpu,
        }
    }

    /// The file of a group, and what to write there.
    fn setting(self, version: Version) -> (&'static str, String) {
        match (self, version) {
            (Self::Memory, Version::One) => ("memory.limit_in_bytes", MEMORY_BYTES.to_string()),
            (Self::Memory, Version::Two) => ("memory.max", MEMORY_BYTES.to_string()),
            (Self::Cpu { percent }, Version::One) => ("cpu.cfs_quota_us", (percent * PERIOD / 100).to_string()),
            (Self::Cpu { percent }, Version::Two) => ("cpu.max", format!("{} {PERIOD}", percent * PERIOD / 100)),
        }
    }
}

impl Controller {
    const ALL: [Self; 2] = [Self::Memory, Self::Cpu];

    /// As the kernel calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The groups of one controller.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    controller: Controller,
    version: Version,
    /// Which part of it is mounted.
    root: PathBuf,
    /// Where.
    point: PathBuf,
}

impl Hierarchy {
    /// That of the controller, if this machine has it.
    fn of(controller: Controller, mounts: &[Mount]) -> Option<Self> {
        let has = |mount: &Mount, version| match version {
            Version::One => mount.kind == "cgroup" && mount.options.split(',').any(|name| name == controller.name()),
            Version::Two => {
                let listed = fs::read_to_string(mount.point.join("cgroup.controllers")).unwrap_or_default();
                mount.kind == "cgroup2" && listed.split_ascii_whitespace().any(|name| name == controller.name())
            }
        };
        [Version::One, Version::Two].into_iter().find_map(|version| {
            let mount = mounts.iter().find(|mount| has(mount, version))?;
            Some(Self { controller, version, root: mount.root.clone(), point: mount.point.clone() })
        })
    }

    /// Whether groups can be made in it.
    fn takes_groups(&self) -> bool {
        rustix::fs::access(&self.point, Access::WRITE_OK).is_ok() && (self.version == Version::One || self.hands_down())
    }

    /// Whether groups of version 2 have the controller, or can be given it: by a group without processes of its own, and
    /// by the root of all, which alone has no type.
    fn hands_down(&self) -> bool {
        let text = |file| fs::read_to_string(self.point.join(file)).unwrap_or_default();
        text("cgroup.subtree_control").split_ascii_whitespace().any(|name| name == self.controller.name())
            || !self.point.join("cgroup.type").exists()
            || text("cgroup.procs").is_empty()
    }

    fn make(&self, name: &str) -> io::Result<PathBuf> {
        if self.version == Version::Two {
            fs::write(self.point.join("cgroup.subtree_control"), format!("+{}", self.controller.name()))?;
        }
        let group = self.point.join(name);
        match fs::create_dir(&group) {
            // Of a run that was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(group),
            made => made.map(|()| group),
        }
    }

    /// The group of a process, from what `/proc/PID/cgroup` says: `4:memory:/path`, or `0::/path` of version 2.
    fn group_of(&self, text: &str) -> Option<PathBuf> {
        let path = text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_here = match self.version {
                Version::One => controllers.split(',').any(|name| name == self.controller.name()),
                Version::Two => controllers.is_empty(),
            };
            is_here.then_some(path)
        })?;
        let inside = Path::new(path).strip_prefix(&self.root).ok()?;
        Some(self.point.join(inside))
    }

    /// Removes a group; its processes go to that of `supervisor`.
    fn remove(&self, group: &Path, supervisor: u32) -> io::Result<()> {
        let text = fs::read_to_string(format!("/proc/{supervisor}/cgroup"))?;
        let home = self.group_of(&text).unwrap_or_else(|| self.point.clone());
        for pid in fs::read_to_string(group.join("cgroup.procs"))?.lines() {
            // It may just have ended.
            let _gone: Result<_, _> = fs::write(home.join("cgroup.procs"), pid);
        }
        let until = Instant::now() + EMPTY;
        loop {
            match fs::remove_dir(group) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < until => {
                    std::thread::sleep(LOOK);
                }
                removed => return removed,
            }
        }
    }
}

/// The groups of a testnet.
#[derive(Debug)]
pub(super) struct Groups {
    prefix: String,
    hierarchies: Vec<Hierarchy>,
}

impl Groups {
    pub(super) fn of(plan: &Plan) -> Self {
        let mounts = mountinfo::mounts();
        let hierarchies = Controller::ALL.into_iter().filter_map(|controller| Hierarchy::of(controller, &mounts));
        Self { prefix: format!("sotto_testnet_{}", plan.settings.port_base), hierarchies: hierarchies.collect() }
    }

    /// Whether processes can be limited here. Only a look: nothing is written before somebody is limited.
    pub(super) fn are_possible() -> bool {
        let mounts = mountinfo::mounts();
        let mut hierarchies = Controller::ALL.into_iter().map(|controller| Hierarchy::of(controller, &mounts));
        rustix::process::geteuid().is_root()
            && hierarchies.all(|hierarchy| hierarchy.is_some_and(|hierarchy| hierarchy.takes_groups()))
    }

    /// Limits the process of a node.
    ///
    /// # Errors
    /// [`Failure`] if this machine has no such groups, or not for this user.
    pub(super) fn limit(&self, limit: Limit, node: u16, pid: u32) -> Result<(), Failure> {
        let name = limit.controller().name();
        let hierarchy = self.hierarchy(limit.controller()).ok_or_else(|| {
            Failure::new(Exit::NotFound, format!("there are no control groups for {name}"))
                .hint("outside of containers, as root, on a kernel that has them")
        })?;
        let group = hierarchy.make(&self.name(limit.controller(), node)).context("make a control group for", name)?;
        let (file, value) = limit.setting(hierarchy.version);
        fs::write(group.join(file), value).context("write", group.join(file).display())?;
        let processes = group.join("cgroup.procs");
        fs::write(&processes, pid.to_string()).context("write", processes.display())
    }

    /// Lifts the limit of a node, if it has this one.
    ///
    /// # Errors
    /// [`Failure`] if its group cannot be removed.
    pub(super) fn lift(&self, controller: Controller, node: u16, supervisor: u32) -> Result<(), Failure> {
        let Some(hierarchy) = self.hierarchy(controller) else { return Ok(()) };
        let group = hierarchy.point.join(self.name(controller, node));
        if !group.is_dir() {
            return Ok(());
        }
        hierarchy.remove(&group, supervisor).context("remove", group.display())
    }

    /// Whether this process of a node is limited, whoever did it. That there is a group says nothing: who is started again
    /// is not in it.
    pub(super) fn is_limited(&self, controller: Controller, node: u16, pid: u32) -> bool {
        let group = self.hierarchy(controller).map(|hierarchy| hierarchy.point.join(self.name(controller, node)));
        let listed = group.and_then(|group| fs::read_to_string(group.join("cgroup.procs")).ok()).unwrap_or_default();
        listed.lines().any(|line| line.parse() == Ok(pid))
    }

    /// The groups that were made for nodes, whoever did it.
    fn made(&self) -> Vec<(u16, Controller)> {
        let mut made = Vec::new();
        for hierarchy in &self.hierarchies {
            let start = format!("{}_{}_", self.prefix, hierarchy.controller.name());
            let entries = fs::read_dir(&hierarchy.point).into_iter().flatten().flatten();
            let nodes = entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix(&start)?.parse().ok());
            made.extend(nodes.map(|node| (node, hierarchy.controller)));
        }
        made.sort_by_key(|(node, controller)| (*node, controller.name()));
        made
    }

    fn hierarchy(&self, controller: Controller) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.controller == controller)
    }

    fn name(&self, controller: Controller, node: u16) -> String {
        format!("{}_{}_{node}", self.prefix, controller.name())
    }
}

/// Removes the groups that no process of a testnet is in any more: it does not run, or its nodes were started again.
///
/// # Errors
/// [`Failure`] of the first that cannot be removed.
pub fn remove_groups(plan: &Plan) -> Result<(), Failure> {
    let groups = Groups::of(plan);
    groups.made().into_iter().try_for_each(|(node, controller)| groups.lift(controller, node, std::process::id()))
}

/// The nodes that groups were made for, whoever did it.
pub(super) fn limited(plan: &Plan) -> BTreeSet<u16> {
    Groups::of(plan).made().into_iter().map(|(node, _)| node).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::needs::Need;
    use super::*;
    use crate::plan::Settings;

    fn plan(port_base: u16) -> Plan {
        let settings = Settings::new("dev", 42, 20, Duration::from_secs(1), port_base).unwrap();
        Plan::new(settings, PathBuf::from("data"))
    }

    fn mount(kind: &str, options: &str, point: &Path) -> Mount {
        let (root, point) = (PathBuf::from("/"), point.to_owned());
        Mount { root, point, kind: kind.to_owned(), source: kind.to_owned(), options: options.to_owned() }
    }

    #[test]
    fn a_controller_is_taken_from_version_1_if_it_is_there_and_else_from_2() {
        let unified = tempfile::tempdir().unwrap();
        fs::write(unified.path().join("cgroup.controllers"), "cpuset cpu io memory\n").unwrap();
        let old = mount("cgroup", "rw,memory", Path::new("/sys/fs/cgroup/memory"));
        let other = mount("cgroup", "rw,cpuset,cpuacct", Path::new("/sys/fs/cgroup/cpuset"));
        let new = mount("cgroup2", "rw", unified.path());
        let of = |controller, mounts: &[Mount]| Hierarchy::of(controller, mounts).map(|found| found.version);
        assert_eq!(of(Controller::Memory, &[new.clone(), old.clone()]), Some(Version::One));
        assert_eq!(of(Controller::Cpu, &[old, other.clone(), new]), Some(Version::Two));
        assert_eq!(of(Controller::Cpu, &[other]), None);
    }

    #[test]
    fn the_group_of_a_process_is_found_below_the_mounted_part() {
        let text = "9:name=systemd:/\n4:memory:/docker/1/inner\n3:cpu,cpuacct:/\n0::/user.slice\n";
        let hierarchy = |controller, version, root: &str| Hierarchy {
            controller,
            version,
            root: PathBuf::from(root),
            point: PathBuf::from("/groups"),
        };
        let memory = hierarchy(Controller::Memory, Version::One, "/docker/1");
        assert_eq!(memory.group_of(text), Some(PathBuf::from("/groups/inner")));
        assert_eq!(hierarchy(Controller::Cpu, Version::One, "/").group_of(text), Some(PathBuf::from("/groups/")));
        let unified = hierarchy(Controller::Cpu, Version::Two, "/");
        assert_eq!(unified.group_of(text), Some(PathBuf::from("/groups/user.slice")));
        assert_eq!(hierarchy(Controller::Memory, Version::One, "/elsewhere").group_of(text), None);
    }

    #[test]
    fn limits_are_written_as_each_version_wants_them() {
        let cpu = Limit::Cpu { percent: 3 };
        assert_eq!(cpu.setting(Version::One), ("cpu.cfs_quota_us", "3000".to_owned()));
        assert_eq!(cpu.setting(Version::Two), ("cpu.max", "3000 100000".to_owned()));
        assert_eq!(Limit::Memory.setting(Version::Two), ("memory.max", "100663296".to_owned()));
    }

    #[test]
    fn whether_groups_can_be_made_is_looked_at_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (root, point) = (PathBuf::from("/"), dir.path().to_owned());
        let hierarchy = Hierarchy { controller: Controller::Memory, version: Version::Two, root, point };
        let write = |file: &str, text: &str| fs::write(dir.path().join(file), text).unwrap();
        write("cgroup.subtree_control", "cpu\n");
        write("cgroup.procs", "1\n17\n");
        assert!(hierarchy.takes_groups(), "the root of all");
        write("cgroup.type", "domain\n");
        assert!(!hierarchy.takes_groups(), "it has processes of its own");
        write("cgroup.subtree_control", "cpu memory\n");
        assert!(hierarchy.takes_groups(), "groups have the controller already");
        write("cgroup.subtree_control", "");
        write("cgroup.procs", "");
        assert!(hierarchy.takes_groups());
        assert_eq!(fs::read_to_string(dir.path().join("cgroup.subtree_control")).unwrap(), "");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_process_is_limited_listed_and_free_again() {
        if !Groups::are_possible() {
            return Need::Groups.skip();
        }
        let (plan, own) = (plan(2048), std::process::id());
        let groups = Groups::of(&plan);
        let mut sleeping = Command::new("sleep").arg("60").spawn().unwrap();
        let groups_of = |pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        for limit in [Limit::Cpu { percent: 5 }, Limit::Memory] {
            let controller = limit.controller();
            groups.limit(limit, 3, sleeping.id()).unwrap();
            let name = groups.name(controller, 3);
            assert!(groups_of(sleeping.id()).contains(&name), "{name}");
            assert_eq!(groups.made(), [(3, controller)]);
            assert!(groups.is_limited(controller, 3, sleeping.id()));
            assert!(!groups.is_limited(controller, 3, own), "started again, it is not in the group");
            assert!(!groups.is_limited(controller, 4, sleeping.id()));
            groups.lift(controller, 3, own).unwrap();
            assert!(groups.made().is_empty() && !groups.is_limited(controller, 3, sleeping.id()));
            assert_eq!(groups_of(sleeping.id()), groups_of(own));
        }
        // Those of a process that has ended.
        groups.limit(Limit::Memory, 4, sleeping.id()).unwrap();
        sleeping.kill().unwrap();
        sleeping.wait().unwrap();
        assert!(Groups::of(&self::plan(4096)).made().is_empty(), "another testnet's are its own");
        remove_groups(&plan).unwrap();
        assert!(groups.made().is_empty());
    }
}
