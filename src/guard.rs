//! Decide whether now is a good time. Pure: the signs were gathered by the scan.

use crate::plan::Plan;
use crate::scan::Signs;

/// A plan that may be carried out now. Only [`check`] makes one.
#[derive(Debug, Clone)]
pub struct Cleared {
    plan: Plan,
    /// What speaks against it without blocking it.
    pub warnings: Vec<String>,
}

impl Cleared {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

/// Whether a person asked for it and looks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attended {
    /// `renew` by hand: signs become warnings.
    ByHand,
    /// The daemon: signs defer the cycle.
    Unattended,
}

/// Clears the plan, or says why it has to wait.
pub fn check(plan: Plan, signs: &Signs, attended: Attended) -> Result<Cleared, String> {
    let mut reasons = Vec::new();
    if let Some(pid) = signs.kubeadm {
        reasons.push(format!("kubeadm is running (pid {pid})"));
    }
    if let Some(path) = signs.kubeadm_files.first() {
        reasons.push(format!(
            "kubeadm seems to be at work: {} changed within the last hour",
            path.display()
        ));
    }
    match (attended, reasons.is_empty()) {
        (Attended::Unattended, false) => Err(reasons.join("; ")),
        _ => Ok(Cleared {
            plan,
            warnings: reasons,
        }),
    }
}
