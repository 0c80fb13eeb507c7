//! The reads: one Describe each, paged to its end.

use aws_sdk_ec2::types as sdk;
use serde::Serialize;

use super::action::Action;
use super::client::Reader;
use super::error::Error;
use crate::address::AwsId;

/// One Describe that somebody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[expect(missing_docs, reason = "each is the Describe of its name")]
pub enum Source {
    Vpcs,
    Subnets,
    RouteTables,
    SecurityGroups,
    SecurityGroupRules,
    Instances,
    NetworkInterfaces,
    Addresses,
    VpnGateways,
    CustomerGateways,
    VpnConnections,
    TransitGatewayVpcAttachments,
}

impl Source {
    /// All of them: an observation of a region.
    pub const ALL: [Self; 12] = [
        Self::Vpcs,
        Self::Subnets,
        Self::RouteTables,
        Self::SecurityGroups,
        Self::SecurityGroupRules,
        Self::Instances,
        Self::NetworkInterfaces,
        Self::Addresses,
        Self::VpnGateways,
        Self::CustomerGateways,
        Self::VpnConnections,
        Self::TransitGatewayVpcAttachments,
    ];
}

impl Source {
    /// Those that show what stacks are made of; the others show what they are made in.
    pub const OF_STACKS: [Self; 10] = [
        Self::Subnets,
        Self::RouteTables,
        Self::SecurityGroups,
        Self::SecurityGroupRules,
        Self::Instances,
        Self::NetworkInterfaces,
        Self::Addresses,
        Self::VpnGateways,
        Self::CustomerGateways,
        Self::VpnConnections,
    ];
}

/// Which objects to read.
#[derive(Debug, Clone, Copy)]
pub enum Only<'a> {
    /// All of the region.
    All,
    /// Those with these ids, at most 200; only for sources that are waited for
    /// ([`Source::VpnGateways`] and [`Source::VpnConnections`]), others read all.
    Ids(&'a [AwsId]),
}

/// What one Describe answered.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each holds what the Describe of its name answered")]
pub enum Batch {
    Vpcs(Vec<sdk::Vpc>),
    Subnets(Vec<sdk::Subnet>),
    RouteTables(Vec<sdk::RouteTable>),
    SecurityGroups(Vec<sdk::SecurityGroup>),
    SecurityGroupRules(Vec<sdk::SecurityGroupRule>),
    Instances(Vec<sdk::Instance>),
    NetworkInterfaces(Vec<sdk::NetworkInterface>),
    Addresses(Vec<sdk::Address>),
    VpnGateways(Vec<sdk::VpnGateway>),
    CustomerGateways(Vec<sdk::CustomerGateway>),
    VpnConnections(Vec<sdk::VpnConnection>),
    TransitGatewayVpcAttachments(Vec<sdk::TransitGatewayVpcAttachment>),
}

/// Reads page after page; the page sizes are the largest that each action takes.
macro_rules! paged {
    ($reader:expr, $action:ident, $operation:ident, $page:literal, $items:ident) => {{
        let (mut all, mut token) = (Vec::new(), None::<String>);
        loop {
            let page = $reader
                .call(Action::$action, |ec2| {
                    let next = token.clone();
                    ec2.$operation().max_results($page).set_next_token(next).send()
                })
                .await?;
            token = page.next_token().filter(|t| !t.is_empty()).map(str::to_owned);
            all.extend(page.$items.unwrap_or_default());
            if token.is_none() {
                break all;
            }
        }
    }};
}

impl Reader {
    /// Reads one source.
    pub async fn read(&self, source: Source, only: Only<'_>) -> Result<Batch, Error> {
        Ok(match source {
            Source::Vpcs => Batch::Vpcs(paged!(self, DescribeVpcs, describe_vpcs, 1000, vpcs)),
            Source::Subnets => {
                Batch::Subnets(paged!(self, DescribeSubnets, describe_subnets, 1000, subnets))
            }
            Source::RouteTables => Batch::RouteTables(paged!(
                self,
                DescribeRouteTables,
                describe_route_tables,
                100,
                route_tables
            )),
            Source::SecurityGroups => Batch::SecurityGroups(paged!(
                self,
                DescribeSecurityGroups,
                describe_security_groups,
                1000,
                security_groups
            )),
            Source::SecurityGroupRules => Batch::SecurityGroupRules(paged!(
                self,
                DescribeSecurityGroupRules,
                describe_security_group_rules,
                1000,
                security_group_rules
            )),
            Source::Instances => Batch::Instances(
                paged!(self, DescribeInstances, describe_instances, 1000, reservations)
                    .into_iter()
                    .flat_map(|reservation| reservation.instances.unwrap_or_default())
                    .collect(),
            ),
            Source::NetworkInterfaces => Batch::NetworkInterfaces(paged!(
                self,
                DescribeNetworkInterfaces,
                describe_network_interfaces,
                1000,
                network_interfaces
            )),
            Source::TransitGatewayVpcAttachments => Batch::TransitGatewayVpcAttachments(paged!(
                self,
                DescribeTransitGatewayVpcAttachments,
                describe_transit_gateway_vpc_attachments,
                1000,
                transit_gateway_vpc_attachments
            )),
            Source::Addresses => Batch::Addresses(
                self.call(Action::DescribeAddresses, |ec2| ec2.describe_addresses().send())
                    .await?
                    .addresses
                    .unwrap_or_default(),
            ),
            Source::CustomerGateways => Batch::CustomerGateways(
                self.call(Action::DescribeCustomerGateways, |ec2| {
                    ec2.describe_customer_gateways().send()
                })
                .await?
                .customer_gateways
                .unwrap_or_default(),
            ),
            Source::VpnGateways => Batch::VpnGateways(
                self.call(Action::DescribeVpnGateways, |ec2| {
                    let filters = with_ids("vpn-gateway-id", only);
                    ec2.describe_vpn_gateways().set_filters(filters).send()
                })
                .await?
                .vpn_gateways
                .unwrap_or_default(),
            ),
            Source::VpnConnections => Batch::VpnConnections(
                self.call(Action::DescribeVpnConnections, |ec2| {
                    let filters = with_ids("vpn-connection-id", only);
                    ec2.describe_vpn_connections().set_filters(filters).send()
                })
                .await?
                .vpn_connections
                .unwrap_or_default(),
            ),
        })
    }
}

/// Asks by filter, not by id: an unknown id would be an error, and is only not there yet.
fn with_ids(name: &str, only: Only<'_>) -> Option<Vec<sdk::Filter>> {
    match only {
        Only::All => None,
        Only::Ids(ids) => {
            let values = Some(ids.iter().map(ToString::to_string).collect());
            Some(vec![sdk::Filter::builder().name(name).set_values(values).build()])
        }
    }
}
