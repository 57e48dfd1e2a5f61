//! End to end: the binary on a real Kubernetes v1.20.2 control plane with its kubelet and
//! containerd, judged from outside.
//!
//! `make e2e` runs it: as root on Debian 12. The real parts and the node are made by
//! packaging/e2e/parts.sh and node.sh. On another system every test says that it is skipped, and
//! fails where CI is set. One node at a time, for outages are measured.

mod components;
mod expired;
mod https;
mod node;
mod outage;
mod pki;
mod refused;
mod running;
mod scenario;
