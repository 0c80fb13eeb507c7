//! The Windows side in a template: a document of Systems Manager, its association, and a new server
//! with its role.

use super::declare::{Declaring, GROUP, ID};
use super::model::{Arguments, Side, Value, map};
use super::{Error, Format};
use crate::playbook::{code, packed};
use crate::preflight::Site;
use crate::resource::{
    ElasticIpAssociation, GatewayInstance, GatewaySecurityGroup, Kind as _, VpnConnection,
    VpnConnectionRoute, WindowsSetup, spec,
};

const RESTART: &str = include_str!("restart.ps1");
const SET_UP: &str = include_str!("set-up.ps1");
const CONFIRM: &str = include_str!("confirm.ps1");

/// What the document's resource is called.
const DOCUMENT: &str = "windows-document";

/// What the document is told, with what a value may look like: it stands in a script.
///
/// What is not told is `none`: an undo needs nothing.
const TOLD: [(&str, &str); 7] = [
    ("connection", "vpn-[0-9a-f]{8,17}"),
    ("region", "[a-z0-9-]{3,30}"),
    ("instance", "i-[0-9a-f]{8,17}"),
    ("privateIp", "[0-9.]{7,15}"),
    ("siteCidr", "[0-9.]{7,15}/[0-9]{1,2}"),
    ("cloudCidr", "[0-9.]{7,15}/[0-9]{1,2}"),
    ("ping", "[0-9.]{7,15}"),
];

/// The scripts that go into one document: Systems Manager takes 64 KB of it (AWS General Reference,
/// «Systems Manager quotas»).
const LARGEST: usize = 48 << 10;

/// How long the run on the server may take: roles are installed.
const SECONDS: &str = "7200";

fn texts<T: std::fmt::Display>(all: impl IntoIterator<Item = T>) -> Value {
    Value::List(all.into_iter().map(Value::text).collect())
}

/// Declares the document, and the association that runs it on the server.
pub(super) fn set_up(
    declaring: &mut Declaring<'_>,
    name: &str,
    r#type: &'static str,
    spec: &spec::WindowsSetup,
) -> Result<(), Error> {
    let packed = packed(&spec.parameters).map_err(Error::Scripts)?;
    if packed.len() > LARGEST {
        return Err(Error::TooLarge { size: packed.len(), largest: LARGEST });
    }
    let side = declaring.server_side();
    declaring.parameter(
        "schedule",
        "String",
        "How often State Manager sets the server up again: it changes only what differs",
        "rate(1 day)",
    );
    let content = document(declaring.s.stack.as_str(), &packed);
    let kind = declaring.pick("AWS::SSM::Document", "aws_ssm_document");
    let arguments = match declaring.format {
        Format::Cloudformation => map([
            ("DocumentType", Value::text("Command")),
            ("UpdateMethod", Value::text("NewVersion")),
            ("Content", Value::Map(content)),
            ("Tags", declaring.tag(DOCUMENT).1),
        ]),
        Format::Terraform => map([
            ("name", Value::Text(format!("cgw-{}", declaring.s.stack))),
            ("document_type", Value::text("Command")),
            ("content", Value::Json(content)),
            ("tags", declaring.tag(DOCUMENT).1),
        ]),
    };
    declaring.push(DOCUMENT, kind, side, arguments);
    associate(declaring, name, r#type, side);
    tell(declaring);
    Ok(())
}

fn associate(declaring: &mut Declaring<'_>, name: &str, r#type: &'static str, side: Side) {
    let document = Value::Attribute {
        resource: DOCUMENT.to_owned(),
        r#type: declaring.pick("AWS::SSM::Document", "aws_ssm_document"),
        name: declaring.pick("", "name"),
    };
    let (server, address) = match declaring.launched() {
        Some(_) => (
            declaring.only::<GatewayInstance>(ID),
            declaring.only::<GatewayInstance>(("PrivateIp", "private_ip")),
        ),
        None => (
            Value::Parameter("server-instance".to_owned()),
            Value::Parameter("server-address".to_owned()),
        ),
    };
    let instance = match &declaring.s.site {
        Site::Instance(_) => server.clone(),
        Site::Own { .. } => Value::text("none"),
    };
    let ping = declaring
        .s
        .declared
        .ping
        .map_or(Value::text("none"), |_| Value::Parameter("ping-host".to_owned()));
    let values = [
        declaring.only::<VpnConnection>(ID),
        Value::Region,
        instance,
        address,
        Value::Parameter("site-network".to_owned()),
        Value::Parameter("cloud-network".to_owned()),
        ping,
    ];
    let told = TOLD.iter().zip(values).map(|((name, _), value)| {
        let value = declaring.pick(Value::List(vec![value.clone()]), value);
        ((*name).to_owned(), value)
    });
    let told = Value::Map(told.collect());
    let key = declaring.arg("Key", "key", Value::text("InstanceIds"));
    let target = vec![key, declaring.arg("Values", "values", Value::List(vec![server]))];
    let schedule = Value::Parameter("schedule".to_owned());
    let arguments = vec![
        declaring.arg("Name", "name", document),
        declaring.arg(
            "AssociationName",
            "association_name",
            Value::Text(format!("cgw-{}", declaring.s.stack)),
        ),
        declaring.arg("ScheduleExpression", "schedule_expression", schedule),
        declaring.arg("Parameters", "parameters", told),
        declaring.arg("Targets", "targets", Value::List(vec![Value::Block(target)])),
    ];
    let before = [ElasticIpAssociation::NAME, VpnConnectionRoute::NAME];
    let made: Vec<String> =
        declaring.template.resources.iter().map(|made| made.name.clone()).collect();
    let before = before.into_iter().filter(|name| made.iter().any(|made| made == name));
    let before: Vec<String> = before.map(str::to_owned).collect();
    declaring.push(name, r#type, side, arguments).after = before;
}

fn tell(declaring: &mut Declaring<'_>) {
    let has = match declaring.launched() {
        Some(_) => "The role that is made for the server allows",
        None => "The server has to be managed by Systems Manager, with a role that allows",
    };
    declaring.tell(format!(
        "{has} AmazonSSMManagedInstanceCore and ec2:DescribeVpnConnections, with which the \
         server reads its keys. AWS grants that for all connections of an account, with their keys, \
         or for none."
    ));
    declaring.tell(
        "The document needs the AWS Tools for PowerShell, which are on AWS's images of Windows. It \
         restarts the server when a step asks for it. Each later run reads the keys anew, and changes \
         only what differs.",
    );
    declaring.tell(
        "The server keeps its settings when all of this is deleted: before that, run the document \
         once with Run Command and the parameter action = undo.",
    );
}

/// The document, version 2.2 of its schema (Systems Manager user guide, «Command document plugin
/// reference»).
fn document(stack: &str, packed: &str) -> Arguments {
    let quoted = |name: &str| format!("${name} = '{{{{ {name} }}}}'");
    let mut lines: Vec<String> =
        ["action"].into_iter().chain(TOLD.map(|(name, _)| name)).map(quoted).collect();
    lines.push(format!("$stack = '{stack}'"));
    let step = |name: &str, script: &str, more: Option<String>| {
        let lines = lines.iter().cloned().chain(more);
        let scripts = [RESTART, script].into_iter().flat_map(code);
        let all = lines.chain(scripts.map(str::to_owned));
        let platform = texts(["platformType", "Windows"]);
        let inputs = map([("timeoutSeconds", Value::text(SECONDS)), ("runCommand", texts(all))]);
        Value::Map(map([
            ("action", Value::text("aws:runPowerShellScript")),
            ("name", Value::text(name)),
            ("precondition", Value::Map(map([("StringEquals", platform)]))),
            ("onFailure", Value::text("exit")),
            ("inputs", Value::Map(inputs)),
        ]))
    };
    let action = map([
        ("type", Value::text("String")),
        ("description", Value::text("Bring the server to what is declared, or take that back")),
        ("default", Value::text("set-up")),
        ("allowedValues", texts(["set-up", "undo"])),
    ]);
    let told = TOLD.map(|(name, pattern)| {
        let one = map([
            ("type", Value::text("String")),
            ("default", Value::text("none")),
            ("allowedPattern", Value::Text(format!("^({pattern}|none)$"))),
        ]);
        (name.to_owned(), Value::Map(one))
    });
    let mut parameters = map([("action", Value::Map(action))]);
    parameters.extend(told);
    map([
        ("schemaVersion", Value::text("2.2")),
        (
            "description",
            Value::text("Makes a Windows Server the customer gateway of a Site-to-Site VPN"),
        ),
        ("parameters", Value::Map(parameters)),
        (
            "mainSteps",
            Value::List(vec![
                step("setUp", SET_UP, Some(format!("$packed = '{packed}'"))),
                step("confirm", CONFIRM, None),
            ]),
        ),
    ])
}

/// Declares the server that is launched, with the role that the document needs.
pub(super) fn instance(
    declaring: &mut Declaring<'_>,
    name: &str,
    r#type: &'static str,
    side: Side,
    spec: &spec::GatewayInstance,
) {
    let is_set_up = declaring.has::<WindowsSetup>();
    if is_set_up {
        role(declaring, side);
    }
    let parameter = |name: &str| Value::Parameter(name.to_owned());
    let group = declaring.only::<GatewaySecurityGroup>(GROUP);
    let image = match declaring.format {
        Format::Cloudformation => parameter("server-image"),
        Format::Terraform => Value::Attribute {
            resource: "server-image".to_owned(),
            r#type: "data.aws_ssm_parameter",
            name: "value",
        },
    };
    let metadata = vec![declaring.arg("HttpTokens", "http_tokens", Value::text("required"))];
    let mut arguments = vec![
        declaring.arg("ImageId", "ami", image),
        declaring.arg("InstanceType", "instance_type", Value::text(&spec.size)),
        declaring.arg("SubnetId", "subnet_id", parameter("server-subnet")),
        declaring.arg("SecurityGroupIds", "vpc_security_group_ids", Value::List(vec![group])),
        declaring.arg("SourceDestCheck", "source_dest_check", Value::Flag(false)),
    ];
    if spec.key_pair.is_some() {
        arguments.push(declaring.arg("KeyName", "key_name", parameter("key-pair")));
    }
    if is_set_up {
        let profile = Value::Attribute {
            resource: "server-profile".to_owned(),
            r#type: "aws_iam_instance_profile",
            name: declaring.pick("", "name"),
        };
        arguments.push(declaring.arg("IamInstanceProfile", "iam_instance_profile", profile));
    }
    if declaring.format == Format::Terraform {
        arguments.push(("metadata_options".to_owned(), Value::Block(metadata)));
    } else {
        arguments.push(("MetadataOptions".to_owned(), Value::Map(metadata)));
    }
    arguments.push(declaring.tag(name));
    declaring.push(name, r#type, side, arguments);
    declaring.tell(
        "The new server is opened to nobody: neither SSH nor WinRM is set up on it, Systems Manager \
         reaches it with its role.",
    );
}

fn role(declaring: &mut Declaring<'_>, side: Side) {
    let statement = |more: Arguments| {
        let mut all = map([("Effect", Value::text("Allow"))]);
        all.extend(more);
        map([
            ("Version", Value::text("2012-10-17")),
            ("Statement", Value::List(vec![Value::Map(all)])),
        ])
    };
    let trust = statement(map([
        ("Principal", Value::Map(map([("Service", Value::text("ec2.amazonaws.com"))]))),
        ("Action", Value::text("sts:AssumeRole")),
    ]));
    let reads = statement(map([
        ("Action", Value::text("ec2:DescribeVpnConnections")),
        ("Resource", Value::text("*")),
    ]));
    let managed = Value::Policy("AmazonSSMManagedInstanceCore");
    let role = |name| Value::Attribute {
        resource: "server-role".to_owned(),
        r#type: "aws_iam_role",
        name,
    };
    match declaring.format {
        Format::Cloudformation => {
            let own = map([
                ("PolicyName", Value::text("vpn-keys")),
                ("PolicyDocument", Value::Map(reads)),
            ]);
            let arguments = map([
                ("AssumeRolePolicyDocument", Value::Map(trust)),
                ("ManagedPolicyArns", Value::List(vec![managed])),
                ("Policies", Value::List(vec![Value::Map(own)])),
            ]);
            declaring.push("server-role", "AWS::IAM::Role", side, arguments);
            let roles = map([("Roles", Value::List(vec![role("")]))]);
            declaring.push("server-profile", "AWS::IAM::InstanceProfile", side, roles);
        }
        Format::Terraform => {
            let arguments = map([("assume_role_policy", Value::Json(trust))]);
            declaring.push("server-role", "aws_iam_role", side, arguments);
            let arguments = map([("role", role("name")), ("policy_arn", managed)]);
            let r#type = "aws_iam_role_policy_attachment";
            declaring.push("server-managed", r#type, side, arguments);
            let arguments = map([("role", role("id")), ("policy", Value::Json(reads))]);
            declaring.push("server-keys", "aws_iam_role_policy", side, arguments);
            let arguments = map([("role", role("name"))]);
            declaring.push("server-profile", "aws_iam_instance_profile", side, arguments);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SET_UP;

    #[test]
    fn the_words_for_a_restart_that_must_come_first_are_those_of_the_run() {
        let words = "a restart must come first";
        let run = include_str!("../../../playbooks/windows-server/run.ps1");
        assert!(run.contains(words) && SET_UP.contains(words));
    }
}
