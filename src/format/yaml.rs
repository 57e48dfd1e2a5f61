//! YAML: parses values, and checks every edit of text.

use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess as _, Visitor};
use yaml_serde::Value;

use super::text::printable;

/// Maximum size of a kubeconfig or manifest, in bytes. Real ones have some kilobytes. The parser
/// needs some hundred bytes for every value, and time by the square of the open brackets. So a text
/// that exceeds all real ones is refused before it is parsed or read.
pub const LONGEST: usize = 128 << 10;
const MOST_BRACKETS: usize = 4_000;

/// Maximum number of lines and commas: a value follows each.
const MOST_PARTS: usize = 8_000;

/// Maximum number of values after aliases are followed: 2 KiB of aliases can be 800 MiB of values.
const MOST_VALUES: usize = 64 << 10;

fn is_bounded(text: &str) -> Result<(), String> {
    if text.len() > LONGEST {
        return Err(format!("is longer than {} KiB", LONGEST >> 10));
    }
    let brackets = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if brackets > MOST_BRACKETS {
        return Err("has more brackets than can be meant".into());
    }
    let parts = text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r' | b',')).count();
    if parts > MOST_PARTS {
        return Err("has more lines and commas than can be meant".into());
    }
    Ok(())
}

/// Parses the one document of `text`. Several documents are refused: no file on a node has them,
/// and an edit could hit the wrong one.
pub fn parse(text: &str) -> Result<Value, String> {
    is_bounded(text)?;
    let mut documents = yaml_serde::Deserializer::from_str(text);
    let first = documents.next().ok_or("is empty")?;
    let not_yaml = |e: yaml_serde::Error| printable(&format!("is not YAML ({e})"));
    let value = if text.contains('*') {
        let mut left = MOST_VALUES;
        Count(&mut left).deserialize(first).map_err(not_yaml)?;
        Value::deserialize(yaml_serde::Deserializer::from_str(text)).map_err(not_yaml)?
    } else {
        Value::deserialize(first).map_err(not_yaml)?
    };
    if documents.next().is_some() {
        return Err("holds several YAML documents".into());
    }
    match value {
        Value::Null => Err("is empty".into()),
        Value::Mapping(_) => Ok(value),
        _ => Err("is not a YAML mapping".into()),
    }
}

/// Returns the entry of the list `list` whose `name` is `name`.
pub(super) fn named<'a>(list: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    list?
        .as_sequence()?
        .iter()
        .find(|entry| entry.get("name").and_then(Value::as_str) == Some(name))
}

/// Accepts `after` only if it parses to exactly `wanted`.
///
/// This catches an edit through an anchor, which changes a second place, and any fault of the
/// editor.
pub(super) fn check(after: &str, wanted: &Value) -> Result<(), String> {
    match parse(after) {
        Ok(value) if value == *wanted => Ok(()),
        _ => Err("cannot be edited without changing something else in it".into()),
    }
}

/// Counts the values of a document, with aliases followed, and keeps none. Fails if it has more
/// values than are left.
struct Count<'a>(&'a mut usize);

impl Count<'_> {
    fn one<E: Error>(self) -> Result<(), E> {
        *self.0 = self
            .0
            .checked_sub(1)
            .ok_or_else(|| E::custom("more values than any file of a node"))?;
        Ok(())
    }

    fn again(&mut self) -> Count<'_> {
        Count(self.0)
    }
}

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.one()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.one()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.one()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.one()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.one()
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.one()
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.one()
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        self.again().one()?;
        while list.next_element_seed(self.again())?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.again().one()?;
        while map.next_key_seed(self.again())?.is_some() {
            map.next_value_seed(self.again())?;
        }
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(mut self, tagged: A) -> Result<(), A::Error> {
        self.again().one()?;
        let (_, content) = tagged.variant_seed(self.again())?;
        content.newtype_variant_seed(self)
    }
}
