//! Writes a template as CloudFormation reads it, in YAML.
//!
//! Every text is in double quotes with JSON's escapes, which YAML 1.2 takes as they are.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::model::{Parameter, Resource, Template, Value};

/// Writes it.
pub(super) fn write(template: &Template, head: &str, stack: &str) -> String {
    let mut out = format!("{head}AWSTemplateFormatVersion: \"2010-09-09\"\n");
    let what = format!("cgw: Site-to-Site VPN to a Windows Server, stack {stack}");
    line(&mut out, 0, "Description", &quoted(&what));
    out.push_str("Parameters:\n");
    template.parameters.iter().for_each(|one| parameter(&mut out, one));
    let conditional = template.resources.iter().filter_map(|one| one.only_with.as_ref());
    let mut conditions: Vec<&String> = conditional.collect();
    conditions.dedup();
    if !conditions.is_empty() {
        out.push_str("Conditions:\n");
    }
    for name in conditions {
        let name = pascal(name);
        line(&mut out, 1, &format!("Has{name}"), &format!("!Not [!Equals [!Ref {name}, \"\"]]"));
    }
    out.push_str("Resources:\n");
    template.resources.iter().for_each(|one| resource(&mut out, one));
    out.push_str("Outputs:\n");
    for (name, what, value) in &template.outputs {
        heading(&mut out, 1, &pascal(name));
        line(&mut out, 2, "Description", &quoted(what));
        field(&mut out, 2, "Value", value);
    }
    out
}

fn parameter(out: &mut String, one: &Parameter) {
    heading(out, 1, &pascal(&one.name));
    line(out, 2, "Type", one.r#type);
    line(out, 2, "Description", &quoted(one.description));
    if let Some(default) = &one.default {
        line(out, 2, "Default", &quoted(default));
    }
}

fn resource(out: &mut String, one: &Resource) {
    heading(out, 1, &pascal(&one.name));
    line(out, 2, "Type", one.r#type);
    if let Some(parameter) = &one.only_with {
        line(out, 2, "Condition", &format!("Has{}", pascal(parameter)));
    }
    if !one.after.is_empty() {
        let after = one.after.iter().map(|name| Value::Text(pascal(name))).collect();
        field(out, 2, "DependsOn", &Value::List(after));
    }
    heading(out, 2, "Properties");
    one.arguments.iter().for_each(|(name, value)| field(out, 3, name, value));
}

fn heading(out: &mut String, depth: usize, name: &str) {
    line(out, depth, name, "");
}

fn line(out: &mut String, depth: usize, name: &str, value: &str) {
    let space = if value.is_empty() { "" } else { " " };
    writeln!(out, "{}{name}:{space}{value}", "  ".repeat(depth)).expect("a String takes all");
}

fn field(out: &mut String, depth: usize, name: &str, value: &Value) {
    let key = if name.bytes().all(|b| b.is_ascii_alphanumeric()) { name } else { &quoted(name) };
    if let Value::List(all) = value {
        heading(out, depth, key);
        for one in all {
            item(out, depth + 1, one);
        }
    } else if let Some(all) = value.entries() {
        heading(out, depth, key);
        for (name, value) in all {
            field(out, depth + 1, name, value);
        }
    } else {
        line(out, depth, key, &scalar(value));
    }
}

fn item(out: &mut String, depth: usize, value: &Value) {
    let dash = "  ".repeat(depth) + "- ";
    if let Some(all) = value.entries() {
        let mut inner = String::new();
        for (name, value) in all {
            field(&mut inner, depth + 1, name, value);
        }
        out.push_str(&dash);
        out.push_str(inner.trim_start());
    } else {
        writeln!(out, "{dash}{}", scalar(value)).expect("a String takes all");
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Number(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Parameter(name) => format!("!Ref {}", pascal(name)),
        Value::Region => "!Ref AWS::Region".to_owned(),
        Value::Attribute { resource, name: "", .. } => format!("!Ref {}", pascal(resource)),
        Value::Attribute { resource, name, .. } => format!("!GetAtt {}.{name}", pascal(resource)),
        Value::Host(address) => {
            format!("!Join [\"\", [{}, \"/32\"]]", scalar(address))
        }
        Value::Policy(name) => format!("!Sub \"arn:${{AWS::Partition}}:iam::aws:policy/{name}\""),
        // A list in a list, which no resource here has.
        Value::List(all) => format!("[{}]", all.iter().map(scalar).collect::<Vec<_>>().join(", ")),
        Value::Map(_) | Value::Block(_) | Value::Json(_) => String::new(),
    }
}

fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

/// `server-role` → `ServerRole`.
fn pascal(name: &str) -> String {
    let word = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split('-').map(word).collect()
}
