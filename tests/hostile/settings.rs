//! `Settings::check` on any `File`, also on those that no text makes: values whose
//! places lie outside of the text.

use kubecertd::config::file::{
    Backup, Ca, Certificate, Coordination, Etcd, File, Hooks, Kubeconfig, KubeconfigCopy, Metrics, Paths, Reader,
    Restart, Source, Text, Texts, Window,
};
use kubecertd::config::{self, Settings};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use toml::Spanned;

use crate::damage;
use crate::oracle::assert_speakable;

/// Values that are right for some key, almost right, or right for none.
const VALUES: [&str; 58] = [
    "",
    "auto",
    "needed",
    "all",
    "never",
    "required",
    "files",
    "off",
    "UTC",
    "Europe/Berlin",
    "Mars/Olympus",
    "0 17 3 * * *",
    "17 3 * * *",
    "* * * * *",
    "0 0 0 30 2 *",
    "0 0 0 29 2 *",
    "0 0 0 31 2,4,6 7#5",
    "0 0 0 L * *",
    "0 0 0 LW 2 *",
    "*/0 * * * * *",
    "0-59/99999999999 * * * * *",
    "@yearly",
    "@reboot",
    "99 99 99 99 99 99",
    "-1 * * * * *",
    "30d",
    "7d",
    "365d",
    "15m",
    "0s",
    "59s",
    "1m",
    "101years",
    "18446744073709551615s",
    "18446744073709551616s",
    "99999999999999999999y",
    "1.5d",
    "-1d",
    "1d1d1d",
    "/",
    "//",
    "/etc/kubernetes",
    "/etc/kubernetes/pki/backups",
    "/a/../b",
    "relative",
    "/etc/*/*.crt",
    "/etc/*.crt",
    "*",
    "ca",
    "own",
    "/nul\0",
    "off",
    "zstd",
    "auto",
    "age",
    "https://10.0.0.11:2379",
    "https://:99999",
    "/\u{1b}[2J\n",
];

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(&VALUES).prop_map(str::to_owned),
        1 => "\\PC{0,12}",
        1 => "[-0-9*/,#LW? ]{5,20}",
    ]
}

fn spanned<T>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Spanned<T>>
where
    T: std::fmt::Debug,
{
    (of, 0..60usize, 0..60usize).prop_map(|(value, start, length)| Spanned::new(start..start + length, value))
}

fn text() -> impl Strategy<Value = Text> {
    option::of(spanned(value()))
}

fn texts() -> impl Strategy<Value = Texts> {
    option::of(spanned(vec(spanned(value()), 0..3)))
}

fn readers() -> impl Strategy<Value = Vec<Spanned<String>>> {
    vec(spanned(value()), 0..3)
}

fn ca() -> impl Strategy<Value = Ca> {
    [text(), text(), text()].prop_map(|[name, path, key]| Ca { name, path, key })
}

fn certificate() -> impl Strategy<Value = Certificate> {
    ([text(), text(), text(), text()], readers()).prop_map(|([name, path, key, ca], readers)| Certificate {
        name,
        path,
        key,
        ca,
        readers,
    })
}

fn kubeconfig() -> impl Strategy<Value = Kubeconfig> {
    ([text(), text(), text()], readers()).prop_map(|([name, path, ca], readers)| Kubeconfig {
        name,
        path,
        ca,
        readers,
    })
}

fn reader() -> impl Strategy<Value = Reader> {
    let reload = option::of(spanned(any::<bool>()));
    ([text(), text(), text()], reload, readers()).prop_map(|([name, unit, probe], reload, exec)| Reader {
        name,
        unit,
        reload,
        exec,
        probe,
    })
}

fn window() -> impl Strategy<Value = Window> {
    ([text(), text(), text()], readers()).prop_map(|([start, length, timezone], days)| Window {
        days,
        start,
        length,
        timezone,
    })
}

fn paths() -> impl Strategy<Value = Paths> {
    [text(), text(), text(), text(), text()].prop_map(|[kubernetes, pki, manifests, etcd_data, kubelet]| Paths {
        kubernetes,
        pki,
        manifests,
        etcd_data,
        kubelet,
    })
}

fn backup() -> impl Strategy<Value = Backup> {
    let number = option::of(spanned(prop_oneof![any::<i64>(), 0..20i64]));
    let texts_of_it = [text(), text(), text(), text(), text(), text()];
    (number, texts_of_it, [texts(), texts()]).prop_map(|(keep, of_it, [encrypt_with, decrypt_with])| {
        let [directory, keep_within, max_size, before_renewal, schedule, compress] = of_it;
        Backup {
            directory,
            keep,
            keep_within,
            max_size,
            before_renewal,
            schedule,
            compress,
            encrypt_with,
            decrypt_with,
        }
    })
}

fn etcd() -> impl Strategy<Value = Etcd> {
    ([text(), text(), text()], texts()).prop_map(|([ca, certificate, key], endpoints)| Etcd {
        endpoints,
        ca,
        certificate,
        key,
    })
}

fn restart() -> impl Strategy<Value = Restart> {
    [text(), text(), text(), text()].prop_map(|[scope, method, grace, timeout]| Restart {
        scope,
        method,
        grace,
        timeout,
    })
}

fn kubeconfig_copy() -> impl Strategy<Value = KubeconfigCopy> {
    [text(), text()].prop_map(|[path, of]| KubeconfigCopy { path, of })
}

fn metrics() -> impl Strategy<Value = Metrics> {
    text().prop_map(|textfile_directory| Metrics { textfile_directory })
}

fn hooks() -> impl Strategy<Value = Hooks> {
    ([texts(), texts(), texts()], text()).prop_map(|([on_expiring, on_renewed, on_failed], timeout)| Hooks {
        on_expiring,
        on_renewed,
        on_failed,
        timeout,
    })
}

fn coordination() -> impl Strategy<Value = Coordination> {
    [text(), text(), text()].prop_map(|[mode, lease, wait]| Coordination { mode, lease, wait })
}

fn file() -> impl Strategy<Value = File> {
    let top = [text(), text(), text(), text(), text(), text(), text(), text()];
    // Boxed: all of them as one type need more stack than a test has.
    let tables = (paths(), backup(), etcd(), restart(), coordination(), metrics(), hooks()).boxed();
    let lists = (
        vec(ca(), 0..3),
        vec(certificate(), 0..3),
        vec(kubeconfig(), 0..3),
        vec(kubeconfig_copy(), 0..3),
        vec(reader(), 0..3),
        vec(window(), 0..3),
    )
        .boxed();
    (top, tables, lists).prop_map(
        |(
            top,
            (paths, backup, etcd, restart, coordination, metrics, hooks),
            (ca, certificate, kubeconfig, kubeconfig_copy, reader, window),
        )| {
            let [
                schedule,
                timezone,
                spread,
                first_look,
                renew_before,
                urgent_before,
                validity,
                clock_wait,
            ] = top;
            File {
                schedule,
                timezone,
                spread,
                first_look,
                renew_before,
                urgent_before,
                validity,
                clock_wait,
                paths,
                backup,
                etcd,
                restart,
                metrics,
                hooks,
                coordination,
                ca,
                certificate,
                kubeconfig,
                kubeconfig_copy,
                reader,
                window,
            }
        },
    )
}

fn source() -> impl Strategy<Value = Source> {
    (file(), "[a-zä\n]{0,30}").prop_map(|(file, text)| Source {
        path: "config.toml".into(),
        text,
        file,
    })
}

proptest! {
    #![proptest_config(damage::config())]

    #[test]
    fn any_configuration_is_checked_and_each_problem_is_one_line(sources in vec(source(), 0..3)) {
        let mut problems = Vec::new();
        let settings = Settings::check(&sources, &mut problems);
        for problem in &problems {
            assert_speakable(&problem.to_string());
        }
        if problems.is_empty() {
            let shown = config::show(&settings);
            Source::parse("shown.toml".into(), shown.clone(), &mut problems);
            prop_assert!(problems.is_empty(), "{problems:?}\n{shown}");
        }
    }
}
