//! The program on nodes with hostile files: it ends in time and within 64 MiB with a code that was
//! designed (see [`bounded`]), the other rows are there, and the others are renewed.

use crate::amplified::{self, Growth, LARGEST};
use crate::bounded::{self, Run};
use crate::der::{self, element, extension};
use crate::support::clock::FRESH;
use crate::support::credential::{self, Credential};
use crate::support::{ECDSA, Node};

const KUBECONFIGS: [&str; 4] = [
    "admin.conf",
    "controller-manager.conf",
    "scheduler.conf",
    "super-admin.conf",
];
const MANIFESTS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
const PKI: &str = "etc/kubernetes/pki";

/// The leaves that are stored in files of their own.
fn pairs() -> Vec<Credential> {
    credential::all_but(&KUBECONFIGS)
}

/// Runs all three commands within the bounds; every credential has its row in the tables.
#[track_caller]
fn all_verbs(node: &Node) -> Run {
    for verb in ["check-expiration", "plan"] {
        let run = bounded::run(node, FRESH, &[verb]);
        for credential in credential::all_of(ECDSA) {
            let word = |line: &str| line.split_whitespace().take(2).any(|word| word == credential.name);
            assert!(
                run.stdout.lines().any(word),
                "{verb}: no row for {}: {run}",
                credential.name
            );
        }
    }
    bounded::run(node, FRESH, &["renew", "all", "-o", "json"])
}

/// The credentials whose files are not those of `before` any more.
fn renewed(before: &crate::support::tree::Snapshot, node: &Node) -> Vec<&'static str> {
    let after = node.snapshot();
    let all = credential::all_of(ECDSA);
    let changed = all.iter().filter(|c| before.0[&c.path()] != after.0[&c.path()]);
    changed.map(|c| c.name).collect()
}

/// Requires of all commands what [`all_verbs`] does, and that these were renewed, with any result
/// for the others.
#[track_caller]
fn renews(node: &Node, wanted: &[&str]) {
    renews_by(all_verbs, node, wanted);
}

#[track_caller]
fn renews_by(run: fn(&Node) -> Run, node: &Node, wanted: &[&str]) {
    let before = node.snapshot();
    let run = run(node);
    let renewed = renewed(&before, node);
    let missed: Vec<_> = wanted.iter().filter(|name| !renewed.contains(name)).collect();
    assert!(missed.is_empty(), "not renewed are {missed:?}: {run}");
}

/// Hostile YAML in place of all kubeconfigs and manifests and of the kubelet's configuration at
/// once; the pairs do not care.
#[track_caller]
fn the_pairs_are_renewed_beside(texts: &[String]) {
    let node = Node::of(ECDSA);
    let mut next = texts.iter().cycle();
    let mut put = |path: String| node.write(&path, next.next().expect("a text").as_bytes(), 0o600);
    for name in KUBECONFIGS {
        put(format!("etc/kubernetes/{name}"));
    }
    for name in MANIFESTS {
        put(credential::manifest(name));
    }
    put("etc/kubernetes/kubelet.conf".to_owned());
    put("var/lib/kubelet/config.yaml".to_owned());
    renews(&node, &credential::names(&pairs()));
}

#[test]
fn pairs_are_renewed_next_to_1_mib_of_hostile_yaml() {
    for some in amplified::YAML.chunks(10) {
        let texts: Vec<String> = some.iter().map(Growth::text).collect();
        the_pairs_are_renewed_beside(&texts);
    }
}

#[test]
fn pairs_are_renewed_next_to_256_kib_of_hostile_yaml() {
    for size in &amplified::SIZES[1..3] {
        for some in amplified::YAML.chunks(10) {
            let texts: Vec<String> = some.iter().map(|growth| growth.text_of(*size)).collect();
            the_pairs_are_renewed_beside(&texts);
        }
    }
}

#[test]
fn pairs_are_renewed_next_to_yaml_that_grows_by_aliases() {
    for text in amplified::bombs() {
        the_pairs_are_renewed_beside(&[text]);
    }
}

/// With nothing else to do: the kubelet's configuration says where the manifests are, and a hostile
/// one says nothing.
#[test]
fn a_hostile_kubelet_configuration_means_default_manifests() {
    for text in [amplified::bombs()[0].clone(), "[".repeat(100_000)] {
        let node = Node::of(ECDSA);
        node.write("var/lib/kubelet/config.yaml", text.as_bytes(), 0o600);
        let before = node.snapshot();
        let run = all_verbs(&node);
        assert_eq!(run.code, Some(0), "{run}");
        let manifest = credential::manifest("kube-scheduler");
        assert!(
            before.0[&manifest] != node.snapshot().0[&manifest],
            "not restarted: {run}"
        );
    }
}

#[test]
fn a_hostile_configuration_is_refused_in_few_lines_or_obeyed() {
    for growth in &amplified::TOML {
        let node = Node::of(ECDSA);
        node.configure(&growth.text());
        for args in [
            &["check-expiration"][..],
            &["plan"],
            &["renew", "all"],
            &["config", "check"],
        ] {
            let run = bounded::run(&node, FRESH, args);
            if run.code == Some(78) {
                let lines = run.stderr.lines().count();
                assert!((1..=1000).contains(&lines), "{lines} lines: {run}");
                break;
            }
        }
    }
}

#[test]
fn kubeconfigs_are_renewed_next_to_1_mib_of_hostile_pem() {
    for some in amplified::PEM.chunks(4) {
        let texts: Vec<String> = some.iter().map(Growth::text).collect();
        let node = Node::of(ECDSA);
        for (index, credential) in pairs().iter().enumerate() {
            let path = credential.path();
            let path = if index % 3 == 2 {
                path.replace(".crt", ".key")
            } else {
                path
            };
            node.rewrite(&path, texts[index % texts.len()].as_bytes());
        }
        renews(&node, &KUBECONFIGS);
    }
}

#[test]
fn hostile_pem_in_a_ca_or_its_key_affects_only_its_leaves() {
    for some in amplified::PEM.chunks(2) {
        let node = Node::of(ECDSA);
        for (growth, file) in some.iter().zip(["etcd/ca.crt", "front-proxy-ca.key"]) {
            node.rewrite(&format!("{PKI}/{file}"), growth.text().as_bytes());
        }
        renews(&node, &["apiserver", "apiserver-kubelet-client", "admin.conf"]);
    }
}

/// As many CAs as a file can hold; the one whose key is here stands last.
#[test]
fn a_bundle_of_cas_up_to_the_limit_of_1_mib_signs_everything() {
    let node = Node::of(ECDSA);
    let own = node.read(&format!("{PKI}/ca.crt"));
    let other = node.read(&format!("{PKI}/front-proxy-ca.crt"));
    let bundle = other.repeat((LARGEST - own.len()) / other.len()) + &own;
    node.rewrite(&format!("{PKI}/ca.crt"), bundle.as_bytes());
    let run = all_verbs(&node);
    assert_eq!(run.code, Some(0), "{run}");
}

/// The same CA again and again: every copy's key fits.
#[test]
fn a_bundle_of_one_ca_up_to_the_limit_of_1_mib_signs_everything() {
    let node = Node::of(ECDSA);
    let own = node.read(&format!("{PKI}/ca.crt"));
    node.rewrite(&format!("{PKI}/ca.crt"), own.repeat(LARGEST / own.len()).as_bytes());
    let run = all_verbs(&node);
    assert_eq!(run.code, Some(0), "{run}");
}

#[test]
fn a_bundle_of_10000_cas_affects_only_its_leaves() {
    let node = Node::of(ECDSA);
    let bundle = node.read(&format!("{PKI}/etcd/ca.crt")).repeat(10_000);
    node.rewrite(&format!("{PKI}/etcd/ca.crt"), bundle.as_bytes());
    let run = bounded::run(&node, FRESH, &["check-expiration"]);
    assert!(run.code == Some(4) && run.stderr.contains("larger than 1 MiB"), "{run}");
    renews(&node, &["apiserver", "front-proxy-client", "admin.conf"]);
}

/// Certificates that no tool makes: each is read or refused, and reissued or blocked, by itself.
#[test]
fn certificates_that_no_tool_makes_affect_themselves_only() {
    let fixture = Node::of(ECDSA).read(&format!("{PKI}/apiserver.crt"));
    let all = odd_certificates(&fixture);
    let nodes = all.len().div_ceil(pairs().len());
    for first in 0..nodes {
        let node = Node::of(ECDSA);
        // Neighbors in the list are alike; the large ones go to different nodes.
        for (text, credential) in all.iter().skip(first).step_by(nodes).zip(pairs()) {
            assert!(text.len() <= LARGEST, "an odd certificate of {} bytes", text.len());
            node.rewrite(&credential.path(), text.as_bytes());
        }
        renews(&node, &KUBECONFIGS);
    }
}

fn odd_certificates(like: &str) -> Vec<String> {
    let with = |field: usize, new: Vec<u8>| der::with_field(like, field, &new);
    let start = element(0x17, b"261123184308Z");
    let ends: [&[u8]; 10] = [
        b"99991231235959-1200",
        b"99991231235959Z",
        b"00000101000000Z",
        b"00000101000000+1200",
        b"20270101235960Z",
        b"20270230000000Z",
        b"20270101000000",
        b"20270101235959.999999999999999999999Z",
        b"",
        b"-0010101000000Z",
    ];
    let validity = |end: &[u8]| {
        with(
            der::VALIDITY,
            element(0x30, &[start.clone(), element(0x18, end)].concat()),
        )
    };
    let mut all: Vec<String> = ends.into_iter().map(validity).collect();
    let early = [element(0x18, b"99991231235959Z"), element(0x17, b"271123184308Z")].concat();
    all.push(with(der::VALIDITY, element(0x30, &early)));
    all.extend([vec![], vec![1; 100_000], vec![0x80]].map(|serial| with(der::SERIAL, element(2, &serial))));
    // Object identifiers: none, a third root, more than 40 below the second, arcs of more than 64
    // bits.
    let long = [&[0x2a][..], &[0xff; 40], &[1]].concat();
    for oid in [
        &[][..],
        &[0x2a],
        &[0x79, 1],
        &[0xe6, 0x0f],
        &[0x4f],
        &[0x80, 0x2a],
        &[0x2a, 0x80],
        &long,
    ] {
        all.push(with(
            der::EXTENSIONS,
            element(0xa3, &element(0x30, &extension(oid, b"x"))),
        ));
    }
    all.extend(odd_names().map(|name| with(der::SUBJECT, name)));
    all.push(with(der::ISSUER, element(0x30, &element(0x31, &[]))));
    let numbered =
        (0..20_000u16).flat_map(|i| extension(&[0x2a, 3, (i >> 7 & 0x7f | 0x80) as u8, (i & 0x7f) as u8], b"x"));
    all.push(with(
        der::EXTENSIONS,
        element(0xa3, &element(0x30, &numbered.collect::<Vec<_>>())),
    ));
    let names = element(0x30, &element(0x82, b"a").repeat(200_000));
    all.push(with(
        der::EXTENSIONS,
        element(0xa3, &element(0x30, &extension(&[0x55, 0x1d, 0x11], &names))),
    ));
    let nested = (0..10_000).fold(Vec::new(), |inner, _| element(0x30, &inner));
    all.push(with(
        der::EXTENSIONS,
        element(0xa3, &element(0x30, &extension(&[0x55, 0x1d, 0x11], &nested))),
    ));
    all.extend([0, 500_000].map(|size| with(der::PUBLIC_KEY, rsa(size))));
    all
}

/// Names: nothing, an empty part, a part of another kind, a control character, 20,000 parts.
fn odd_names() -> [Vec<u8>; 6] {
    let part = |text: &[u8]| {
        element(
            0x31,
            &element(0x30, &[element(6, &[0x55, 4, 3]), element(0x0c, text)].concat()),
        )
    };
    [
        element(0x30, &[]),
        element(0x30, &[element(0x31, &[]), part(b"x")].concat()),
        element(0x30, &[part(b"x"), element(0x04, b"x")].concat()),
        element(0x30, &part(b"\x1b[2J\nkubecertd: all is well")),
        element(0x30, &part(&[0xff, 0xfe])),
        element(0x30, &part(b"x").repeat(20_000)),
    ]
}

/// The key information of an RSA key with a modulus of this many bytes.
fn rsa(size: usize) -> Vec<u8> {
    let algorithm = element(
        0x30,
        &[
            element(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]),
            element(5, &[]),
        ]
        .concat(),
    );
    let numbers = element(0x30, &[element(2, &vec![1; size]), element(2, &[3])].concat());
    element(
        0x30,
        &[algorithm, element(3, &[&[0], numbers.as_slice()].concat())].concat(),
    )
}

/// One or two bytes of every pair's certificate changed, before the signature: most still parse.
#[test]
fn certificates_with_flipped_bytes_affect_themselves_only() {
    let mut random = 20_261_124_u64;
    let mut next = |below: usize| {
        // Knuth's multiplier; the upper bits are the better ones.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for _ in 0..25 {
        let node = Node::of(ECDSA);
        for credential in pairs() {
            let text = node.read(&credential.path());
            let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
            let mut bytes = crate::support::der::decode_base64(&base64);
            for _ in 0..=next(2) {
                let at = 4 + next(bytes.len() - 80);
                bytes[at] = [0, 6, 0x30, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x40][next(8)];
            }
            node.rewrite(&credential.path(), der::pem("CERTIFICATE", &bytes).as_bytes());
        }
        renews_by(|node| bounded::run(node, FRESH, &["renew", "all"]), &node, &KUBECONFIGS);
    }
}

/// Text of a file that is part of a reason neither ends a line nor moves the cursor.
#[test]
fn a_file_cannot_forge_a_line_of_output() {
    let node = Node::of(ECDSA);
    let path = "etc/kubernetes/admin.conf";
    let forged = r#"current-context: "x`\nkubecertd: all is well\e[2J""#;
    let text = node
        .read(path)
        .replace("current-context: kubernetes-admin@kubernetes", forged);
    assert!(text.contains(forged));
    node.rewrite(path, text.as_bytes());
    let label = "-----BEGIN \u{1b}[31mX-----\nAAEC\n-----END \u{1b}[31mX-----\n";
    node.rewrite(&format!("{PKI}/apiserver.crt"), label.as_bytes());
    node.rewrite(&format!("{PKI}/etcd/ca.crt"), label.as_bytes());
    for args in [&["check-expiration", "-o", "wide"][..], &["plan"], &["renew", "all"]] {
        let run = bounded::run(&node, FRESH, args);
        let forged = run
            .stdout
            .lines()
            .chain(run.stderr.lines())
            .any(|line| line.starts_with("kubecertd: all"));
        assert!(!forged, "{run}");
    }
}
