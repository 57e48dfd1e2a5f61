//! Properties: what [`oracle`](crate::oracle) demands, of random and of damaged input.

use proptest::prelude::*;

use crate::damage::{config, configurations, damaged, kubeconfigs, manifests, noise, pems};
use crate::oracle;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn damaged_pem_is_refused_with_a_reason_or_edited_exactly(bytes in damaged(pems())) {
        oracle::pem_x509(&bytes);
    }

    #[test]
    fn damaged_kubeconfigs_are_refused_or_changed_in_two_values(bytes in damaged(kubeconfigs())) {
        oracle::kubeconfig(&bytes);
    }

    #[test]
    fn damaged_manifests_are_refused_or_changed_in_one_annotation(bytes in damaged(manifests())) {
        oracle::manifest(&bytes);
    }

    #[test]
    fn damaged_configurations_are_refused_or_mean_what_is_shown(bytes in damaged(configurations())) {
        oracle::toml(&bytes);
    }

    #[test]
    fn noise_is_refused_everywhere_with_a_reason(bytes in noise()) {
        oracle::pem_x509(&bytes);
        oracle::kubeconfig(&bytes);
        oracle::manifest(&bytes);
        oracle::toml(&bytes);
    }
}

/// A test that accepts nothing would prove nothing: undamaged files go through every edit.
#[test]
fn the_undamaged_files_are_accepted_and_edited() {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    for bytes in kubeconfigs() {
        oracle::kubeconfig(bytes);
        let text = text(bytes);
        let embedded = text.contains("client-key-data");
        assert_eq!(
            kubecertd::format::kubeconfig::replace_credential(&text, "c", "k").is_ok(),
            embedded
        );
    }
    for bytes in manifests() {
        oracle::manifest(bytes);
        kubecertd::format::manifest::annotate(&text(bytes), "a/b", "c").expect("an annotated manifest");
    }
    for bytes in pems() {
        oracle::pem_x509(bytes);
        assert!(!kubecertd::format::pem::blocks(&text(bytes)).expect("PEM").is_empty());
    }
    for bytes in configurations() {
        oracle::toml(bytes);
    }
}
