//! Copies of kubeconfigs: they change when, and only when, their original does and they hold the same credential.

use std::path::PathBuf;

use super::{Decision, Plan};
use crate::inventory::Inventory;

/// A copy of a kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyItem {
    /// Where it is.
    pub path: PathBuf,
    /// The credential that it is a copy of.
    pub of: String,
    /// Why it is left alone whatever becomes of the original.
    pub left: Option<String>,
    /// It was to change, and that failed.
    pub fault: bool,
}

pub(super) fn items(inventory: &Inventory) -> Vec<CopyItem> {
    let items = inventory.copies.iter().map(|copy| CopyItem {
        path: copy.spec.path.clone(),
        of: copy.spec.of.clone(),
        left: copy.held.as_ref().err().cloned(),
        fault: false,
    });
    items.collect()
}

impl Plan {
    /// The copies that change, each with the credential whose new pair it gets.
    pub fn copies_to_update(&self) -> impl Iterator<Item = (&CopyItem, &str)> {
        let copies = self.copies.iter().filter(|copy| copy.left.is_none());
        copies.filter_map(|copy| Some((copy, self.renewed_as(&copy.of)?)))
    }

    /// The copies that stay old although their original is renewed, and why.
    pub fn copies_left_behind(&self) -> impl Iterator<Item = (&CopyItem, &str)> {
        let copies = self.copies.iter().filter(|copy| self.renewed_as(&copy.of).is_some());
        copies.filter_map(|copy| Some((copy, copy.left.as_deref()?)))
    }

    /// One word for what becomes of a copy, and the reason for people.
    pub fn words_of_copy(&self, copy: &CopyItem) -> (&'static str, String) {
        match (&copy.left, self.renewed_as(&copy.of)) {
            (Some(reason), _) => ("leave", reason.clone()),
            (None, Some(_)) => ("update", format!("{} is renewed", copy.of)),
            (None, None) => ("leave", format!("{} is not renewed", copy.of)),
        }
    }

    /// The credential whose new pair this one gets: itself, or the one whose files it shares.
    fn renewed_as(&self, name: &str) -> Option<&str> {
        let item = self.items.iter().find(|item| item.name == name)?;
        match &item.decision {
            Decision::Renew { .. } => Some(&item.name),
            Decision::With(other) => Some(other),
            _ => None,
        }
    }
}
