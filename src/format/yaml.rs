//! YAML: read into values, and the rule that every edit of text is checked against.

use serde::Deserialize as _;
use yaml_serde::Value;

/// The one document of `text`. Several documents are refused: nothing on a node has them, and an edit could hit the wrong one.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut documents = yaml_serde::Deserializer::from_str(text);
    let first = documents.next().ok_or("is empty")?;
    let value = Value::deserialize(first).map_err(|e| format!("is not YAML ({e})"))?;
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
