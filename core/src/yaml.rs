//! YAML as Kubernetes' files are written, to a tree of JSON: what the kubelet reads can be JSON or YAML.
//!
//! The core schema of YAML 1.2, with what configuration files need: mappings with text as keys, sequences
//! and scalars. Aliases are refused, since a few lines of them can stand for gigabytes; nesting and the
//! number of values are bounded; a key that occurs twice is an error.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

/// Deepest nesting.
const MAX_DEPTH: usize = 100;
/// Most values in a text.
const MAX_VALUES: usize = 1_000_000;

/// Why a text is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum YamlError {
    /// No YAML.
    #[error("line {line}: {reason}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// YAML that is not read here.
    #[error("line {line}: {what}")]
    Refused {
        /// The line, from 1.
        line: usize,
        /// What stands there.
        what: &'static str,
    },
}

/// A container that is being read, with the key that waits for its value.
enum Open {
    Sequence(Vec<Value>),
    Mapping(Map<String, Value>, Option<String>),
}

/// The documents of a text; an empty text has none.
///
/// # Errors
/// [`YamlError`]
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    let mut documents = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut values = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlError::Syntax {
            line: error.marker().line(),
            reason: error.info().to_owned(),
        })?;
        let line = span.start.line();
        let refuse = |what| Err(YamlError::Refused { line, what });
        values = values.saturating_add(1);
        if values > MAX_VALUES {
            return refuse("more values than are read");
        }
        let value = match event {
            Event::SequenceStart(..) if open.len() < MAX_DEPTH => {
                open.push(Open::Sequence(Vec::new()));
                continue;
            }
            Event::MappingStart(..) if open.len() < MAX_DEPTH => {
                open.push(Open::Mapping(Map::new(), None));
                continue;
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                return refuse("nested deeper than is read");
            }
            Event::Alias(_) => return refuse("an alias, which is not read here"),
            Event::Scalar(text, style, _, _) => scalar(&text, style),
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::Sequence(values)) => Value::Array(values),
                Some(Open::Mapping(members, _)) => Value::Object(members),
                None => continue,
            },
            _ => continue,
        };
        match open.last_mut() {
            None => documents.push(value),
            Some(Open::Sequence(values)) => values.push(value),
            Some(Open::Mapping(members, key)) => match (key.take(), value) {
                (None, Value::String(text)) => *key = Some(text),
                (None, Value::Array(_) | Value::Object(_)) => {
                    return refuse("a key that is no text");
                }
                (None, scalar) => *key = Some(scalar.to_string()),
                (Some(name), value) => {
                    if members.insert(name, value).is_some() {
                        return refuse("a key that occurs twice");
                    }
                }
            },
        }
    }
    Ok(documents)
}

/// The one document of a text.
///
/// # Errors
/// [`YamlError`], also where there are several; one that is empty is `null`.
pub fn document(text: &str) -> Result<Value, YamlError> {
    let mut documents = documents(text)?;
    match documents.len() {
        0 => Ok(Value::Null),
        1 => Ok(documents.swap_remove(0)),
        _ => Err(YamlError::Refused {
            line: 1,
            what: "several documents in place of one",
        }),
    }
}

/// What a scalar is in the core schema; what stands in quotes is text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    match text.parse::<i64>() {
        Ok(number) => Value::Number(number.into()),
        Err(_) => match text.parse().ok().and_then(Number::from_f64) {
            Some(number) if is_number => Value::Number(number),
            _ => Value::String(text.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;
    use serde_json::json;

    use super::*;

    #[test]
    fn files_of_kubernetes() {
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: etcd, labels: {}}\nspec:\n  hostNetwork: true\n  \
                   containers:\n  - name: etcd\n    image: \"registry.k8s.io/etcd:3.6\"\n    args: [--port, '5', 7, 1.5, x1]\n  \
                   volumes:\n";
        assert_eq!(
            document(pod).unwrap(),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "etcd", "labels": {}},
                "spec": {
                    "hostNetwork": true,
                    "containers": [{
                        "name": "etcd", "image": "registry.k8s.io/etcd:3.6",
                        "args": ["--port", "5", 7, 1.5, "x1"],
                    }],
                    "volumes": null,
                },
            })
        );
        assert_eq!(
            document(r#"{"a": [1, true, null]}"#).unwrap(),
            json!({"a": [1, true, null]})
        );
        assert_eq!(document("").unwrap(), Value::Null);
        assert_eq!(documents("a: 1\n---\nb: 2\n").unwrap().len(), 2);
    }

    #[test]
    fn what_is_hostile_is_refused() {
        for (text, why) in [
            (
                "a: &x [1]\nb: *x".to_owned(),
                "line 2: an alias, which is not read here",
            ),
            ("a: 1\na: 2".to_owned(), "line 2: a key that occurs twice"),
            ("? [a]\n: 1".to_owned(), "line 1: a key that is no text"),
            ("- ".repeat(120) + "a", "line 1: nested deeper than is read"),
            (
                "a: 1\n---\nb: 2".to_owned(),
                "line 1: several documents in place of one",
            ),
        ] {
            assert_eq!(document(&text).unwrap_err().told(), why);
        }
        // The parser has a limit of its own.
        assert!(document(&"[".repeat(500_000)).is_err());
        assert!(matches!(document("a: [1"), Err(YamlError::Syntax { .. })));
        assert!(matches!(
            document("\t- a: b: c"),
            Err(YamlError::Syntax { .. })
        ));
    }
}
