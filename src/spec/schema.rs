//! The JSON schema of `cgw.toml`, made of the same types that read it.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{Choice, Cidr, Declared, Endpoint, File, FilePath, Fingerprint, List, StackTable, Via};
use crate::address::{AllocationId, InstanceId, RouteTableId, Stack, SubnetId, VpcId};
use crate::tunnel::Crypto;

/// What the schema is called where it lies beside the file.
pub const SCHEMA_FILE: &str = "cgw.schema.json";

/// The title by which the schema is known as cgw's own.
pub const SCHEMA_TITLE: &str = "cgw.toml";

/// Returns the schema of `cgw.toml`.
///
/// It is of draft 7, with nothing but itself to look up: that is what editors read (taplo, «Even
/// Better TOML»).
#[must_use]
pub fn schema() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<File>().into()
}

/// Returns the schema of a key of the file, with what it is for.
pub(super) fn key<T: JsonSchema>(generator: &mut SchemaGenerator, about: &str) -> Value {
    let mut schema = generator.subschema_for::<T>();
    schema.insert("description".to_owned(), json!(about.trim()));
    schema.into()
}

impl JsonSchema for File {
    fn schema_name() -> Cow<'static, str> {
        SCHEMA_TITLE.into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Declares the VPNs that cgw makes, one [[stack]] each",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "stack": {
                    "description": "One VPN",
                    "type": "array",
                    "items": generator.subschema_for::<StackTable>(),
                },
            },
        })
    }
}

impl JsonSchema for StackTable {
    fn schema_name() -> Cow<'static, str> {
        "stack".into()
    }

    /// As the reader does: the name apart, and what is declared.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut keys = Declared::keys(generator);
        keys.insert("name".to_owned(), key::<Stack>(generator, "The stack's name"));
        json_schema!({
            "description": "One VPN between a VPC and a Windows Server",
            "type": "object",
            "required": ["name"],
            "additionalProperties": false,
            "properties": keys,
        })
    }
}

macro_rules! texts {
    ($($Type:ty, $pattern:expr;)*) => {$(
        impl JsonSchema for $Type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($Type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    )*};
}

/// A number from 0 to 255.
const BYTE: &str = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";

/// An id of AWS's.
fn id(prefix: &str) -> String {
    format!("^{prefix}-([0-9a-f]{{8}}|[0-9a-f]{{17}})$")
}

texts! {
    Stack, "^[a-z0-9][a-z0-9-]{0,47}$";
    VpcId, id("vpc");
    InstanceId, id("i");
    SubnetId, id("subnet");
    RouteTableId, id("rtb");
    AllocationId, id("eipalloc");
    Cidr, format!("^({BYTE}\\.){{3}}{BYTE}/(3[0-2]|[12]?[0-9])$");
    // Of the last of 43 characters only four bits count.
    Fingerprint, "^SHA256:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]$";
    Endpoint, "^https?://[^/:\\s][^\\s]*$";
    FilePath, "^";
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("List_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<T>::json_schema(generator)
    }
}

impl<T: JsonSchema> JsonSchema for Choice<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Choice_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "description": "All that fit, or none", "enum": ["all", "none"] },
            { "description": "Just these", "type": "array", "items": T::json_schema(generator) },
        ] })
    }
}

macro_rules! words {
    ($($Type:ty),*) => {$(
        impl JsonSchema for $Type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($Type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                one_of::<Self>()
            }
        }
    )*};
}

words!(Via, Crypto);

/// Words to choose from, each with what the help says of it.
fn one_of<T: clap::ValueEnum>() -> Schema {
    let values = T::value_variants().iter().filter_map(clap::ValueEnum::to_possible_value);
    let words: Vec<Value> = values
        .map(|value| {
            let about = value.get_help().map(ToString::to_string);
            json!({ "const": value.get_name(), "description": about })
        })
        .collect();
    json_schema!({ "type": "string", "oneOf": words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_file_is_in_the_schema_and_no_other() {
        let schema = schema();
        let keys = schema.pointer("/properties/stack/items/properties").unwrap();
        let mut keys: Vec<&str> = keys.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        let mut read: Vec<&str> = [&["name"], Declared::FLAGS].concat();
        read.sort_unstable();
        assert_eq!(keys, read);
        // The reader itself names what it takes.
        let told = toml::from_str::<Declared>("nothing = 1").unwrap_err().to_string();
        let named = read.iter().filter(|key| told.contains(&format!("`{key}`")));
        assert_eq!(named.count(), Declared::FLAGS.len(), "{told}");
    }

    #[test]
    fn every_key_says_what_it_is_for_and_what_it_is() {
        for (key, about) in Declared::ABOUT {
            assert!(about.len() > 10 && !about.contains('\n'), "{key}: {about:?}");
        }
        let schema = schema();
        let at = |path: &str| schema.pointer(&format!("/properties/stack/items{path}")).unwrap();
        assert_eq!(at("/properties/port/type"), "integer");
        assert_eq!(at("/properties/minimal-roles/type"), "boolean");
        assert_eq!(at("/properties/workload-ports/items/maximum"), 65_535);
        assert_eq!(at("/properties/via/oneOf").as_array().unwrap().len(), 6);
        assert_eq!(at("/additionalProperties"), false);
        assert!(!schema.to_string().contains("null"), "TOML has no null: {schema:#}");
        assert!(!schema.to_string().contains("$ref"), "{schema:#}");
    }
}
