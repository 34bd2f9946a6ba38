//! What a testnet that does not run any more may have left: processes, data on small disks, rules in the kernel.

use std::path::Path;

use super::in_use;
use crate::chaos;
use crate::cli::console::Console;
use crate::cli::location::{Location, shown};
use crate::failure::{Exit, Failure, both};
use crate::lock::Lock;
use crate::orphans;
use crate::plan::Plan;
use crate::ports::{self, PortError};
use crate::supervisor::GRACE;

/// Takes back all that is left of a testnet, but for its data.
pub(super) async fn clear_stopped(plan: &Plan, console: &Console) -> Result<(), Failure> {
    let _lock = Lock::take(&plan.dir).map_err(|error| in_use(&error))?;
    let ended = end_orphans(&plan.dir, console).await;
    let given_back = chaos::give_all_back(&plan.dir);
    both(both(ended, given_back), clear_kernel(plan, console).await)
}

/// Takes back what is left of the testnet that is in the directory, if there is one, but for its data. It is about to be
/// removed or started again, perhaps with other settings. Whoever calls holds the lock.
pub(in crate::cli) async fn clear_before(location: &Location, console: &Console) -> Result<(), Failure> {
    let ended = end_orphans(&location.dir, console).await;
    let cleared = match location.settings() {
        Ok(Some(settings)) => clear_kernel(&Plan::new(settings, location.dir.clone()), console).await,
        Ok(None) => Ok(()),
        Err(failure) => {
            // Without its settings nobody knows what is its own.
            console.note(&format!("{}; what the kernel was told about its links stays", failure.message));
            Ok(())
        }
    };
    both(ended, cleared)
}

/// Ends what a supervisor left that was killed.
async fn end_orphans(dir: &Path, console: &Console) -> Result<(), Failure> {
    for child in orphans::end(dir, GRACE).await? {
        console.note(&format!("ended what a launcher left that was killed: {child}"));
    }
    Ok(())
}

/// Takes back what the kernel was told about a testnet that does not run any more. Who may not look has to be curious to
/// be told: most testnets never had a fault.
pub(super) async fn clear_kernel(plan: &Plan, console: &Console) -> Result<(), Failure> {
    let sockets = plan.sockets();
    if let Err(taken) = ports::all_free(&sockets) {
        let left = chaos::left_behind(plan).await;
        // This one is locked by whoever asks.
        let other = orphans::testnet_at(&sockets).filter(|dir| *dir != plan.dir);
        let why = may_stay(&left, &taken, other.as_deref())?;
        why.iter().for_each(|line| console.detail(line));
        return Ok(());
    }
    let rules = chaos::clear_ended(plan).await?;
    rules.unknown().iter().for_each(|line| console.detail(line));
    Ok(())
}

/// Whether what is `left` in the kernel may stay where ports are taken: it is named by ports, and may be that of `other`,
/// a testnet that is there. Returns why, for people, if anything is left.
fn may_stay(left: &[String], taken: &PortError, other: Option<&Path>) -> Result<Option<String>, Failure> {
    if left.is_empty() {
        return Ok(None);
    }
    let left = left.join(", ");
    let hint = match other {
        Some(dir) if Lock::holder(dir).is_some() => {
            return Ok(Some(format!("{left}: that is for the testnet in {}, which runs", shown(dir))));
        }
        Some(dir) => format!("sotto-testnet down --dir {}    # it does not run; then the same again", shown(dir)),
        None => "end what is there, then the same again".to_owned(),
    };
    let message = format!("{left}, and nobody knows whether that is needed: {taken}");
    Err(Failure::new(Exit::Conflict, message).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Holder;

    #[test]
    fn what_is_left_stays_only_for_a_testnet_that_runs() {
        let holder = Some(Holder { pid: 7, name: "sotto-node".to_owned() });
        let taken = PortError::Taken { address: "127.100.0.1:27010".parse().unwrap(), holder };
        let left = ["4 links are cut".to_owned(), "1 nodes are limited".to_owned()];
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(may_stay(&[], &taken, None), Ok(None));
        let failure = may_stay(&left, &taken, None).unwrap_err();
        let text = "4 links are cut, 1 nodes are limited, and nobody knows whether that is needed: 127.100.0.1:27010 is \
                    taken by sotto-node (pid 7)";
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Conflict, text));
        let hint = may_stay(&left, &taken, Some(dir.path())).unwrap_err().hint.unwrap();
        assert!(hint.starts_with("sotto-testnet down --dir /"), "{hint}");
        let lock = Lock::take(dir.path()).unwrap();
        let why = may_stay(&left, &taken, Some(dir.path())).unwrap().unwrap();
        assert!(why.starts_with("4 links are cut, ") && why.ends_with(", which runs"), "{why}");
        drop(lock);
    }
}
