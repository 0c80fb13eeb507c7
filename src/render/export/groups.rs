//! Security groups in a template, and their rules.

use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

use super::Format;
use super::declare::{Declaring, GROUP};
use super::model::{Parameter, Resource, Side, Value};
use crate::address::Address;
use crate::resource::{GatewaySecurityGroup, GroupSpec, Kind as _, TunnelRules, spec};
use crate::world::{Direction, Rule};

/// CloudFormation's parameters for AWS's ends of the tunnels.
const TUNNELS: [&str; 2] = ["tunnel-1-address", "tunnel-2-address"];

impl Declaring<'_> {
    /// Declares a group and its rules.
    pub(super) fn group(
        &mut self,
        address: &Address,
        r#type: &'static str,
        side: Side,
        spec: &GroupSpec,
    ) {
        let name = address.kind;
        let arguments = vec![
            self.arg("GroupName", "name", Value::text(&spec.name)),
            self.arg("GroupDescription", "description", Value::text(spec.description)),
            self.arg("VpcId", "vpc_id", self.given(&spec.vpc)),
            self.tag(name),
        ];
        self.push(name, r#type, side, arguments);
        let mut rules = spec.rules.clone();
        // A server that is launched has no other group: through this one it reaches AWS.
        if self.launched().is_some() && name == GatewaySecurityGroup::NAME {
            let (direction, cidr) = (Direction::Out, Ipv4Net::default());
            rules.insert(Rule { direction, protocol: "-1".to_owned(), ports: None, cidr });
        }
        let rules = rules.iter().filter(|rule| self.is_declared(rule)).enumerate();
        for (n, rule) in rules.collect::<Vec<_>>() {
            let (name, network) = (format!("{name}-rule-{}", n + 1), self.given(rule.cidr));
            self.rule(&name, side, address, rule, network);
        }
    }

    /// In CloudFormation a group keeps AWS's own rule that lets everything out: it would have to name
    /// the tunnels otherwise.
    fn is_declared(&self, rule: &Rule) -> bool {
        match (self.format, rule.direction) {
            (Format::Cloudformation, Direction::Out) => false,
            (Format::Cloudformation, Direction::In) | (Format::Terraform, _) => true,
        }
    }

    fn rule(
        &mut self,
        name: &str,
        side: Side,
        group: &Address,
        rule: &Rule,
        network: Value,
    ) -> &mut Resource {
        let r#type = match (self.format, rule.direction) {
            (Format::Cloudformation, Direction::In) => "AWS::EC2::SecurityGroupIngress",
            (Format::Cloudformation, Direction::Out) => "AWS::EC2::SecurityGroupEgress",
            (Format::Terraform, Direction::In) => "aws_vpc_security_group_ingress_rule",
            (Format::Terraform, Direction::Out) => "aws_vpc_security_group_egress_rule",
        };
        let mut arguments = vec![
            self.arg("GroupId", "security_group_id", self.of(group, GROUP)),
            self.arg("IpProtocol", "ip_protocol", Value::text(&rule.protocol)),
            self.arg("CidrIp", "cidr_ipv4", network),
        ];
        if let Some((from, to)) = rule.ports.or(self.any_port(&rule.protocol)) {
            arguments.push(self.arg("FromPort", "from_port", Value::Number(from.into())));
            arguments.push(self.arg("ToPort", "to_port", Value::Number(to.into())));
        }
        self.push(name, r#type, side, arguments)
    }

    /// Two numbers that say «any», where there have to be some: Terraform's provider wants them for
    /// every protocol but «all».
    fn any_port(&self, protocol: &str) -> Option<(i32, i32)> {
        let is_needed = match self.format {
            Format::Cloudformation => protocol == "icmp",
            Format::Terraform => protocol != "-1",
        };
        is_needed.then_some((-1, -1))
    }

    /// Declares the rules for both tunnels, whose addresses only Terraform knows by itself.
    pub(super) fn tunnel_rules(&mut self, side: Side, spec: &spec::TunnelRules) {
        if self.format == Format::Cloudformation {
            self.template.parameters.extend(TUNNELS.map(|name| Parameter {
                name: name.to_owned(),
                r#type: "String",
                description: "AWS's end of a tunnel, once it is known; empty before",
                default: Some(String::new()),
            }));
            self.tell(
                "CloudFormation does not tell the addresses of the tunnels. Look them up with aws \
                 ec2 describe-vpn-connections, and update the stack with Tunnel1Address and \
                 Tunnel2Address: until then the gateway's security group lets in from AWS only what \
                 answers the server.",
            );
        }
        for (n, parameter) in TUNNELS.into_iter().enumerate() {
            let attribute = ["tunnel1_address", "tunnel2_address"][n];
            let (address, only_with) = match self.format {
                Format::Cloudformation => {
                    (Value::Parameter(parameter.to_owned()), Some(parameter.to_owned()))
                }
                Format::Terraform => (self.of(&spec.connection.0, ("", attribute)), None),
            };
            let rules = TunnelRules::of(Ipv4Addr::UNSPECIFIED);
            let rules = rules.iter().filter(|rule| self.is_declared(rule)).enumerate();
            for (m, rule) in rules.collect::<Vec<_>>() {
                let name = format!("tunnel-{}-rule-{}", n + 1, m + 1);
                let network = Value::Host(Box::new(address.clone()));
                let made = self.rule(&name, side, &spec.group.0, rule, network);
                made.only_with.clone_from(&only_with);
            }
        }
    }
}
