//! Restoring etcd's data: whether this node alone can do it, and with which commands; where it cannot, what people do instead.

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

/// What is put in the place of etcd's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A snapshot, and the tool that makes a data directory of it.
    Snapshot {
        /// Its file in the backup.
        payload: Payload,
        /// Its bytes when it is plain.
        size: u64,
        /// etcd's own program.
        tool: Tool,
    },
    /// A copy of the data directory, at this path in the backup.
    Copy(PathBuf),
}

/// How it is done on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdPlan {
    /// The backup.
    pub id: String,
    /// What comes.
    pub source: Source,
    /// Where it comes to, without symlinks.
    pub data: PathBuf,
    /// `--name`, `--initial-cluster` and `--initial-advertise-peer-urls` of the member.
    pub member: [String; 3],
    /// The manifests that are taken out: of kube-apiserver (where it is there), then of etcd.
    pub manifests: Vec<PathBuf>,
}

/// Whether it can be done here.
#[derive(Debug)]
pub enum Way {
    /// So.
    Here(Box<EtcdPlan>),
    /// Not, and this is why, and what people do instead.
    ByHand {
        /// Why.
        because: String,
        /// The commands for this cluster.
        procedure: String,
    },
}

/// Decides. Nothing is written. `asked` are the members that a running etcd names now.
pub fn way(
    host: &Host,
    settings: &Settings,
    inventory: &Inventory,
    backup: &StoredBackup,
    asked: &[MemberOf],
    others: &[StoredBackup],
) -> Result<Way, Failure> {
    let refuse = |reason: &str| Failure::new(format!("cannot restore etcd from {}: {reason}", backup.id));
    let list = trusted(host, settings, backup)?;
    let pod = |component: &str| inventory.pods.iter().find(|pod| pod.manifest.component == component);
    let Some(etcd) = pod("etcd") else {
        let hint = format!(
            "if its manifest is lost: kubecertd restore {} --only manifests",
            backup.id
        );
        return Err(refuse("no etcd runs on this node by its manifests").hint(hint));
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
    let members = members(list, &member, asked, others);
    let server = etcd.manifest.version.or_else(|| taken_from(list));
    let tool = server
        .ok_or_else(|| "the version of the server is not known".to_owned())
        .and_then(|server| tool::find(host, server));
    let by_hand = |because: String| Way::ByHand {
        procedure: procedure(backup, list, etcd, &data, &members, tool.as_ref().ok()),
        because,
    };
    if members.len() > 1 {
        return Ok(by_hand(format!(
            "the cluster has {} members, and all of them have to be restored together",
            members.len()
        )));
    }
    let source = match source(backup, list, tool.as_ref())? {
        Ok(source) => source,
        Err(because) => return Ok(by_hand(because)),
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

/// What the backup has of etcd; or why people have to make a data directory of it.
fn source(
    backup: &StoredBackup,
    list: &Manifest,
    tool: Result<&Tool, &String>,
) -> Result<Result<Source, String>, Failure> {
    let refuse = |reason: &str| {
        Failure::new(format!("cannot restore etcd from {}: {reason}", backup.id))
            .hint("`kubecertd backup list` shows which backups have something of etcd")
    };
    let part = list.etcd.as_ref().ok_or_else(|| refuse("it has nothing of etcd"))?;
    match (part.kind, &part.snapshot, &part.data) {
        (EtcdKind::Snapshot, Some(snapshot), _) => {
            let payload = list.payloads.iter().find(|payload| payload.file == snapshot.file);
            let payload = payload.ok_or_else(|| refuse("its snapshot is not in its list"))?;
            Ok(tool
                .map_err(|reason| format!("no tool fits: {reason}"))
                .map(|tool| Source::Snapshot {
                    payload: payload.clone(),
                    size: snapshot.size,
                    tool: tool.clone(),
                }))
        }
        (_, _, Some(data)) => Ok(Ok(Source::Copy(data.clone()))),
        _ => Err(refuse("it has nothing of etcd")),
    }
}

fn taken_from(list: &Manifest) -> Option<(u32, u32)> {
    let version = &list.etcd.as_ref()?.snapshot.as_ref()?.version;
    manifest::version_of(&format!("etcd:{version}"))
}

/// The members of the cluster by whoever knows of the most: etcd itself, the backup, the newest other set that has a snapshot, the manifest.
/// kubeadm's manifest of the first node names that one alone for ever.
fn members(list: &Manifest, member: &[String; 3], asked: &[MemberOf], others: &[StoredBackup]) -> Vec<MemberOf> {
    let of = |list: &Manifest| Some(list.etcd.as_ref()?.snapshot.as_ref()?.members.clone());
    let newest = others.iter().rev().find_map(|other| of(other.manifest.as_ref().ok()?));
    let by_flag = member[1].split(',').filter_map(|one| {
        let (name, url) = one.split_once('=')?;
        Some(MemberOf {
            name: name.to_owned(),
            peer_urls: vec![url.to_owned()],
        })
    });
    let all = [
        asked.to_vec(),
        of(list).unwrap_or_default(),
        newest.unwrap_or_default(),
        by_flag.collect(),
    ];
    // The first of those that know as many.
    all.into_iter().rev().max_by_key(Vec::len).unwrap_or_default()
}

/// The commands for this cluster, to be run by people, with every name filled in.
fn procedure(
    backup: &StoredBackup,
    list: &Manifest,
    etcd: &Pod,
    data: &Path,
    members: &[MemberOf],
    tool: Option<&Tool>,
) -> String {
    let snapshot = list.etcd.as_ref().and_then(|etcd| etcd.snapshot.as_ref());
    let file = snapshot.map_or_else(
        || "SNAPSHOT".into(),
        |snapshot| backup.directory.join(&snapshot.file).display().to_string(),
    );
    let directory = etcd.file.real.parent().unwrap_or(Path::new("/")).display();
    let cluster: Vec<_> = members
        .iter()
        .flat_map(|member| member.peer_urls.iter().map(move |url| format!("{}={url}", member.name)))
        .collect();
    let cluster = cluster.join(",");
    let program = tool.map_or_else(|| "etcdutl".into(), |tool| tool.path.display().to_string());
    let mut out = String::new();
    let mut line = |text: String| _ = writeln!(out, "{text}");
    line("On every control-plane node, before the next step:".into());
    line(format!(
        "  mkdir -p /root/parked && mv {directory}/kube-apiserver.yaml {directory}/etcd.yaml /root/parked/"
    ));
    line("  crictl ps --name 'etcd|kube-apiserver'        # wait until it names none".into());
    line(format!("  mv {} {}.before-restore", data.display(), data.display()));
    line(format!("Copy {file} to every node, to the same path."));
    if file.ends_with(".enc") || file.ends_with(".zst") {
        line(
            "Decrypt it ([backup] decrypt_with) and unpack it (zstd -d) there; the tool wants the plain database."
                .into(),
        );
    }
    line("Then one command on each node, with an etcdutl of the server's minor version (etcdctl before 3.5):".into());
    for member in members {
        line(format!("  # on {}", member.name));
        line(format!(
            "  {program} snapshot restore {file} --name {} --initial-cluster {cluster} --initial-advertise-peer-urls {} --data-dir {} --bump-revision 1000000000 --mark-compacted",
            member.name,
            member.peer_urls.join(","),
            data.display()
        ));
    }
    line(
        "(Leave out --bump-revision and --mark-compacted where the tool does not know them: 3.4, and early 3.5.)"
            .into(),
    );
    line("On every control-plane node, one after the other:".into());
    line(format!(
        "  mv /root/parked/etcd.yaml /root/parked/kube-apiserver.yaml {directory}/"
    ));
    line(
        "Once the API server answers, on every node of the cluster, since watches are from the history before:".into(),
    );
    line("  systemctl restart kubelet".into());
    line("and on every control-plane node:".into());
    line("  crictl rm -f $(crictl ps -q --name 'kube-controller-manager|kube-scheduler')".into());
    out
}
