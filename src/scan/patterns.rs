//! Patterns of the configuration: the files that are there when the node is read stand for them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{SharedFile, names, too_many};
use crate::catalog::{self, Extra};
use crate::host::Host;
use crate::host::write::parent;

/// Maximum number of credentials that all patterns together stand for. Their pairs are held whole.
const MOST_CREDENTIALS: usize = 1000;

/// Returns the configured credentials, with those that patterns stand for in place of the patterns.
///
/// A pattern that cannot be expanded stays, and `files` says why it cannot be read.
pub(super) fn expand(host: &Host, configured: &[Extra], files: &mut BTreeMap<PathBuf, SharedFile>) -> Vec<Extra> {
    let mut all = Vec::new();
    let mut expanded = 0;
    for extra in configured {
        let path = extra.storage.path();
        let found = names(host, parent(path)).map(|names| catalog::expand(extra, &names));
        let unread = match found {
            Ok(found) if !extra.name.contains('*') => {
                all.extend(found);
                continue;
            }
            Ok(found) if expanded + found.len() <= MOST_CREDENTIALS => {
                expanded += found.len();
                all.extend(found);
                continue;
            }
            Ok(found) => {
                let what = match expanded {
                    0 => "stands for",
                    _ => "and the patterns before it stand for",
                };
                too_many(what, expanded + found.len(), MOST_CREDENTIALS)
            }
            Err(unread) => unread,
        };
        files.insert(path.to_owned(), Err(unread));
        all.push(extra.clone());
    }
    all
}
