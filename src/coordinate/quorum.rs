//! Judges whether the cluster can bear that etcd or the API server of one node is away for a
//! moment. Pure.

use super::decide::Cause;
use crate::format::text;
use crate::model::{Peer, Timestamp};

/// State of the members, right before a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Members that the cluster lists.
    pub members: Vec<Member>,
    /// Alarms: id of the member, and name of the alarm.
    pub alarms: Vec<(u64, String)>,
    /// Member on this node. `None` if etcd runs elsewhere.
    pub own: Option<u64>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Entry in the list of members.
    pub peer: Peer,
    /// Version, if it serves; otherwise the reason.
    pub state: Result<String, UnhealthyMember>,
}

/// The reason that a member does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnhealthyMember {
    /// The reason, for people.
    pub reason: String,
    /// True if a certificate has expired: a renewal repairs that, so it blocks none.
    pub expired: bool,
}

/// State of the maintenance windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// None is configured.
    None,
    /// None is open. Holds the time when the next one opens.
    Closed(Option<Timestamp>),
    /// One is open.
    Open,
}

/// The reason to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumRisk {
    /// Kind of the reason.
    pub cause: Cause,
    /// The reason, for people.
    pub reason: String,
    /// Advice for the operator.
    pub hint: &'static str,
}

/// Returns an error if no credential of etcd or an API server may be replaced now, and neither may
/// be restarted.
///
/// | state | may change |
/// | --- | --- |
/// | an alarm (NOSPACE, CORRUPT) | no |
/// | a member without a vote (a learner catches up) | no |
/// | another member does not serve, or its version is not known | no |
/// | another member does not serve because a certificate has expired | yes |
/// | the own member does not serve | yes: it cannot become worse |
/// | two members, no window, or none open | no: the cluster stops while one restarts |
/// | two members, a window is open | yes |
/// | all others serve | yes |
pub fn judge(view: &View, window: Window) -> Result<(), QuorumRisk> {
    all_serve(view)?;
    let stands_still = view.own.is_some() && view.members.len() == 2;
    match window {
        Window::Open => Ok(()),
        _ if !stands_still => Ok(()),
        Window::None => refuse(
            Cause::TwoMembers,
            "a cluster of two members stands still while one of them restarts",
            "add a [[window]] in which it may, or a third member",
        ),
        Window::Closed(opens) => {
            let opens = opens.map_or_else(String::new, |opens| format!(" of {}", text::date(opens)));
            let reason = format!(
                "a cluster of two members stands still while one of them restarts: \
                 deferred to the maintenance window{opens}"
            );
            refuse(Cause::TwoMembers, reason, "it is done when the window opens")
        }
    }
}

fn refuse(cause: Cause, reason: impl Into<String>, hint: &'static str) -> Result<(), QuorumRisk> {
    Err(QuorumRisk {
        cause,
        reason: reason.into(),
        hint,
    })
}

fn all_serve(view: &View) -> Result<(), QuorumRisk> {
    let name = |id: u64| {
        let listed = view.members.iter().find(|member| member.peer.id == id);
        listed.map_or_else(|| format!("{id:x}"), |member| title(&member.peer))
    };
    if view.members.is_empty() {
        return refuse(
            Cause::Members,
            "etcd does not list its members",
            "`etcdctl member list` shows them",
        );
    }
    if let Some((id, alarm)) = view.alarms.first() {
        let reason = format!("etcd's alarm {alarm} is raised by {}", name(*id));
        return refuse(
            Cause::Members,
            reason,
            "see `etcdctl alarm list`; NOSPACE: compact, defragment, and disarm it",
        );
    }
    if let Some(learner) = view.members.iter().find(|member| member.peer.is_learner) {
        let reason = format!(
            "etcd's member {} is a learner that still catches up",
            title(&learner.peer)
        );
        return refuse(
            Cause::Members,
            reason,
            "it is over once the member is promoted, see `etcdctl member list`",
        );
    }
    let others = view.members.iter().filter(|member| Some(member.peer.id) != view.own);
    for member in others {
        match &member.state {
            Err(unwell) if !unwell.expired => {
                let reason = format!(
                    "etcd's member {} does not serve: {}",
                    title(&member.peer),
                    unwell.reason
                );
                return refuse(
                    Cause::Members,
                    reason,
                    "see to that member first: without it, none may be missing",
                );
            }
            Ok(version) if version.is_empty() => {
                let reason = format!("etcd's member {} does not say its version", title(&member.peer));
                return refuse(Cause::Members, reason, "see `etcdctl endpoint status --cluster`");
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

fn title(peer: &Peer) -> String {
    match peer.name.as_str() {
        "" => format!("{:x} (not started yet)", peer.id),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(count: u64) -> View {
        let of = |id| Member {
            peer: Peer {
                id,
                name: format!("node-{id}"),
                client_urls: Vec::new(),
                is_learner: false,
            },
            state: Ok("3.6.8".into()),
        };
        View {
            members: (1..=count).map(of).collect(),
            alarms: Vec::new(),
            own: Some(1),
        }
    }

    fn down(expired: bool) -> Result<String, UnhealthyMember> {
        Err(UnhealthyMember {
            reason: "connection refused".into(),
            expired,
        })
    }

    #[test]
    fn it_is_as_the_table_says() {
        let says = |change: &dyn Fn(&mut View), window| {
            let mut view = view(3);
            change(&mut view);
            judge(&view, window).map_err(|it| (it.cause, it.reason))
        };
        let why = |change: &dyn Fn(&mut View), word: &str| {
            let (cause, reason) = says(change, Window::Open).unwrap_err();
            assert_eq!(cause, Cause::Members, "{reason}");
            assert!(reason.contains(word), "{reason}");
        };
        why(
            &|view| view.alarms.push((2, "NOSPACE".into())),
            "NOSPACE is raised by node-2",
        );
        why(
            &|view| view.alarms.push((1, "CORRUPT".into())),
            "CORRUPT is raised by node-1",
        );
        why(&|view| view.members[2].peer.is_learner = true, "node-3 is a learner");
        why(&|view| view.members[1].state = down(false), "node-2 does not serve");
        why(&|view| view.members[1].state = Ok(String::new()), "version");
        why(&|view| view.members.clear(), "does not list");
        why(
            &|view| {
                view.members[0].state = down(false);
                view.members[1].state = down(false);
            },
            "node-2",
        );
        assert_eq!(says(&|view| view.members[1].state = down(true), Window::None), Ok(()));
        assert_eq!(says(&|view| view.members[0].state = down(false), Window::None), Ok(()));
        assert_eq!(says(&|_| {}, Window::None), Ok(()));
        assert_eq!(says(&|_| {}, Window::Closed(None)), Ok(()));
    }

    #[test]
    fn of_two_members_one_restarts_in_a_window_only() {
        let refused = judge(&view(2), Window::None).unwrap_err();
        assert!(refused.hint.contains("[[window]]"));
        assert_eq!(refused.cause, Cause::TwoMembers);
        assert!(judge(&view(2), Window::Closed(None)).is_err());
        assert_eq!(judge(&view(2), Window::Open), Ok(()));
        let elsewhere = View { own: None, ..view(2) };
        assert_eq!(judge(&elsewhere, Window::None), Ok(()), "no member is restarted by us");
    }
}
