//! The restore of etcd's data: whether this node can do it alone, and with which commands. If not,
//! the commands for a person.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::plan::trusted;
use super::tool::{self, Tool};
use crate::backup::stored::{EtcdKind, Manifest, MemberOf, Payload, StoredBackup};
use crate::config::Settings;
use crate::format::manifest;
use crate::host::Host;
use crate::inventory::{Inventory, Pod};
use crate::model::Failure;

/// The replacement for etcd's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A snapshot, and the tool that makes a data directory from it.
    Snapshot {
        /// File in the backup.
        payload: Payload,
        /// Size in bytes when it is plain.
        size: u64,
        /// etcd's own program.
        tool: Tool,
    },
    /// A copy of the data directory, at this path in the backup.
    Copy(PathBuf),
}

/// A restore of etcd on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdPlan {
    /// Name of the backup.
    pub id: String,
    /// The new data.
    pub source: Source,
    /// Data directory, without symlinks.
    pub data: PathBuf,
    /// Values of `--name`, `--initial-cluster` and `--initial-advertise-peer-urls` of the member.
    pub member: [String; 3],
    /// Manifests that are parked: that of kube-apiserver, if it exists, then that of etcd.
    pub manifests: Vec<PathBuf>,
}

/// The way in which etcd's data can be restored.
#[derive(Debug)]
pub enum Way {
    /// On this node.
    Here(Box<EtcdPlan>),
    /// Manually.
    Manual(ManualRestore),
}

/// A restore of etcd's data that a person has to do.
#[derive(Debug)]
pub struct ManualRestore {
    /// The reason.
    pub because: String,
    /// The commands for this cluster.
    pub procedure: String,
}

/// Sources, other than the restored backup, that name the members of the cluster.
#[derive(Clone, Copy)]
pub struct ClusterSources<'a> {
    /// The members that a running etcd names now.
    pub asked: &'a [MemberOf],
    /// All backups of this node.
    pub backups: &'a [StoredBackup],
}

/// Decides how etcd's data can be restored. Writes nothing.
pub fn way(
    host: &Host,
    settings: &Settings,
    inventory: &Inventory,
    backup: &StoredBackup,
    sources: ClusterSources<'_>,
) -> Result<Way, Failure> {
    let refuse = |reason: &str| Failure::new(format!("cannot restore etcd from {}: {reason}", backup.id));
    let list = trusted(host, settings, backup)?;
    let pod = |component: &str| inventory.pods.iter().find(|pod| pod.manifest.component == component);
    let Some(etcd) = pod("etcd") else {
        let hint = format!(
            "if the manifest is lost, run `kubecertd restore {} --only manifests`",
            backup.id
        );
        return Err(refuse("this node has no manifest of etcd").hint(hint));
    };
    let flag = |name: &str| {
        let missing = || refuse(&format!("{} has no --{name}", etcd.file.real.display()));
        etcd.manifest.flag(name).map(str::to_owned).ok_or_else(missing)
    };
    let member = [
        flag("name")?,
        flag("initial-cluster")?,
        flag("initial-advertise-peer-urls")?,
    ];
    let data = etcd.manifest.on_the_node(Path::new(&flag("data-dir")?));
    let data = host.resolve(&data).map_or(data, |found| found.real);
    let members = members(list, &member, sources);
    let server = etcd.manifest.version.or_else(|| taken_from(list));
    let tool = server
        .ok_or_else(|| "the version of the server is unknown".to_owned())
        .and_then(|server| tool::find(host, server));
    let manual = |because: String| ManualRestore {
        procedure: Procedure {
            backup,
            list,
            etcd,
            data: &data,
            members: &members,
            tool: tool.as_ref().ok(),
        }
        .commands(),
        because,
    };
    if members.len() > 1 {
        return Ok(Way::Manual(manual(format!(
            "the cluster has {} members, which must be restored together",
            members.len()
        ))));
    }
    let source = match source(backup, list, tool.as_ref())? {
        Ok(source) => source,
        Err(because) => return Ok(Way::Manual(manual(because))),
    };
    let manifests = [pod("kube-apiserver"), Some(etcd)];
    Ok(Way::Here(Box::new(EtcdPlan {
        id: backup.id.clone(),
        source,
        data,
        member,
        manifests: manifests
            .into_iter()
            .flatten()
            .map(|pod| pod.file.real.clone())
            .collect(),
    })))
}

/// Returns etcd's data in the backup, or the reason that a person has to make a data directory from
/// it.
fn source(
    backup: &StoredBackup,
    list: &Manifest,
    tool: Result<&Tool, &String>,
) -> Result<Result<Source, String>, Failure> {
    let refuse = |reason: &str| {
        Failure::new(format!("cannot restore etcd from {}: {reason}", backup.id))
            .hint("run `kubecertd backup list` to see which backups have etcd's data")
    };
    let part = list.etcd.as_ref().ok_or_else(|| refuse("it has no data of etcd"))?;
    match (part.kind, &part.snapshot, &part.data) {
        (EtcdKind::Snapshot, Some(snapshot), _) => {
            let payload = list.payloads.iter().find(|payload| payload.file == snapshot.file);
            let payload = payload.ok_or_else(|| refuse("its snapshot is not in its manifest"))?;
            Ok(tool
                .map_err(|reason| format!("no suitable etcdutl or etcdctl: {reason}"))
                .map(|tool| Source::Snapshot {
                    payload: payload.clone(),
                    size: snapshot.size,
                    tool: tool.clone(),
                }))
        }
        (_, _, Some(data)) => Ok(Ok(Source::Copy(data.clone()))),
        _ => Err(refuse("it has no data of etcd")),
    }
}

fn taken_from(list: &Manifest) -> Option<(u32, u32)> {
    let version = &list.etcd.as_ref()?.snapshot.as_ref()?.version;
    manifest::version_of(&format!("etcd:{version}"))
}

/// Returns the members of the cluster, from the source that knows most of them: etcd itself, the
/// backup, the newest other backup with a snapshot, or the manifest. kubeadm's manifest on the
/// first node names only that node.
fn members(list: &Manifest, member: &[String; 3], sources: ClusterSources<'_>) -> Vec<MemberOf> {
    let of = |list: &Manifest| Some(list.etcd.as_ref()?.snapshot.as_ref()?.members.clone());
    let newest = sources
        .backups
        .iter()
        .rev()
        .find_map(|other| of(other.manifest.as_ref().ok()?));
    let by_flag = member[1].split(',').filter_map(|one| {
        let (name, url) = one.split_once('=')?;
        Some(MemberOf {
            name: name.to_owned(),
            peer_urls: vec![url.to_owned()],
        })
    });
    let all = [
        sources.asked.to_vec(),
        of(list).unwrap_or_default(),
        newest.unwrap_or_default(),
        by_flag.collect(),
    ];
    // The first of equal sources wins.
    all.into_iter().rev().max_by_key(Vec::len).unwrap_or_default()
}

/// Everything that the commands for a person are made from.
struct Procedure<'a> {
    backup: &'a StoredBackup,
    list: &'a Manifest,
    etcd: &'a Pod,
    data: &'a Path,
    members: &'a [MemberOf],
    tool: Option<&'a Tool>,
}

impl Procedure<'_> {
    /// Returns the commands for this cluster, with every name filled in.
    fn commands(&self) -> String {
        let Self {
            backup,
            list,
            etcd,
            data,
            members,
            ..
        } = *self;
        let snapshot = list.etcd.as_ref().and_then(|etcd| etcd.snapshot.as_ref());
        let file = snapshot.map_or_else(
            || "SNAPSHOT".into(),
            |snapshot| backup.directory.join(&snapshot.file).display().to_string(),
        );
        let directory = etcd.file.real.parent().unwrap_or(Path::new("/")).display();
        let mut out = String::new();
        let mut line = |text: String| _ = writeln!(out, "{text}");
        line("On every control-plane node, before the next step:".into());
        line(format!(
            "  mkdir -p /root/parked && mv {directory}/kube-apiserver.yaml {directory}/etcd.yaml /root/parked/"
        ));
        line("  crictl ps --name 'etcd|kube-apiserver'        # wait until it lists none".into());
        line(format!("  mv {} {}.before-restore", data.display(), data.display()));
        line(format!("Copy {file} to every node, to the same path."));
        if file.ends_with(".enc") || file.ends_with(".zst") {
            line(
                "Decrypt it ([backup] decrypt_with) and unpack it (zstd -d) there: the tool needs the plain database."
                    .into(),
            );
        }
        line(
            "Then one command on each node, with an etcdutl of the server's minor version (etcdctl before 3.5):".into(),
        );
        for member in members {
            line(format!("  # on {}", member.name));
            line(self.restore_command(member, &file));
        }
        line("(Omit --bump-revision and --mark-compacted if the tool does not have them: 3.4 and early 3.5.)".into());
        line("On every control-plane node, one after the other:".into());
        line(format!(
            "  mv /root/parked/etcd.yaml /root/parked/kube-apiserver.yaml {directory}/"
        ));
        line("Once the API server answers, on every node of the cluster, because watches are out of date:".into());
        line("  systemctl restart kubelet".into());
        line("and on every control-plane node:".into());
        line("  crictl rm -f $(crictl ps -q --name 'kube-controller-manager|kube-scheduler')".into());
        out
    }

    /// Returns the command that makes the data directory of a member.
    fn restore_command(&self, member: &MemberOf, file: &str) -> String {
        let program = self
            .tool
            .map_or_else(|| "etcdutl".into(), |tool| tool.path.display().to_string());
        let peers = self
            .members
            .iter()
            .flat_map(|member| member.peer_urls.iter().map(move |url| format!("{}={url}", member.name)));
        let cluster = peers.collect::<Vec<_>>().join(",");
        format!(
            "  {program} snapshot restore {file} --name {} --initial-cluster {cluster} \
             --initial-advertise-peer-urls {} --data-dir {} --bump-revision 1000000000 --mark-compacted",
            member.name,
            member.peer_urls.join(","),
            self.data.display()
        )
    }
}
