//! Writes a template as Terraform and OpenTofu read it, formatted as `terraform fmt` does.
//!
//! INVARIANT: what takes several lines stands between empty lines, so that only neighbours of one line
//! are aligned.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::model::{Arguments, Parameter, Resource, Side, Template, Value, map};

/// Writes it.
pub(super) fn write(template: &Template, head: &str) -> String {
    let source =
        map([("source", Value::text("hashicorp/aws")), ("version", Value::text(">= 5.0"))]);
    let required = vec![block("required_providers", map([("aws", Value::Map(source))]))];
    let mut parts = vec![head.to_owned(), top("terraform", &required)];
    let has = |name: &str| template.parameters.iter().any(|one| one.name == name);
    if has("region") {
        parts.push(top("provider \"aws\"", &map([("region", Value::Parameter("region".into()))])));
    }
    if has("site-region") {
        let region = Value::Parameter("site-region".to_owned());
        parts.push(top(
            "provider \"aws\"",
            &map([("alias", Value::text("site")), ("region", region)]),
        ));
    }
    parts.extend(template.parameters.iter().map(variable));
    parts.extend(data(template));
    parts.extend(template.resources.iter().map(|one| resource(template, one)));
    parts.extend(template.outputs.iter().map(|(name, what, value)| {
        let body = map([("description", Value::text(what)), ("value", value.clone())]);
        top(&format!("output \"{}\"", snake(name)), &body)
    }));
    parts.join("\n")
}

fn block(name: &str, body: Arguments) -> (String, Value) {
    (name.to_owned(), Value::Block(body))
}

fn top(name: &str, body: &Arguments) -> String {
    format!("{name} {{\n{}}}\n", self::body(1, body))
}

/// A type, which stands there without quotes.
const STRING: &str = "string";

fn variable(one: &Parameter) -> String {
    let mut body = map([
        ("type", Value::Attribute { resource: String::new(), r#type: STRING, name: "" }),
        ("description", Value::text(one.description)),
    ]);
    body.extend(one.default.iter().map(|text| ("default".to_owned(), Value::text(text))));
    top(&format!("variable \"{}\"", snake(&one.name)), &body)
}

/// What is looked up: the newest image, and what the ARNs of AWS's policies begin with.
fn data(template: &Template) -> Vec<String> {
    let mut all = Vec::new();
    let server = template.resources.iter().find(|one| one.r#type == "aws_instance");
    if let Some(server) = server {
        let mut body = provider(server.side);
        body.extend(map([("name", Value::Parameter("server-image".to_owned()))]));
        all.push(top("data \"aws_ssm_parameter\" \"server_image\"", &body));
    }
    let is_policy = |(_, value): &(String, Value)| matches!(value, Value::Policy(_));
    let holder = template.resources.iter().find(|one| one.arguments.iter().any(is_policy));
    all.extend(holder.map(|one| top("data \"aws_partition\" \"current\"", &provider(one.side))));
    all
}

fn provider(side: Side) -> Arguments {
    match side {
        Side::Cloud => Vec::new(),
        Side::Site => {
            let alias = Value::Attribute { resource: "site".to_owned(), r#type: "aws", name: "" };
            map([("provider", alias)])
        }
    }
}

fn resource(template: &Template, one: &Resource) -> String {
    let mut body = provider(one.side);
    body.extend(one.arguments.iter().cloned());
    let made = |name: &String| template.resources.iter().find(|other| &other.name == name);
    let after: Vec<Value> = one
        .after
        .iter()
        .filter_map(|name| {
            let (resource, r#type) = (name.clone(), made(name)?.r#type);
            Some(Value::Attribute { resource, r#type, name: "" })
        })
        .collect();
    if !after.is_empty() {
        body.push(("depends_on".to_owned(), Value::List(after)));
    }
    top(&format!("resource \"{}\" \"{}\"", one.r#type, snake(&one.name)), &body)
}

/// One argument, as it will stand there.
struct Line {
    name: String,
    /// `=` and the value; of a block only the value.
    value: String,
    is_block: bool,
}

impl Line {
    fn is_long(&self) -> bool {
        self.is_block || self.value.contains('\n')
    }
}

fn body(depth: usize, arguments: &Arguments) -> String {
    let lines: Vec<Line> =
        arguments.iter().flat_map(|(name, value)| lines(depth, name, value)).collect();
    let indent = "  ".repeat(depth);
    let mut out = String::new();
    let groups = lines.chunk_by(|one, next| !one.is_long() && !next.is_long());
    for (n, group) in groups.enumerate() {
        let width = group.iter().map(|line| line.name.chars().count()).max().unwrap_or(0);
        out.push_str(if n > 0 { "\n" } else { "" });
        for Line { name, value, is_block } in group {
            let (width, sign) = if *is_block { (0, "") } else { (width, "= ") };
            writeln!(out, "{indent}{name:width$} {sign}{value}").expect("a String takes all");
        }
    }
    out
}

/// A list of blocks is as many blocks.
fn lines(depth: usize, name: &str, value: &Value) -> Vec<Line> {
    if let Value::Block(inner) = value {
        let value = format!("{{\n{}{}}}", body(depth + 1, inner), "  ".repeat(depth));
        return vec![Line { name: key(name), value, is_block: true }];
    }
    let is_block = |one: &Value| matches!(one, Value::Block(_));
    if let Value::List(all) = value
        && all.iter().any(is_block)
    {
        return all.iter().flat_map(|one| lines(depth, name, one)).collect();
    }
    vec![Line { name: key(name), value: expression(depth, value), is_block: false }]
}

fn expression(depth: usize, value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Number(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Parameter(name) => format!("var.{}", snake(name)),
        Value::Region => "var.region".to_owned(),
        Value::Attribute { resource, r#type, name } => {
            let words = [(*r#type).to_owned(), snake(resource), (*name).to_owned()];
            words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(".")
        }
        Value::Host(address) => format!("\"${{{}}}/32\"", expression(depth, address)),
        Value::Policy(name) => {
            format!("\"arn:${{data.aws_partition.current.partition}}:iam::aws:policy/{name}\"")
        }
        Value::Map(all) | Value::Block(all) => {
            format!("{{\n{}{}}}", body(depth + 1, all), "  ".repeat(depth))
        }
        Value::Json(all) => {
            format!("jsonencode({{\n{}{}}})", body(depth + 1, all), "  ".repeat(depth))
        }
        Value::List(all) => list(depth, all),
    }
}

/// A short list stands on one line.
fn list(depth: usize, all: &[Value]) -> String {
    let each: Vec<String> = all.iter().map(|one| expression(depth + 1, one)).collect();
    let on_one = format!("[{}]", each.join(", "));
    if on_one.len() <= 100 && !on_one.contains('\n') {
        return on_one;
    }
    let (indent, end) = ("  ".repeat(depth + 1), "  ".repeat(depth));
    let each: Vec<String> = each.iter().map(|one| format!("{indent}{one},\n")).collect();
    format!("[\n{}{end}]", each.concat())
}

fn key(name: &str) -> String {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.bytes().all(is_word) { name.to_owned() } else { quoted(name) }
}

/// In HCL `${` and `%{` begin a template.
fn quoted(text: &str) -> String {
    Json::from(text).to_string().replace("${", "$${").replace("%{", "%%{")
}

/// `server-role` → `server_role`.
fn snake(name: &str) -> String {
    name.replace('-', "_")
}
