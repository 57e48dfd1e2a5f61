//! Restores etcd's data, on the only member of a cluster:
//!
//! backup -> verify -> way -> new directory -> park -> exchange -> unpark -> health -> restart ->
//! report
//!
//! The new directory is made while the cluster still runs. The exchange moves the old directory
//! aside. An etcd that does not start with the new one gets the old one back.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Cycle;
use crate::backup;
use crate::backup::stored::{self, StoredBackup};
use crate::catalog::readers::{APISERVER, CONTROLLER_MANAGER, ETCD, KUBELET, SCHEDULER};
use crate::config::Settings;
use crate::etcd::{connect, member};
use crate::format::text;
use crate::host::Host;
use crate::inventory::{self, Inventory};
use crate::model::{Exit, Failure};
use crate::plan::readers::ReaderStep;
use crate::report::restore::EtcdReport;
use crate::restart::pending::{self, PendingRestart};
use crate::restart::{self, Baseline, ReaderRestarts, Rollout, Urgency, park};
use crate::restore::etcd::{self, ClusterSources, EtcdPlan, ManualRestore, Source, Way};
use crate::restore::swap::Swap;
use crate::scan;
use crate::verify::{is_well, probes};

/// Components whose watches refer to the abandoned history.
const WATCHERS: [&str; 3] = [CONTROLLER_MANAGER, SCHEDULER, KUBELET];
/// Time between two checks whether etcd has ended, or answers.
const EVERY: Duration = Duration::from_millis(200);
/// Slowest speed of etcd's tool, in bytes of the snapshot per second.
const SLOWEST: u64 = 5 << 20;

/// The result of a restore of etcd's data.
#[derive(Debug)]
pub enum EtcdRestore {
    /// This node restored the data, or would restore it.
    Report(EtcdReport),
    /// A person has to restore it.
    Manual(ManualRestore),
}

/// Returns the restore of etcd's data that would be done. Writes nothing.
///
/// # Errors
///
/// Fails if the backup has no usable data of etcd, or no etcd runs on this node.
pub fn assess(host: &Host, settings: &Settings, backup: &StoredBackup) -> Result<EtcdRestore, Failure> {
    let inventory = inventory::build(&scan::scan(host, settings));
    Ok(match way(host, settings, &inventory, backup)? {
        Way::Here(plan) => {
            let aside = format!("{}.kubecertd-TIME", plan.data.display());
            EtcdRestore::Report(EtcdReport::of(&plan, host.exists(&plan.data), aside.as_ref()))
        }
        Way::Manual(manual) => EtcdRestore::Manual(manual),
    })
}

fn way(host: &Host, settings: &Settings, inventory: &Inventory, backup: &StoredBackup) -> Result<Way, Failure> {
    let asked = connect(host, &member::known(inventory, settings));
    let asked = asked.map(|(_, status)| backup::members_of(&status)).unwrap_or_default();
    let others = stored::all(host, &settings.backup.directory);
    let others = ClusterSources {
        asked: &asked,
        backups: &others,
    };
    etcd::way(host, settings, inventory, backup, others)
}

/// Restores etcd's data, or returns the way in which people have to do it.
///
/// # Errors
///
/// The exit code is 1 if the old data is in place, and 3 if it is not.
pub fn execute(cycle: &Cycle<'_>, backup: &StoredBackup) -> Result<EtcdRestore, Failure> {
    let Cycle { host, settings, .. } = *cycle;
    let inventory = inventory::build(&scan::scan(host, settings));
    let plan = match way(host, settings, &inventory, backup)? {
        Way::Here(plan) => *plan,
        Way::Manual(manual) => return Ok(EtcdRestore::Manual(manual)),
    };
    if host.is_this_machine() && host.processes(&[KUBELET]).is_empty() {
        return Err(
            Failure::new("cannot restore etcd: no kubelet runs here that could start it again")
                .hint("systemctl start kubelet"),
        );
    }
    let work = Work::new(host, settings, &inventory, &plan);
    let before = restart::baseline(host, &inventory, &work.steps);
    let swap = Swap::begin(host, &plan.data, &stamp(host))?;
    let made = work.make_data(backup, &swap);
    if let Err(failure) = made {
        swap.end(host)?;
        return Err(failure);
    }
    let mut report = EtcdReport::of(&plan, host.exists(&plan.data), &swap.aside);
    // If this process dies, the next cycle restarts the watchers.
    let earlier = pending::read(host);
    let mut all: Vec<_> = earlier
        .iter()
        .filter(|old| !work.restarts(&old.step.reader))
        .cloned()
        .collect();
    all.extend(
        work.steps
            .iter()
            .map(|step| PendingRestart::new(host, step, before.processes(&step.reader))),
    );
    pending::record(host, &all)?;
    if let Err(failure) = work.exchange(&swap) {
        pending::record(host, &earlier)?;
        return Err(failure);
    }
    swap.end(host)?;
    report.done = true;
    if let Err(failure) = work.server_is_well() {
        warn!("{failure}");
        report.error = Some(failure.message);
    }
    work.restart_watchers(&before, &mut report);
    all.retain(|left| report.restarted.iter().all(|done| done.reader != left.step.reader));
    report.pending = all
        .iter()
        .filter(|left| work.restarts(&left.step.reader))
        .cloned()
        .collect();
    if let Err(failure) = pending::record(host, &all) {
        report.warnings.push(failure.to_string());
    }
    Ok(EtcdRestore::Report(report))
}

/// Returns a stamp such as `20261124-031700`.
fn stamp(host: &Host) -> String {
    let now = text::rfc3339(host.now());
    now.replace(['-', ':', 'Z'], "").replace('T', "-")
}

fn steps(inventory: &Inventory) -> Vec<ReaderStep> {
    let watchers = inventory
        .readers
        .iter()
        .filter(|reader| WATCHERS.contains(&reader.name.as_str()));
    let step = |reader: &inventory::readers::Reader| ReaderStep {
        reader: reader.name.clone(),
        means: reader.means.clone(),
        reads: Vec::new(),
        holds: vec!["watches from the history before".into()],
        until: None,
    };
    watchers.map(step).collect()
}

struct Work<'a> {
    host: &'a Host,
    settings: &'a Settings,
    inventory: &'a Inventory,
    plan: &'a EtcdPlan,
    steps: Vec<ReaderStep>,
}

impl<'a> Work<'a> {
    fn new(host: &'a Host, settings: &'a Settings, inventory: &'a Inventory, plan: &'a EtcdPlan) -> Self {
        Self {
            host,
            settings,
            inventory,
            plan,
            steps: steps(inventory),
        }
    }

    /// Restarts the components whose watches refer to the abandoned history.
    fn restart_watchers(&self, baseline: &Baseline, report: &mut EtcdReport) {
        let mut rollout = Rollout::default();
        let restarts = ReaderRestarts {
            host: self.host,
            settings: self.settings,
            inventory: self.inventory,
            baseline,
            urgency: Urgency::Urgent,
            may_begin: &|_| Ok(()),
        };
        if let Err(failure) = restarts.run(&self.steps, &mut rollout) {
            report.error.get_or_insert(failure.message);
        }
        report.restarted = rollout.restarted;
        report.warnings.extend(rollout.warnings);
    }

    /// Makes the new directory next to the old one. Nothing is stopped for it.
    fn make_data(&self, backup: &StoredBackup, swap: &Swap) -> Result<(), Failure> {
        let host = self.host;
        let size = match &self.plan.source {
            // The snapshot needs its size twice: in the directory, and unpacked.
            Source::Snapshot { size, .. } => size * 2,
            Source::Copy(_) => backup.size(),
        };
        let directory = swap.data.parent().unwrap_or(Path::new("/"));
        if let Some(free) = host.free_space(directory).filter(|free| *free < size) {
            return Err(Failure::new(format!(
                "cannot restore etcd to {}: it needs {}, and {} are free",
                directory.display(),
                text::bytes(size),
                text::bytes(free)
            )));
        }
        match &self.plan.source {
            Source::Copy(from) => backup::extract_directory(host, self.settings, backup, from, &swap.new),
            Source::Snapshot { payload, size, tool } => {
                host.make_directory(directory)?;
                backup::extract_payload(host, self.settings, backup, payload, &swap.plain)?;
                let [name, cluster, urls] = &self.plan.member;
                let outside = |path: &PathBuf| host.outside(path).display().to_string();
                let (plain, new) = (outside(&swap.plain), outside(&swap.new));
                let mut arguments = vec![
                    "snapshot",
                    "restore",
                    &plain,
                    "--name",
                    name,
                    "--initial-cluster",
                    cluster,
                ];
                arguments.extend(["--initial-advertise-peer-urls", urls, "--data-dir", &new]);
                arguments.extend(&tool.bump);
                info!("{} {}", tool.path.display(), arguments.join(" "));
                let limit = Duration::from_secs(60 + size / SLOWEST);
                host.run(&tool.path, &arguments, limit).map_err(|reason| {
                    Failure::new(format!(
                        "cannot restore the snapshot: {}: {reason}",
                        tool.path.display()
                    ))
                    .hint("run the command from the log manually, and read its output")
                })?;
                host.unlink(&swap.plain)?;
                self.own_as_before(swap)
            }
        }
    }

    /// Gives the directory to the old owner: the tool makes everything root's, and etcd may run as
    /// another user.
    fn own_as_before(&self, swap: &Swap) -> Result<(), Failure> {
        let host = self.host;
        if host.exists(&swap.data) {
            let like = host.attributes(&swap.data)?;
            host.own(&swap.new, like.uid, like.gid)?;
        }
        host.sync_tree_directories(&swap.new)
    }

    /// Stops both components, exchanges the directories, starts etcd and waits until it is healthy.
    /// If that fails, the old directory comes back.
    fn exchange(&self, swap: &Swap) -> Result<(), Failure> {
        let exchanged = self.stop().and_then(|()| swap.exchange(self.host)).and_then(|()| {
            info!("{} is the restored one", swap.data.display());
            self.start_etcd()
        });
        let Err(failure) = exchanged else {
            return self.unpark_all();
        };
        if swap.has_old(self.host) {
            warn!("{failure}; restoring the old data");
        }
        let back = if swap.has_old(self.host) {
            self.stop().and_then(|()| swap.take_back(self.host))
        } else {
            swap.end(self.host)
        };
        let back = back.and_then(|()| self.unpark_all());
        match back {
            Ok(()) => Err(failure),
            Err(second) => Err(Failure::new(format!("{failure}; and the rollback failed: {second}"))
                .hint("run `kubecertd recover` once the cause is gone")
                .exit(Exit::RollbackFailed)),
        }
    }

    fn restarts(&self, reader: &str) -> bool {
        self.steps.iter().any(|step| step.reader == reader)
    }

    fn stop(&self) -> Result<(), Failure> {
        for manifest in &self.plan.manifests {
            if self.host.exists(manifest) {
                park::park(self.host, manifest)?;
                info!(manifest = %manifest.display(), "took {} out", manifest.display());
            }
        }
        self.wait("end", || match self.answers() {
            Err(_) if self.host.processes_in_pods(ETCD).is_empty() => Ok(()),
            _ => Err(format!(
                "it still runs after {} s",
                self.settings.restart.timeout.as_secs()
            )),
        })
    }

    fn answers(&self) -> Result<(), String> {
        connect(self.host, &member::known(self.inventory, self.settings)).map(drop)
    }

    fn start_etcd(&self) -> Result<(), Failure> {
        if let Some(manifest) = self.plan.manifests.last() {
            park::unpark(self.host, manifest)?;
        }
        self.wait("start with the restored data", || self.answers())?;
        info!("etcd answers with the restored data");
        Ok(())
    }

    fn unpark_all(&self) -> Result<(), Failure> {
        let mut manifests = self.plan.manifests.iter().rev();
        manifests.try_for_each(|manifest| park::unpark(self.host, manifest))
    }

    fn server_is_well(&self) -> Result<(), Failure> {
        let server = self.inventory.readers.iter().find(|reader| reader.name == APISERVER);
        let Some(health) = server.and_then(probes::health) else {
            return Ok(());
        };
        self.until(|| is_well(self.host, &health))
            .map_err(|reason| Failure::new(format!("etcd is restored, but {APISERVER} is unhealthy: {reason}")))
    }

    fn wait(&self, what: &str, holds: impl Fn() -> Result<(), String>) -> Result<(), Failure> {
        self.until(holds)
            .map_err(|reason| Failure::new(format!("etcd does not {what}: {reason}")))
    }

    fn until(&self, holds: impl Fn() -> Result<(), String>) -> Result<(), String> {
        let deadline = Instant::now() + self.settings.restart.timeout;
        loop {
            match holds() {
                Ok(()) => return Ok(()),
                Err(reason) if Instant::now() >= deadline => return Err(reason),
                Err(_) => std::thread::sleep(EVERY),
            }
        }
    }
}
