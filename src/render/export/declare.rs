//! Declares in a template what is desired, node by node.

use std::collections::BTreeMap;

use super::kinds::{How, how};
use super::model::{Arguments, Parameter, Resource, Side, Template, Value};
use super::{Error, Format, windows};
use crate::address::{Address, AwsId};
use crate::preflight::{Ec2Server, Site, Situation};
use crate::resource::{
    ElasticIp, GatewayInstance, GatewaySecurityGroup, Kind, PublicAddress, Spec, Table, Target,
    VpnConnection, spec,
};
use crate::topology::{self, Node};

/// What an attribute is called in CloudFormation and in Terraform.
pub(super) type Names = (&'static str, &'static str);

pub(super) const ID: Names = ("", "id");
pub(super) const GROUP: Names = ("GroupId", "id");

const KEYS: &str = "Pre-shared keys are not in it: AWS makes them with the connection.";
const KEYS_IN_STATE: &str = "Pre-shared keys are not in it: AWS makes them with the connection. They are in Terraform's \
     state in clear text, so keep that where only those read it who may know them.";

/// A template in the making.
pub(super) struct Declaring<'a> {
    pub(super) s: &'a Situation,
    pub(super) format: Format,
    pub(super) template: Template,
    /// What the resource of each node is called.
    names: BTreeMap<Address, String>,
    /// The parameters by what they are here.
    given: BTreeMap<String, String>,
    pub(super) adopted: BTreeMap<Address, AwsId>,
}

/// Declares all that is desired.
pub(super) fn declare(s: &Situation, format: Format) -> Result<Template, Error> {
    let nodes = topology::desired(s);
    let adopted = nodes.iter().filter_map(|n| Some((n.address.clone(), n.adopt.as_ref()?)));
    let mut declaring = Declaring {
        s,
        format,
        template: Template::default(),
        names: names(&nodes),
        given: BTreeMap::new(),
        adopted: adopted.map(|(address, id)| (address, id.owner().clone())).collect(),
    };
    declaring.parameters(&nodes);
    declaring.tell(declaring.pick(KEYS, KEYS_IN_STATE));
    for node in nodes.iter().filter(|node| node.adopt.is_none()) {
        declaring.node(node)?;
    }
    declaring.outputs();
    declaring.template.forget_unused();
    Ok(declaring.template)
}

/// A resource is called as its kind; of several each has a number.
fn names(nodes: &[Node]) -> BTreeMap<Address, String> {
    let of = |kind| nodes.iter().filter(move |n| n.address.kind == kind);
    let number = |node: &Node| of(node.address.kind).position(|n| n.address == node.address);
    let name = |node: &Node| match (of(node.address.kind).count(), number(node)) {
        (1, _) | (_, None) => node.address.kind.to_owned(),
        (_, Some(n)) => format!("{}-{}", node.address.kind, n + 1),
    };
    nodes.iter().map(|node| (node.address.clone(), name(node))).collect()
}

impl Declaring<'_> {
    pub(super) fn parameter(
        &mut self,
        name: &str,
        r#type: &'static str,
        description: &'static str,
        default: impl std::fmt::Display,
    ) {
        let default = default.to_string();
        self.given.entry(default.clone()).or_insert_with(|| name.to_owned());
        let (name, default) = (name.to_owned(), Some(default));
        self.template.parameters.push(Parameter { name, r#type, description, default });
    }

    /// Returns the parameter that is this here, else the thing itself.
    pub(super) fn given(&self, what: impl std::fmt::Display) -> Value {
        let what = what.to_string();
        self.given.get(&what).map_or(Value::Text(what), |name| Value::Parameter(name.clone()))
    }

    /// Returns an attribute of a node's resource; of one that is adopted, what it is.
    pub(super) fn of(&self, address: &Address, (cloudformation, terraform): Names) -> Value {
        if let Some(id) = self.adopted.get(address) {
            return self.given(id);
        }
        let resource = self.names.get(address).cloned().unwrap_or_default();
        let r#type = self.r#type(address.kind);
        let name = self.pick(cloudformation, terraform);
        Value::Attribute { resource, r#type, name }
    }

    pub(super) fn only<K: Kind>(&self, names: Names) -> Value {
        self.of(&Address::new(&self.s.stack, K::NAME, ""), names)
    }

    fn r#type(&self, kind: &str) -> &'static str {
        match how(kind, self.format) {
            Some(How::Made(r#type)) => r#type,
            Some(How::Told(_)) | None => "",
        }
    }

    pub(super) fn pick<T>(&self, cloudformation: T, terraform: T) -> T {
        match self.format {
            Format::Cloudformation => cloudformation,
            Format::Terraform => terraform,
        }
    }

    /// Names an argument.
    pub(super) fn arg(
        &self,
        cloudformation: &str,
        terraform: &str,
        value: Value,
    ) -> (String, Value) {
        (self.pick(cloudformation, terraform).to_owned(), value)
    }

    /// The name by which people find it.
    pub(super) fn tag(&self, name: &str) -> (String, Value) {
        let text = Value::Text(format!("cgw-{}-{name}", self.s.stack));
        match self.format {
            Format::Cloudformation => {
                let pair = [("Key", Value::text("Name")), ("Value", text)];
                let pair = pair.map(|(key, value)| (key.to_owned(), value)).to_vec();
                ("Tags".to_owned(), Value::List(vec![Value::Map(pair)]))
            }
            Format::Terraform => ("tags".to_owned(), Value::Map(vec![("Name".to_owned(), text)])),
        }
    }

    pub(super) fn tell(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.template.said.contains(&text) {
            self.template.said.push(text);
        }
    }

    /// Says why a node is not declared.
    fn left_out(&mut self, kind: &str) {
        if let Some(How::Told(why)) = how(kind, self.format) {
            self.tell(why);
        }
    }

    /// Says whether a node of a kind is desired.
    pub(super) fn has<K: Kind>(&self) -> bool {
        self.names.keys().any(|address| address.kind == K::NAME)
    }

    pub(super) fn is_apart(&self, server: &Ec2Server) -> bool {
        server.place != self.s.cloud.place
    }

    pub(super) fn server_side(&self) -> Side {
        match &self.s.site {
            Site::Instance(server) if self.is_apart(server) => Side::Site,
            Site::Instance(_) | Site::Own { .. } => Side::Cloud,
        }
    }

    pub(super) fn push(
        &mut self,
        name: &str,
        r#type: &'static str,
        side: Side,
        arguments: Arguments,
    ) -> &mut Resource {
        let (name, after) = (name.to_owned(), Vec::new());
        let resource = Resource { name, r#type, side, arguments, after, only_with: None };
        self.template.resources.push(resource);
        self.template.resources.last_mut().expect("it was pushed just now")
    }

    pub(super) fn launched(&self) -> Option<&Ec2Server> {
        match &self.s.site {
            Site::Instance(server) => Some(server.as_ref()).filter(|server| server.is_launched),
            Site::Own { .. } => None,
        }
    }

    /// The argument that names the server's interface.
    fn interface(&self, id: &AwsId) -> (String, Value) {
        if self.launched().is_none() {
            return self.arg("NetworkInterfaceId", "network_interface_id", self.given(id));
        }
        let names = ("", "primary_network_interface_id");
        self.arg("InstanceId", "network_interface_id", self.only::<GatewayInstance>(names))
    }

    #[expect(clippy::too_many_lines, reason = "one arm a kind")]
    fn node(&mut self, node: &Node) -> Result<(), Error> {
        let kind = node.address.kind;
        let (name, r#type) = (self.names[&node.address].clone(), self.r#type(kind));
        let side = if node.place == self.s.cloud.place { Side::Cloud } else { Side::Site };
        let text = |text: &str| Value::text(text);
        let arguments = match &node.spec {
            Spec::StackRecord(_) | Spec::ProbeInstance(_) => {
                self.left_out(kind);
                return Ok(());
            }
            Spec::SourceDestCheck(_) => {
                if self.launched().is_none() {
                    self.left_out(kind);
                }
                return Ok(());
            }
            Spec::SecurityGroupMembership(spec) => {
                if self.launched().is_some() {
                    return Ok(());
                }
                if self.format == Format::Cloudformation {
                    self.left_out(kind);
                    return Ok(());
                }
                let group = self.of(&spec.group.0, GROUP);
                vec![self.arg("", "security_group_id", group), self.interface(&spec.interface)]
            }
            Spec::GatewayInstance(spec) => {
                windows::instance(self, &name, r#type, side, spec);
                return Ok(());
            }
            Spec::ElasticIp(_) => {
                vec![self.arg("Domain", "domain", text("vpc")), self.tag(kind)]
            }
            Spec::ElasticIpAssociation(spec) => {
                let address = self.of(&spec.address.0, ("AllocationId", "allocation_id"));
                let address = self.arg("AllocationId", "allocation_id", address);
                vec![address, self.interface(&spec.interface)]
            }
            Spec::GatewaySecurityGroup(spec) | Spec::WorkloadSecurityGroup(spec) => {
                self.group(&node.address, r#type, side, spec);
                return Ok(());
            }
            Spec::CustomerGateway(spec) => {
                let address = match &spec.address {
                    PublicAddress::Elastic(address) => match self.adopted.get(&address.0) {
                        Some(_) => self.s.site.known_public_ip().map(|ip| self.given(ip)),
                        None => Some(self.of(&address.0, ("PublicIp", "public_ip"))),
                    },
                    PublicAddress::Given(ip) => Some(self.given(ip)),
                };
                let number = Value::Number(spec.asn.into());
                let mut all = vec![self.arg("Type", "type", text("ipsec.1"))];
                all.extend(address.map(|value| self.arg("IpAddress", "ip_address", value)));
                all.extend([self.arg("BgpAsn", "bgp_asn", number), self.tag(kind)]);
                all
            }
            Spec::VpnGateway(_) => match self.format {
                Format::Cloudformation => {
                    vec![("Type".to_owned(), text("ipsec.1")), self.tag(kind)]
                }
                Format::Terraform => vec![self.tag(kind)],
            },
            Spec::VpnGatewayAttachment(spec) => vec![
                self.arg("VpcId", "vpc_id", self.given(&spec.vpc)),
                self.arg("VpnGatewayId", "vpn_gateway_id", self.of(&spec.gateway.0, ID)),
            ],
            Spec::VpnConnection(spec) => self.connection(kind, spec),
            Spec::VpnConnectionRoute(spec) => {
                let connection = self.of(&spec.connection.0, ID);
                vec![
                    self.arg("VpnConnectionId", "vpn_connection_id", connection),
                    self.arg(
                        "DestinationCidrBlock",
                        "destination_cidr_block",
                        self.given(spec.cidr),
                    ),
                ]
            }
            Spec::TunnelRules(spec) => {
                self.tunnel_rules(side, spec);
                return Ok(());
            }
            Spec::Subnet(spec) => vec![
                self.arg("VpcId", "vpc_id", self.given(&spec.vpc)),
                self.arg("CidrBlock", "cidr_block", self.given(spec.cidr)),
                self.tag(kind),
            ],
            Spec::RouteTable(spec) => {
                vec![self.arg("VpcId", "vpc_id", self.given(&spec.vpc)), self.tag(kind)]
            }
            Spec::RouteTableAssociation(spec) => vec![
                self.arg("RouteTableId", "route_table_id", self.of(&spec.table.0, ID)),
                self.arg("SubnetId", "subnet_id", self.of(&spec.subnet.0, ID)),
            ],
            Spec::Route(spec) => {
                self.route(&name, r#type, side, spec);
                return Ok(());
            }
            Spec::RoutePropagation(spec) => {
                let table = self.table(&spec.table);
                let table = match self.format {
                    Format::Cloudformation => {
                        ("RouteTableIds".to_owned(), Value::List(vec![table]))
                    }
                    Format::Terraform => ("route_table_id".to_owned(), table),
                };
                let gateway = self.of(&spec.gateway.0, ID);
                let gateway = self.arg("VpnGatewayId", "vpn_gateway_id", gateway);
                let after = self.attachment(&spec.attachment.0);
                self.push(&name, r#type, side, vec![table, gateway]).after.extend(after);
                return Ok(());
            }
            Spec::WindowsSetup(spec) => return windows::set_up(self, &name, r#type, spec),
        };
        self.push(&name, r#type, side, arguments);
        Ok(())
    }

    fn table(&self, table: &Table) -> Value {
        match table {
            Table::Given(id) => self.given(id),
            Table::Made(table) => self.of(&table.0, ID),
        }
    }

    /// The attachment that is waited for, unless the gateway is attached already.
    fn attachment(&self, address: &Address) -> Option<String> {
        (!self.adopted.contains_key(address)).then(|| self.names.get(address).cloned()).flatten()
    }

    fn route(&mut self, name: &str, r#type: &'static str, side: Side, spec: &spec::Route) {
        let (target, after) = match &spec.target {
            Target::Gateway(gateway, attachment) => {
                let gateway = self.of(&gateway.0, ID);
                (self.arg("GatewayId", "gateway_id", gateway), self.attachment(&attachment.0))
            }
            Target::Interface(id) => (self.interface(id), None),
        };
        let arguments = vec![
            self.arg("RouteTableId", "route_table_id", self.table(&spec.table)),
            self.arg("DestinationCidrBlock", "destination_cidr_block", self.given(spec.cidr)),
            target,
        ];
        self.push(name, r#type, side, arguments).after.extend(after);
    }

    fn outputs(&mut self) {
        let connection = self.only::<VpnConnection>(ID);
        let mut all = vec![("vpn-connection", "The VPN connection", connection)];
        if self.format == Format::Terraform {
            let of = |name| self.only::<VpnConnection>(("", name));
            all.push(("tunnel-1-address", "AWS's end of a tunnel", of("tunnel1_address")));
            all.push(("tunnel-2-address", "AWS's end of a tunnel", of("tunnel2_address")));
        }
        if self.has::<GatewaySecurityGroup>() {
            let group = self.only::<GatewaySecurityGroup>(GROUP);
            all.push((
                "gateway-security-group",
                "The group that the server's interface needs",
                group,
            ));
        }
        let address = Address::new(&self.s.stack, ElasticIp::NAME, "");
        if self.names.contains_key(&address) && !self.adopted.contains_key(&address) {
            let ip = self.of(&address, ("PublicIp", "public_ip"));
            all.push(("public-address", "The server's public address", ip));
        }
        let all =
            all.into_iter().map(|(name, what, value)| (name.to_owned(), what.to_owned(), value));
        self.template.outputs.extend(all);
    }
}
