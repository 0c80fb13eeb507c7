//! Reads what a client asks for, names and values: EC2's form, or Systems Manager's JSON.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::Value;

use super::refusal::Refusal;

/// The parameters of a call; a list's items are `Name.1`, `Name.2`, and their parts `Name.1.Part`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads a form.
    pub(super) fn parse(form: &[u8]) -> Self {
        Self(form_urlencoded::parse(form).into_owned().collect())
    }

    /// Reads a JSON document: a part of an object is `Name.Part`, an item of an array `Name.1`.
    pub(super) fn json(document: &[u8]) -> Self {
        fn take(into: &mut BTreeMap<String, String>, name: &str, value: Value) {
            let within = |part: &str| match name {
                "" => part.to_owned(),
                _ => format!("{name}.{part}"),
            };
            match value {
                Value::Null => {}
                Value::String(text) => drop(into.insert(name.to_owned(), text)),
                Value::Bool(_) | Value::Number(_) => {
                    into.insert(name.to_owned(), value.to_string());
                }
                Value::Array(items) => (1..).zip(items).for_each(|(n, item)| {
                    take(into, &within(&n.to_string()), item);
                }),
                Value::Object(parts) => {
                    parts.into_iter().for_each(|(part, value)| take(into, &within(&part), value));
                }
            }
        }
        let mut values = BTreeMap::new();
        take(&mut values, "", serde_json::from_slice(document).unwrap_or_default());
        Self(values)
    }

    /// Returns a value.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns the parameters whose name is of a kind, and the others.
    pub(super) fn told_apart(&self, is_it: impl Fn(&str) -> bool) -> [Vec<(&str, &str)>; 2] {
        let all = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        <[_; 2]>::from(all.partition(|(name, _)| is_it(name)))
    }

    /// Returns a value that must be there.
    pub(super) fn must(&self, name: &str) -> Result<&str, Refusal> {
        self.text(name).ok_or_else(|| Refusal::missing(name))
    }

    /// Reads a value.
    pub(super) fn read<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let read = |text: &str| text.parse().map_err(|_| Refusal::invalid(name, text));
        self.text(name).map(read).transpose()
    }

    /// Says whether a value is `true`.
    pub(super) fn is(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// Returns the values of a list of plain values.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|n| self.text(&format!("{name}.{n}"))).collect()
    }

    /// Returns the items of a list whose items have parts.
    pub(super) fn items(&self, name: &str) -> Vec<Self> {
        let items = (1..).map(|n| self.part(&format!("{name}.{n}")));
        items.take_while(|item| !item.0.is_empty()).collect()
    }

    /// Returns the parts of a value, by the names that they have within it.
    pub(super) fn part(&self, name: &str) -> Self {
        let prefix = format!("{name}.");
        let parts = self.0.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        Self(parts.map(|(key, value)| (key[prefix.len()..].to_owned(), value.clone())).collect())
    }

    /// Returns the tags that a call gives to what it makes.
    pub(super) fn tags(&self) -> Result<BTreeMap<String, String>, Refusal> {
        let mut tags = BTreeMap::new();
        for one in self.items("TagSpecification") {
            tags.extend(one.pairs("Tag")?);
        }
        Ok(tags)
    }

    /// Returns the names and values of a list of tags, checked (EC2 user guide, «Tag restrictions»).
    pub(super) fn pairs(&self, name: &str) -> Result<Vec<(String, String)>, Refusal> {
        let pair = |tag: Self| {
            let (key, value) = (tag.must("Key")?, tag.text("Value").unwrap_or_default());
            let fits = |text: &str, most: usize| {
                text.chars().count() <= most && !text.chars().any(char::is_control)
            };
            if key.is_empty() || key.starts_with("aws:") || !fits(key, 128) {
                return Err(Refusal::invalid("tag key", key));
            }
            if !fits(value, 256) {
                return Err(Refusal::invalid("tag value", value));
            }
            Ok((key.to_owned(), value.to_owned()))
        };
        self.items(name).into_iter().map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_their_parts_are_found_by_number() {
        let query = Query::parse(
            b"Action=X&Id.1=a&Id.2=b%2F&Id.10=c&Filter.1.Name=n&Filter.1.Value.1=v+w&Filter.2.Name=m",
        );
        assert_eq!(query.list("Id"), ["a", "b/"]);
        let filters = query.items("Filter");
        assert_eq!(filters.len(), 2);
        assert_eq!(filters[0].list("Value"), ["v w"]);
        assert_eq!(query.must("Nothing").unwrap_err().code, "MissingParameter");
    }

    #[test]
    fn a_document_is_read_like_a_form() {
        let json = br#"{"Name":"n","Ids":["a","b"],"Parameters":{"commands":["c"]},"Seconds":30}"#;
        let form = b"Name=n&Ids.1=a&Ids.2=b&Parameters.commands.1=c&Seconds=30";
        assert_eq!(Query::json(json), Query::parse(form));
        assert_eq!(Query::json(b"{"), Query::default());
    }

    #[test]
    fn a_tag_that_aws_does_not_take_is_refused() {
        for (key, value) in [("aws:x", "v"), ("k", "a%1bb"), ("", "v")] {
            let form = format!("Tag.1.Key={key}&Tag.1.Value={value}");
            assert!(Query::parse(form.as_bytes()).pairs("Tag").is_err(), "{form}");
        }
        let long = format!("Tag.1.Key=k&Tag.1.Value={}", "v".repeat(257));
        assert!(Query::parse(long.as_bytes()).pairs("Tag").is_err());
    }
}
