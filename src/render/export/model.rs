//! What a template holds, in the names of its format but without its syntax.

use std::collections::BTreeSet;

/// Which tool rolls the template out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// AWS CloudFormation, in YAML; also for StackSets.
    Cloudformation,
    /// Terraform or OpenTofu, with the provider hashicorp/aws 5 or later.
    Terraform,
}

/// A template.
#[derive(Debug, Default)]
pub(super) struct Template {
    /// Sentences for whoever rolls it out: what the template cannot say, and what is to be done.
    pub(super) said: Vec<String>,
    /// What differs from one roll-out to the next.
    pub(super) parameters: Vec<Parameter>,
    /// What it makes.
    pub(super) resources: Vec<Resource>,
    /// What it tells afterwards.
    pub(super) outputs: Vec<(String, String, Value)>,
}

impl Template {
    /// Takes the parameters away that nothing depends on, but for those of the providers and of what
    /// is looked up.
    pub(super) fn forget_unused(&mut self) {
        let mut used = BTreeSet::from(["region", "site-region", "server-image"].map(str::to_owned));
        for resource in &self.resources {
            used.extend(resource.only_with.clone());
            resource.arguments.iter().for_each(|(_, value)| value.name_parameters(&mut used));
        }
        self.outputs.iter().for_each(|(.., value)| value.name_parameters(&mut used));
        self.parameters.retain(|one| used.contains(&one.name));
    }
}

/// Something that differs from one roll-out to the next.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    /// CloudFormation's type.
    pub(super) r#type: &'static str,
    pub(super) description: &'static str,
    /// What it is where it was exported; `None`: not known.
    pub(super) default: Option<String>,
}

/// Which of the two providers makes a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Cloud,
    /// Another region or account than the VPC's.
    Site,
}

/// Something that is made.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) name: String,
    pub(super) r#type: &'static str,
    pub(super) side: Side,
    pub(super) arguments: Arguments,
    /// The resources that come before it, though none of its arguments says so.
    pub(super) after: Vec<String>,
    /// The parameter without which it is not made.
    pub(super) only_with: Option<String>,
}

/// Arguments in the order in which they are written.
pub(super) type Arguments = Vec<(String, Value)>;

/// Names values.
pub(super) fn map<const N: usize>(pairs: [(&str, Value); N]) -> Arguments {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The value of an argument.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    List(Vec<Value>),
    Map(Arguments),
    /// What Terraform writes as a block.
    Block(Arguments),
    /// What Terraform gives as a text of JSON.
    Json(Arguments),
    Parameter(String),
    /// An attribute of a resource; CloudFormation's `Ref` where it has no name.
    Attribute {
        resource: String,
        r#type: &'static str,
        name: &'static str,
    },
    /// The network of one address.
    Host(Box<Value>),
    /// A managed policy of AWS, by its name.
    Policy(&'static str),
    /// The region of the VPC's side.
    Region,
}

impl Value {
    pub(super) fn text(text: impl std::fmt::Display) -> Self {
        Self::Text(text.to_string())
    }

    /// Returns what it holds by name, if it does.
    pub(super) fn entries(&self) -> Option<&Arguments> {
        match self {
            Self::Map(all) | Self::Block(all) | Self::Json(all) => Some(all),
            Self::Text(_)
            | Self::Number(_)
            | Self::Flag(_)
            | Self::List(_)
            | Self::Parameter(_)
            | Self::Attribute { .. }
            | Self::Host(_)
            | Self::Policy(_)
            | Self::Region => None,
        }
    }

    fn name_parameters(&self, used: &mut BTreeSet<String>) {
        match self {
            Self::Parameter(name) => drop(used.insert(name.clone())),
            Self::List(all) => all.iter().for_each(|value| value.name_parameters(used)),
            Self::Map(all) | Self::Block(all) | Self::Json(all) => {
                for (_, value) in all {
                    value.name_parameters(used);
                }
            }
            Self::Host(value) => value.name_parameters(used),
            Self::Text(_)
            | Self::Number(_)
            | Self::Flag(_)
            | Self::Attribute { .. }
            | Self::Policy(_)
            | Self::Region => {}
        }
    }
}
