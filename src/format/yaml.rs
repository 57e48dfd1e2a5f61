//! YAML: read into values, and the rule that every edit of text is checked against.

use serde::Deserialize as _;
use yaml_serde::Value;

use super::text::printable;

/// Kubeconfigs and manifests are some kilobytes. The parser's time grows with the square of open brackets and its memory with what
/// aliases stand for, so a text that has more of either than any real one is refused before it is parsed.
const LONGEST: usize = 256 << 10;
const MOST_BRACKETS: usize = 4_000;
const MOST_ALIASES: usize = 100;

fn is_bounded(text: &str) -> Result<(), String> {
    if text.len() > LONGEST {
        return Err(format!("is longer than {} KiB", LONGEST >> 10));
    }
    if text.matches(['[', '{']).count() > MOST_BRACKETS {
        return Err("has more brackets than can be meant".into());
    }
    let is_alias = |(at, _): &(usize, &str)| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || "[,{:-".contains(c))
            && text[at + 1..].starts_with(char::is_alphanumeric)
    };
    if text.match_indices('*').filter(is_alias).count() > MOST_ALIASES {
        return Err("has more aliases than can be meant".into());
    }
    Ok(())
}

/// The one document of `text`. Several documents are refused: nothing on a node has them, and an edit could hit the wrong one.
pub fn parse(text: &str) -> Result<Value, String> {
    is_bounded(text)?;
    let mut documents = yaml_serde::Deserializer::from_str(text);
    let first = documents.next().ok_or("is empty")?;
    let value = Value::deserialize(first).map_err(|e| printable(&format!("is not YAML ({e})")))?;
    if documents.next().is_some() {
        return Err("holds several YAML documents".into());
    }
    match value {
        Value::Null => Err("is empty".into()),
        Value::Mapping(_) => Ok(value),
        _ => Err("is not a YAML mapping".into()),
    }
}

/// The entry of the list `list` whose `name` is `name`.
pub(super) fn named<'a>(list: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    list?
        .as_sequence()?
        .iter()
        .find(|entry| entry.get("name").and_then(Value::as_str) == Some(name))
}

/// Accepts `after` only if it parses to exactly `wanted`.
///
/// An edit through an anchor changes a second place and is caught here, as is any slip of the editor.
pub(super) fn check(after: &str, wanted: &Value) -> Result<(), String> {
    match parse(after) {
        Ok(value) if value == *wanted => Ok(()),
        _ => Err("cannot be edited without changing something else in it".into()),
    }
}
