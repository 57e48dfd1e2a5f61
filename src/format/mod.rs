//! Bytes to values and back: PEM, X.509, keys, kubeconfigs, manifests.
//!
//! Everything here is pure. Edits are edits of text: what is not meant to change stays byte for byte.

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
