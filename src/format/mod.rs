//! Bytes to values and back: PEM, X.509, keys, kubeconfigs, manifests.
//!
//! All of it is pure. Edits change text: all other bytes stay as they are.

pub mod digest;
pub mod key;
pub mod kubeconfig;
pub mod manifest;
pub mod pair;
pub mod pem;
pub mod snapshot;
pub mod text;
pub mod x509;
pub mod yaml;
