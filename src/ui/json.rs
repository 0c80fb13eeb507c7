//! Tells events as JSON, one a line, each with its version.

use serde::Serialize;
use serde_json::{Value, json};

use super::{plain, speaker};
use crate::event::{Event, Listener};

pub(super) struct Json;

impl Listener for Json {
    fn hear(&self, event: &Event) {
        if let Value::Object(fields) = json!(event) {
            super::data(&finish(fields));
        }
    }
}

/// Returns a value as one line `{"v":1,"event":NAME,NAME:VALUE}`.
pub fn line<T: Serialize>(event: &str, value: &T) -> String {
    let mut fields = serde_json::Map::new();
    fields.insert("event".to_owned(), json!(event));
    fields.insert(event.to_owned(), json!(value));
    finish(fields)
}

/// Returns a value as pretty JSON.
pub fn value<T: Serialize>(value: &T) -> String {
    let text = serde_json::to_string_pretty(value).expect("plain data");
    format!("{}\n", plain::json(&text))
}

fn finish(fields: serde_json::Map<String, Value>) -> String {
    let mut all = serde_json::Map::new();
    all.insert("v".to_owned(), json!(1));
    all.extend(speaker::stack().map(|stack| ("stack".to_owned(), json!(stack))));
    all.extend(fields);
    format!("{}\n", plain::json(&Value::Object(all).to_string()))
}
