//! What of a template differs from one roll-out to the next.

use super::Format;
use super::declare::Declaring;
use super::model::Parameter;
use crate::preflight::Site;
use crate::resource::{
    CustomerGateway, ElasticIp, GatewayInstance, Kind as _, VpnGateway, WindowsSetup,
};
use crate::topology::Node;

const VPC: &str = "AWS::EC2::VPC::Id";

impl Declaring<'_> {
    /// Declares what differs from one roll-out to the next.
    pub(super) fn parameters(&mut self, nodes: &[Node]) {
        let (s, subnet) = (self.s, "AWS::EC2::Subnet::Id");
        if self.format == Format::Terraform {
            self.parameter("region", "String", "The region of the VPC", &s.cloud.place.region);
        }
        self.parameter("cloud-vpc", VPC, "The VPC that gets the VPN gateway", &s.cloud.vpc);
        self.parameter("cloud-network", "String", "The VPC's network (Endpoint 2)", s.pair.cloud);
        self.parameter("site-network", "String", "The server's network (Endpoint 1)", s.pair.site);
        for (n, table) in s.cloud.tables.iter().enumerate() {
            let name = format!("cloud-route-table-{}", n + 1);
            self.parameter(&name, "String", "A route table of the VPC, to the site", table);
        }
        if let Some(cidr) = s.cloud.subnet_cidr {
            self.parameter("private-subnet", "String", "The network of the new subnet", cidr);
        }
        match &s.site {
            Site::Instance(server) => {
                if self.is_apart(server) && self.format == Format::Terraform {
                    let what = "The region of the server";
                    self.parameter("site-region", "String", what, &server.place.region);
                }
                self.parameter("site-vpc", VPC, "The VPC that the server is in", &server.vpc);
                for (n, table) in server.tables.iter().enumerate() {
                    let name = format!("site-route-table-{}", n + 1);
                    self.parameter(&name, "String", "A route table of the site, to the VPC", table);
                }
                if server.is_launched {
                    let what = "The public subnet of the new server";
                    self.parameter("server-subnet", subnet, what, &server.subnet);
                    self.parameter(
                        "server-image",
                        "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>",
                        "AWS's public parameter that names the newest image",
                        GatewayInstance::IMAGE,
                    );
                    if let Some(key_pair) = &s.declared.key_pair {
                        let what = "The key pair that opens the administrator's password";
                        self.parameter("key-pair", "AWS::EC2::KeyPair::KeyName", what, key_pair);
                    }
                } else {
                    let (instance, interface) = (&server.instance, &server.interface);
                    let what = "The Windows Server";
                    self.parameter("server-instance", "AWS::EC2::Instance::Id", what, instance);
                    self.parameter("server-interface", "String", "Its interface", interface);
                    let what = "Its private address (local tunnel endpoint)";
                    self.parameter("server-address", "String", what, server.private_ip);
                }
            }
            Site::Own { private_ip, .. } => {
                let what = "The server's private address (local tunnel endpoint)";
                self.parameter("server-address", "String", what, private_ip);
                if nodes.iter().any(|node| node.address.kind == WindowsSetup::NAME) {
                    self.template.parameters.push(Parameter {
                        name: "server-instance".to_owned(),
                        r#type: "String",
                        description: "The server as Systems Manager's hybrid activation names it, mi-0123456789abcdef0",
                        default: None,
                    });
                }
            }
        }
        let kinds = [ElasticIp::NAME, CustomerGateway::NAME, VpnGateway::NAME];
        for (address, id) in self.adopted.clone() {
            if kinds.contains(&address.kind) {
                self.parameter(address.kind, "String", "One that exists, and stays", id);
            }
        }
        if let Some(ip) = s.site.known_public_ip() {
            self.parameter(
                "public-address",
                "String",
                "The server's public address, or its NAT's",
                ip,
            );
        }
        if let Some(ping) = s.declared.ping {
            let what = "A host in the VPC that is pinged to keep a tunnel up";
            self.parameter("ping-host", "String", what, ping);
        }
    }
}
