//! Turns what the SDK answers into plain data.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use aws_sdk_ec2::types as sdk;
use ipnet::Ipv4Net;
use jiff::Timestamp;

use super::{
    Connection, Customer, Direction, ElasticAddress, Gateway, Group, GroupRule, Instance,
    Interface, Region, Route, RouteTable, Rule, Subnet, Telemetry, Vpc,
};
use crate::address::AwsId;
use crate::aws::{Batch, Tags};
use crate::secret::Secret;
use crate::tunnel::{Suites, Tunnel, known_key};

impl Region {
    /// Puts what a source answered in the place of what it answered before.
    ///
    /// Objects that lack what every such object has (an id, a VPC) are left out; so is what is
    /// deleted: AWS goes on listing it for a while.
    pub fn absorb(&mut self, batch: Batch) {
        match batch {
            Batch::Vpcs(all) => self.vpcs = all.iter().filter_map(vpc).collect(),
            Batch::Subnets(all) => self.subnets = all.iter().filter_map(subnet).collect(),
            Batch::RouteTables(all) => {
                self.route_tables = all.iter().filter_map(route_table).collect();
            }
            Batch::SecurityGroups(all) => self.groups = all.iter().filter_map(group).collect(),
            Batch::SecurityGroupRules(all) => {
                self.rules = all.iter().filter_map(group_rule).collect();
            }
            Batch::Instances(all) => self.instances = all.iter().filter_map(instance).collect(),
            Batch::NetworkInterfaces(all) => {
                self.interfaces = all.iter().filter_map(interface).collect();
            }
            Batch::Addresses(all) => self.addresses = all.iter().filter_map(address).collect(),
            Batch::VpnGateways(all) => self.vpn_gateways = all.iter().filter_map(gateway).collect(),
            Batch::CustomerGateways(all) => {
                self.customer_gateways = all.iter().filter_map(customer).collect();
            }
            Batch::VpnConnections(all) => {
                self.connections = all.iter().filter_map(connection).collect();
            }
            Batch::TransitGatewayVpcAttachments(all) => {
                let pair = |o: &sdk::TransitGatewayVpcAttachment| {
                    let gone = matches!(
                        o.state(),
                        Some(
                            sdk::TransitGatewayAttachmentState::Deleted
                                | sdk::TransitGatewayAttachmentState::Deleting
                        )
                    );
                    (!gone).then_some(())?;
                    Some((id(o.vpc_id())?, id(o.transit_gateway_id())?))
                };
                self.transit = all.iter().filter_map(pair).collect();
            }
        }
    }
}

fn id(text: Option<&str>) -> Option<AwsId> {
    text.filter(|t| !t.is_empty()).map(AwsId::new)
}

fn ip(text: Option<&str>) -> Option<Ipv4Addr> {
    text?.parse().ok()
}

fn cidr(text: Option<&str>) -> Option<Ipv4Net> {
    text?.parse::<Ipv4Net>().ok().map(|net| net.trunc())
}

fn tags(tags: &[sdk::Tag]) -> Tags {
    Tags::read(tags)
}

fn vpc(o: &sdk::Vpc) -> Option<Vpc> {
    let primary = cidr(o.cidr_block());
    let mut cidrs: Vec<Ipv4Net> = primary.into_iter().collect();
    for association in o.cidr_block_association_set() {
        let state = association.cidr_block_state().and_then(|s| s.state());
        let is_there = state.is_none_or(|s| {
            matches!(
                s,
                sdk::VpcCidrBlockStateCode::Associated | sdk::VpcCidrBlockStateCode::Associating
            )
        });
        let net = cidr(association.cidr_block());
        cidrs.extend(net.filter(|net| is_there && !cidrs.contains(net)));
    }
    Some(Vpc {
        id: id(o.vpc_id())?,
        account: o.owner_id().unwrap_or_default().to_owned(),
        cidrs,
        is_default: o.is_default().unwrap_or(false),
        tags: tags(o.tags()),
    })
}

fn subnet(o: &sdk::Subnet) -> Option<Subnet> {
    Some(Subnet {
        id: id(o.subnet_id())?,
        vpc: id(o.vpc_id())?,
        cidr: cidr(o.cidr_block())?,
        tags: tags(o.tags()),
    })
}

fn route_table(o: &sdk::RouteTable) -> Option<RouteTable> {
    let association = |a: &sdk::RouteTableAssociation| {
        let state = a.association_state().and_then(|s| s.state());
        let is_gone = matches!(
            state,
            Some(
                sdk::RouteTableAssociationStateCode::Disassociated
                    | sdk::RouteTableAssociationStateCode::Disassociating
            )
        );
        let serves = id(a.subnet_id());
        let counts = !is_gone && (serves.is_some() || a.main() == Some(true));
        counts.then(|| id(a.route_table_association_id())).flatten().map(|own| (own, serves))
    };
    Some(RouteTable {
        id: id(o.route_table_id())?,
        vpc: id(o.vpc_id())?,
        routes: o.routes().iter().filter_map(route).collect(),
        propagating: o.propagating_vgws().iter().filter_map(|p| id(p.gateway_id())).collect(),
        associations: o.associations().iter().filter_map(association).collect(),
        tags: tags(o.tags()),
    })
}

/// An instance's route names both instance and interface: the interface is what AWS keeps.
fn route(o: &sdk::Route) -> Option<Route> {
    let target = [
        o.network_interface_id(),
        o.gateway_id(),
        o.nat_gateway_id(),
        o.transit_gateway_id(),
        o.vpc_peering_connection_id(),
        o.instance_id(),
        o.local_gateway_id(),
        o.carrier_gateway_id(),
        o.core_network_arn(),
        o.egress_only_internet_gateway_id(),
    ];
    Some(Route {
        cidr: cidr(o.destination_cidr_block())?,
        target: target.into_iter().find_map(id).unwrap_or_else(|| AwsId::new("unknown")),
        is_propagated: o.origin() == Some(&sdk::RouteOrigin::EnableVgwRoutePropagation),
        is_blackhole: o.state() == Some(&sdk::RouteState::Blackhole),
    })
}

fn group(o: &sdk::SecurityGroup) -> Option<Group> {
    Some(Group {
        id: id(o.group_id())?,
        name: o.group_name()?.to_owned(),
        vpc: id(o.vpc_id())?,
        tags: tags(o.tags()),
    })
}

fn group_rule(o: &sdk::SecurityGroupRule) -> Option<GroupRule> {
    let ports = match (o.from_port(), o.to_port()) {
        (Some(from), Some(to)) if (from, to) != (-1, -1) => Some((from, to)),
        _ => None,
    };
    let rule = cidr(o.cidr_ipv4()).map(|cidr| Rule {
        direction: if o.is_egress() == Some(true) { Direction::Out } else { Direction::In },
        protocol: o.ip_protocol().unwrap_or("-1").to_owned(),
        ports,
        cidr,
    });
    Some(GroupRule {
        id: id(o.security_group_rule_id())?,
        group: id(o.group_id())?,
        rule,
        referenced: o.referenced_group_info().and_then(|r| id(r.group_id())),
        tags: tags(o.tags()),
    })
}

fn instance(o: &sdk::Instance) -> Option<Instance> {
    let state = o.state()?.name()?.as_str().to_owned();
    // What shuts down still holds its interface.
    let is_gone = state == "terminated";
    // EC2 writes `windows`, the SDK's own list has `Windows`.
    let is_windows = o.platform().is_some_and(|p| p.as_str().eq_ignore_ascii_case("windows"));
    (!is_gone).then_some(())?;
    Some(Instance {
        id: id(o.instance_id())?,
        vpc: id(o.vpc_id()),
        subnet: id(o.subnet_id()),
        state,
        is_windows,
        public_ip: ip(o.public_ip_address()),
        tags: tags(o.tags()),
    })
}

fn interface(o: &sdk::NetworkInterface) -> Option<Interface> {
    let attachment = o.attachment();
    Some(Interface {
        id: id(o.network_interface_id())?,
        vpc: id(o.vpc_id())?,
        subnet: id(o.subnet_id())?,
        instance: attachment.and_then(|a| id(a.instance_id())),
        device: attachment.and_then(sdk::NetworkInterfaceAttachment::device_index).unwrap_or(0),
        private_ip: ip(o.private_ip_address()),
        groups: o.groups().iter().filter_map(|g| id(g.group_id())).collect(),
        source_dest_check: o.source_dest_check().unwrap_or(true),
        tags: tags(o.tag_set()),
    })
}

/// Reads an Elastic IP; those of EC2-Classic have no allocation id and are left out.
fn address(o: &sdk::Address) -> Option<ElasticAddress> {
    Some(ElasticAddress {
        id: id(o.allocation_id())?,
        ip: ip(o.public_ip())?,
        association: id(o.association_id()),
        interface: id(o.network_interface_id()),
        tags: tags(o.tags()),
    })
}

/// Reads a VPN gateway, unless it is deleted or about to be: nobody waits for that.
pub(crate) fn gateway(o: &sdk::VpnGateway) -> Option<Gateway> {
    let state = o.state().map_or("available", |s| s.as_str()).to_owned();
    // A detached attachment stays listed (terraform-provider-aws #6987).
    let attachment = o.vpc_attachments().iter().find_map(|a| {
        let state = a.state().map_or("attached", |s| s.as_str());
        (state != "detached").then(|| Some((id(a.vpc_id())?, state.to_owned())))?
    });
    (!matches!(state.as_str(), "deleting" | "deleted")).then_some(())?;
    Some(Gateway {
        id: id(o.vpn_gateway_id())?,
        state,
        asn: o.amazon_side_asn().unwrap_or(64512),
        attachment,
        tags: tags(o.tags()),
    })
}

/// Reads a customer gateway, unless it is deleted or about to be: nobody waits for that.
pub(crate) fn customer(o: &sdk::CustomerGateway) -> Option<Customer> {
    let state = o.state().unwrap_or("available").to_owned();
    (!matches!(state.as_str(), "deleting" | "deleted")).then_some(())?;
    Some(Customer {
        id: id(o.customer_gateway_id())?,
        state,
        ip: ip(o.ip_address()),
        asn: o.bgp_asn().unwrap_or_default().to_owned(),
        device: o.device_name().map(str::to_owned),
        tags: tags(o.tags()),
    })
}

/// Reads a VPN connection, unless it is deleted.
pub(crate) fn connection(o: &sdk::VpnConnection) -> Option<Connection> {
    let state = o.state().map_or("available", |s| s.as_str()).to_owned();
    (state != "deleted").then_some(())?;
    let options = o.options();
    let mut tunnels: Vec<Tunnel> =
        options.map_or(&[][..], |o| o.tunnel_options()).iter().filter_map(tunnel).collect();
    tunnels.sort_by_key(|t| t.outside);
    let mut measured: Vec<Telemetry> = o.vgw_telemetry().iter().filter_map(telemetry).collect();
    measured.sort_by_key(|t| t.outside);
    Some(Connection {
        id: id(o.vpn_connection_id())?,
        state,
        customer: id(o.customer_gateway_id())?,
        gateway: id(o.vpn_gateway_id()),
        is_static: options.and_then(sdk::VpnConnectionOptions::static_routes_only).unwrap_or(false),
        prefixes: o
            .routes()
            .iter()
            .filter(|r| {
                !matches!(r.state(), Some(sdk::VpnState::Deleted | sdk::VpnState::Deleting))
            })
            .filter_map(|r| cidr(r.destination_cidr_block()))
            .collect::<BTreeSet<_>>(),
        tunnels,
        telemetry: measured,
        configuration: o.customer_gateway_configuration().map(Secret::new),
        tags: tags(o.tags()),
    })
}

/// Reads what was negotiated for a tunnel; `None` while it is down.
#[must_use]
pub fn negotiated(o: &sdk::ActiveVpnTunnelStatus) -> Option<Suites> {
    let word = |text: Option<&str>| text.map(str::to_owned).into_iter().collect();
    o.phase1_encryption_algorithm().map(|cipher| Suites {
        phase1_ciphers: word(Some(cipher)),
        phase1_hashes: word(o.phase1_integrity_algorithm()),
        phase1_groups: o.phase1_dh_group().into_iter().collect(),
        phase2_ciphers: word(o.phase2_encryption_algorithm()),
        phase2_hashes: word(o.phase2_integrity_algorithm()),
        phase2_groups: o.phase2_dh_group().into_iter().collect(),
        ike_versions: word(o.ike_version()),
    })
}

fn tunnel(o: &sdk::TunnelOption) -> Option<Tunnel> {
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    let words = |values: Vec<Option<&str>>| {
        sorted(values.into_iter().flatten().map(str::to_owned).collect())
    };
    let numbers = |mut list: Vec<i32>| {
        list.sort_unstable();
        list
    };
    Some(Tunnel {
        outside: ip(o.outside_ip_address())?,
        key: o.pre_shared_key().and_then(known_key),
        suites: Suites {
            phase1_ciphers: words(
                o.phase1_encryption_algorithms().iter().map(|v| v.value()).collect(),
            ),
            phase1_hashes: words(
                o.phase1_integrity_algorithms().iter().map(|v| v.value()).collect(),
            ),
            phase1_groups: numbers(
                o.phase1_dh_group_numbers()
                    .iter()
                    .filter_map(sdk::Phase1DhGroupNumbersListValue::value)
                    .collect(),
            ),
            phase2_ciphers: words(
                o.phase2_encryption_algorithms().iter().map(|v| v.value()).collect(),
            ),
            phase2_hashes: words(
                o.phase2_integrity_algorithms().iter().map(|v| v.value()).collect(),
            ),
            phase2_groups: numbers(
                o.phase2_dh_group_numbers()
                    .iter()
                    .filter_map(sdk::Phase2DhGroupNumbersListValue::value)
                    .collect(),
            ),
            ike_versions: words(o.ike_versions().iter().map(|v| v.value()).collect()),
        },
    })
}

fn telemetry(o: &sdk::VgwTelemetry) -> Option<Telemetry> {
    Some(Telemetry {
        outside: ip(o.outside_ip_address())?,
        is_up: o.status() == Some(&sdk::TelemetryStatus::Up),
        since: o.last_status_change().and_then(|t| Timestamp::from_second(t.secs()).ok()),
        message: o.status_message().unwrap_or_default().to_owned(),
    })
}
