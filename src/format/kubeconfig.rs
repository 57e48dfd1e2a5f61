//! Kubeconfigs: the credential of the current context, and its replacement without any other
//! change.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use yaml_serde::Value;
use zeroize::Zeroizing;

use super::text::printable;
use super::yaml;

/// The login of a kubeconfig's current context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubeconfig {
    /// Name of the user.
    pub user: String,
    /// Credential of the user.
    pub credential: Credential,
    /// CAs for the server (`certificate-authority-data` of the current context's cluster), as PEM.
    pub authorities: Option<String>,
    /// Name that the server's certificate must have: `tls-server-name`, or the host of `server`.
    /// `None` if it is not checked (`insecure-skip-tls-verify`, or no TLS).
    pub server: Option<String>,
}

/// Storage of a kubeconfig's credential. Data wins over files, as in client-go (`clientcmd`).
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// In the kubeconfig, as PEM.
    Embedded {
        /// Certificate and chain.
        certificate: String,
        /// Private key, if the file has one.
        key: Option<Zeroizing<String>>,
    },
    /// In files. Relative paths start at the kubeconfig's directory.
    Files {
        /// `client-certificate`.
        certificate: PathBuf,
        /// `client-key`.
        key: PathBuf,
    },
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded { .. } => f.write_str("Embedded"),
            Self::Files { certificate, .. } => write!(f, "Files({})", certificate.display()),
        }
    }
}

const CERTIFICATE: &str = "client-certificate-data";
const KEY: &str = "client-key-data";
const AUTHORITIES: &str = "certificate-authority-data";

/// Reads the current context's user from a kubeconfig.
pub fn parse(text: &str) -> Result<Kubeconfig, String> {
    let config = yaml::parse(text)?;
    let current = text_of(&config, "current-context").ok_or("has no current-context")?;
    let context = yaml::named(config.get("contexts"), current)
        .and_then(|c| c.get("context"))
        .ok_or_else(|| format!("has no context `{}`", printable(current)))?;
    let user = text_of(context, "user").ok_or_else(|| format!("has no user in context `{}`", printable(current)))?;
    let entry = user_entry(&config, user)?;
    let cluster =
        text_of(context, "cluster").and_then(|name| yaml::named(config.get("clusters"), name)?.get("cluster"));
    Ok(Kubeconfig {
        user: user.to_owned(),
        credential: credential(entry, user)?,
        // A fault of the cluster's entry must not stop the renewal of the user's credential.
        server: cluster.and_then(server),
        authorities: cluster.and_then(|cluster| decode(text_of(cluster, AUTHORITIES)?, AUTHORITIES).ok()),
    })
}

/// Returns the certificate and key files that the current context's user refers to. A text with an
/// embedded certificate is not parsed for that, which saves most of the time of a scan.
pub fn files(text: &str) -> Option<(PathBuf, PathBuf)> {
    let mut after = text.split("client-certificate").skip(1);
    // An escape sequence may write the name of a key in another way.
    if !text.contains('\\') && after.all(|rest| rest.starts_with("-data")) {
        return None;
    }
    match parse(text).ok()?.credential {
        Credential::Files { certificate, key } => Some((certificate, key)),
        Credential::Embedded { .. } => None,
    }
}

fn server(cluster: &Value) -> Option<String> {
    let url = text_of(cluster, "server")?;
    let is_skipped = cluster.get("insecure-skip-tls-verify").and_then(Value::as_bool) == Some(true);
    let name = text_of(cluster, "tls-server-name").or_else(|| host_of(url));
    name.filter(|_| !is_skipped && url.starts_with("https://"))
        .map(str::to_owned)
}

/// Returns the host of a URL. An IPv6 address has no brackets.
pub fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => authority.split(':').next()?,
    };
    Some(host).filter(|host| !host.is_empty())
}

/// Returns every user of a kubeconfig with a client certificate, and its name. Of two with the same
/// name the first one counts.
pub fn users(text: &str) -> Result<Vec<(String, Credential)>, String> {
    let config = yaml::parse(text)?;
    let mut found: Vec<(String, Credential)> = Vec::new();
    for entry in config.get("users").and_then(Value::as_sequence).into_iter().flatten() {
        let (Some(name), Some(user)) = (text_of(entry, "name"), entry.get("user")) else {
            continue;
        };
        if found.iter().any(|(known, _)| known == name) {
            continue;
        }
        if let Ok(credential) = credential(user, name) {
            found.push((name.to_owned(), credential));
        }
    }
    Ok(found)
}

fn credential(entry: &Value, user: &str) -> Result<Credential, String> {
    if let Some(data) = text_of(entry, CERTIFICATE) {
        let key = match text_of(entry, KEY) {
            Some(data) => Some(Zeroizing::new(decode(data, KEY)?)),
            None => None,
        };
        return Ok(Credential::Embedded {
            certificate: decode(data, CERTIFICATE)?,
            key,
        });
    }
    match (text_of(entry, "client-certificate"), text_of(entry, "client-key")) {
        (Some(certificate), Some(key)) => Ok(Credential::Files {
            certificate: certificate.into(),
            key: key.into(),
        }),
        _ => Err(format!("has no client certificate for user `{}`", printable(user))),
    }
}

fn user_entry<'a>(config: &'a Value, user: &str) -> Result<&'a Value, String> {
    yaml::named(config.get("users"), user)
        .and_then(|u| u.get("user"))
        .ok_or_else(|| format!("has no user `{}`", printable(user)))
}

fn text_of<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|s| !s.is_empty())
}

fn decode(data: &str, key: &str) -> Result<String, String> {
    let compact: Zeroizing<String> = Zeroizing::new(data.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    let bytes = BASE64
        .decode(compact.as_bytes())
        .map_err(|_| format!("has a {key} that is not base64"))?;
    String::from_utf8(bytes).map_err(|_| format!("has a {key} that is not PEM"))
}

/// Returns `text` with the current user's embedded certificate and key replaced by these PEM texts.
///
/// Only the two base64 values change. The result is parsed again and must differ from the original
/// only in these two values. A value that an anchor shares with another place, or that is folded
/// over several lines, is refused.
pub fn replace_credential(text: &str, certificate: &str, key: &str) -> Result<Zeroizing<String>, String> {
    replace_credential_of(text, &parse(text)?.user, certificate, key)
}

/// Does the same for the user with this name.
pub fn replace_credential_of(
    text: &str,
    user: &str,
    certificate: &str,
    key: &str,
) -> Result<Zeroizing<String>, String> {
    let mut out = Zeroizing::new(text.to_owned());
    for (name, pem) in [(CERTIFICATE, certificate), (KEY, key)] {
        out = replace_value(&out, user, name, &BASE64.encode(pem))?;
    }
    Ok(out)
}

fn replace_value(text: &str, user: &str, name: &str, new: &str) -> Result<Zeroizing<String>, String> {
    let mut wanted = yaml::parse(text)?;
    let old = text_of(user_entry(&wanted, user)?, name)
        .ok_or_else(|| format!("has no {name} for user `{}`", printable(user)))?
        .to_owned();
    let entry = wanted
        .get_mut("users")
        .and_then(Value::as_sequence_mut)
        .and_then(|users| {
            users
                .iter_mut()
                .find(|u| u.get("name").and_then(Value::as_str) == Some(user))
        })
        .and_then(|u| u.get_mut("user"))
        .and_then(|u| u.get_mut(name))
        .ok_or_else(|| format!("has no {name} for user `{}`", printable(user)))?;
    *entry = Value::String(new.to_owned());
    if !text.contains(&old) {
        return Err(format!("has its {name} folded over several lines, which is not edited"));
    }
    // The same value may occur elsewhere (a second user, a comment). The right place is the one
    // whose change parses to the intended result.
    for (at, _) in text.match_indices(&old).take(16) {
        let mut out = Zeroizing::new(String::with_capacity(text.len() + new.len()));
        out.push_str(&text[..at]);
        out.push_str(new);
        out.push_str(&text[at + old.len()..]);
        if yaml::check(&out, &wanted).is_ok() {
            return Ok(out);
        }
    }
    Err(format!(
        "has a {name} that cannot be edited alone (an anchor or alias?)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(user_block: &str) -> String {
        format!(
            "# kept\r\napiVersion: v1\ncurrent-context: b@c\ncontexts:\n\
             - {{name: b@c, context: {{cluster: c, user: b}}}}\n\
             clusters:\n- name: c\n  cluster: {{server: 'https://x:6443'}}\nusers:\n{user_block}"
        )
    }

    #[test]
    fn only_the_current_users_values_change() {
        let old = BASE64.encode("OLD CERT");
        let text = sample(&format!(
            "- name: a # OLD {old}\n  user:\n    client-certificate-data: {old}\n    client-key-data: {old}\n\
             - name: b\n  user: {{client-certificate-data: \"{old}\", client-key-data: '{}'}}",
            BASE64.encode("OLD KEY")
        ));
        let out = replace_credential(&text, "NEW CERT", "NEW KEY").unwrap();
        let expected = {
            let (head, tail) = text.split_at(text.find("- name: b\n").unwrap());
            let tail = tail
                .replace(&old, &BASE64.encode("NEW CERT"))
                .replace(&BASE64.encode("OLD KEY"), &BASE64.encode("NEW KEY"));
            format!("{head}{tail}")
        };
        assert_eq!(out.as_str(), expected);
    }

    #[test]
    fn a_value_shared_through_an_anchor_is_refused() {
        let (c, k) = (BASE64.encode("C"), BASE64.encode("K"));
        let text = sample(&format!(
            "- name: a\n  user: &u\n    client-certificate-data: {c}\n    client-key-data: {k}\n- name: b\n  user: *u\n"
        ));
        assert!(
            replace_credential(&text, "N", "M")
                .unwrap_err()
                .contains("cannot be edited alone")
        );
    }

    #[test]
    fn hosts_of_urls_are_without_port_path_and_brackets() {
        let of = |url| host_of(url);
        assert_eq!(of("https://10.0.0.11:6443"), Some("10.0.0.11"));
        assert_eq!(of("https://[fd00::1]:6443/x"), Some("fd00::1"));
        assert_eq!(of("https://api.example/"), Some("api.example"));
        assert_eq!((of("api.example"), of("https://:6443")), (None, None));
    }

    #[test]
    fn file_references_of_the_current_user_are_found() {
        for name in [
            "client-certificate",
            "'client-certificate'",
            "\"client\\x2dcertificate\"",
        ] {
            let text = sample(&format!("- name: b\n  user: {{{name}: /a.crt, client-key: b.key}}"));
            assert_eq!(files(&text), Some(("/a.crt".into(), "b.key".into())), "{text}");
        }
        let data = "- name: b\n  user: {client-certificate-data: QQ==, client-key-data: QQ==}";
        assert_eq!(files(&sample(data)), None);
        let another = "\n- name: a\n  user: {client-certificate: /a.crt, client-key: b.key}";
        assert_eq!(files(&sample(&format!("{data}{another}"))), None);
    }

    #[test]
    fn a_folded_value_is_refused() {
        let text = sample(
            "- name: b\n  user:\n    client-certificate-data: |\n      QUJD\n      REVG\n    client-key-data: QQ==\n",
        );
        assert!(replace_credential(&text, "N", "M").unwrap_err().contains("folded"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(parse("{}").unwrap_err().contains("current-context"));
        assert!(parse("- a").unwrap_err().contains("mapping"));
        assert!(parse("a: [").unwrap_err().contains("not YAML"));
        assert_eq!(parse(&sample("- name: z\n  user: {}")).unwrap_err(), "has no user `b`");
        assert!(
            parse(&sample("- name: b\n  user: {token: x}"))
                .unwrap_err()
                .contains("no client certificate")
        );
    }
}
