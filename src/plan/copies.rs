//! Copies of kubeconfigs. A copy changes only with its original, and only if both hold the same
//! credential.

use std::path::PathBuf;

use super::{Decision, Plan};
use crate::inventory::Inventory;

/// A copy of a kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyItem {
    /// Path of the copy.
    pub path: PathBuf,
    /// Name of the credential that it copies.
    pub of: String,
    /// The reason that it stays as it is.
    pub left: Option<String>,
    /// True if its update failed.
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
    /// Returns the copies that change, each with the credential whose new pair it gets.
    pub fn copies_to_update(&self) -> impl Iterator<Item = (&CopyItem, &str)> {
        let copies = self.copies.iter().filter(|copy| copy.left.is_none());
        copies.filter_map(|copy| Some((copy, self.renewed_as(&copy.of)?)))
    }

    /// Returns the copies that stay old although their original is renewed, each with the reason.
    pub fn copies_left_behind(&self) -> impl Iterator<Item = (&CopyItem, &str)> {
        let copies = self.copies.iter().filter(|copy| self.renewed_as(&copy.of).is_some());
        copies.filter_map(|copy| Some((copy, copy.left.as_deref()?)))
    }

    /// Returns the decision about a copy in one word, and the reason in a sentence.
    pub fn words_of_copy(&self, copy: &CopyItem) -> (&'static str, String) {
        match (&copy.left, self.renewed_as(&copy.of)) {
            (Some(reason), _) => ("leave", reason.clone()),
            (None, Some(_)) => ("update", format!("{} is renewed", copy.of)),
            (None, None) => ("leave", format!("{} is not renewed", copy.of)),
        }
    }

    /// Returns the credential whose new pair this one gets: its own name, or that of a credential
    /// with the same files.
    fn renewed_as(&self, name: &str) -> Option<&str> {
        let item = self.items.iter().find(|item| item.name == name)?;
        match &item.decision {
            Decision::Renew { .. } => Some(&item.name),
            Decision::With(other) => Some(other),
            _ => None,
        }
    }
}
