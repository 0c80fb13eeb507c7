//! What a template declares in the place of each kind of node, or why it cannot.

use super::Format;
use crate::resource::{
    CustomerGateway, ElasticIp, ElasticIpAssociation, GatewayInstance, GatewaySecurityGroup, Kind,
    ProbeInstance, Route, RoutePropagation, RouteTable, RouteTableAssociation,
    SecurityGroupMembership, SourceDestCheck, StackRecord, Subnet, TunnelRules, VpnConnection,
    VpnConnectionRoute, VpnGateway, VpnGatewayAttachment, WindowsSetup, WorkloadSecurityGroup,
};

/// What becomes of a kind of node in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A resource of this type.
    Made(&'static str),
    /// Nothing: a sentence in the template says why, and what helps.
    Told(&'static str),
}

use How::{Made, Told};

const RECORD: &str = "cgw's record of a stack is not made: `cgw status` and `cgw down` know nothing of what this makes, \
     `cgw up` would make it a second time.";
const PROBE: &str = "The instance that only proves a tunnel is not made: `cgw up --probe` launches one for a moment.";
const CHECK: &str = "The server's network interface exists already, and its source/destination check cannot be switched off from here: \
     aws ec2 modify-network-interface-attribute --no-source-dest-check --network-interface-id ID";
const MEMBER: &str = "The server's network interface exists already, and CloudFormation cannot put it into the security group: \
     aws ec2 modify-network-interface-attribute --network-interface-id ID --groups, with those that it has and the output GatewaySecurityGroup.";

/// Each kind, in CloudFormation and in Terraform.
const KINDS: [(&str, How, How); 21] = [
    (StackRecord::NAME, Told(RECORD), Told(RECORD)),
    (GatewayInstance::NAME, Made("AWS::EC2::Instance"), Made("aws_instance")),
    (ElasticIp::NAME, Made("AWS::EC2::EIP"), Made("aws_eip")),
    (ElasticIpAssociation::NAME, Made("AWS::EC2::EIPAssociation"), Made("aws_eip_association")),
    (SourceDestCheck::NAME, Told(CHECK), Told(CHECK)),
    (GatewaySecurityGroup::NAME, Made("AWS::EC2::SecurityGroup"), Made("aws_security_group")),
    (SecurityGroupMembership::NAME, Told(MEMBER), Made("aws_network_interface_sg_attachment")),
    (CustomerGateway::NAME, Made("AWS::EC2::CustomerGateway"), Made("aws_customer_gateway")),
    (VpnGateway::NAME, Made("AWS::EC2::VPNGateway"), Made("aws_vpn_gateway")),
    (
        VpnGatewayAttachment::NAME,
        Made("AWS::EC2::VPCGatewayAttachment"),
        Made("aws_vpn_gateway_attachment"),
    ),
    (VpnConnection::NAME, Made("AWS::EC2::VPNConnection"), Made("aws_vpn_connection")),
    (
        VpnConnectionRoute::NAME,
        Made("AWS::EC2::VPNConnectionRoute"),
        Made("aws_vpn_connection_route"),
    ),
    (
        TunnelRules::NAME,
        Made("AWS::EC2::SecurityGroupIngress"),
        Made("aws_vpc_security_group_ingress_rule"),
    ),
    (Subnet::NAME, Made("AWS::EC2::Subnet"), Made("aws_subnet")),
    (RouteTable::NAME, Made("AWS::EC2::RouteTable"), Made("aws_route_table")),
    (
        RouteTableAssociation::NAME,
        Made("AWS::EC2::SubnetRouteTableAssociation"),
        Made("aws_route_table_association"),
    ),
    (Route::NAME, Made("AWS::EC2::Route"), Made("aws_route")),
    (
        RoutePropagation::NAME,
        Made("AWS::EC2::VPNGatewayRoutePropagation"),
        Made("aws_vpn_gateway_route_propagation"),
    ),
    (WorkloadSecurityGroup::NAME, Made("AWS::EC2::SecurityGroup"), Made("aws_security_group")),
    (WindowsSetup::NAME, Made("AWS::SSM::Association"), Made("aws_ssm_association")),
    (ProbeInstance::NAME, Told(PROBE), Told(PROBE)),
];

/// Returns what becomes of a kind of node; `None` for one that nobody has thought of.
#[must_use]
pub fn how(kind: &str, format: Format) -> Option<How> {
    let (_, cloudformation, terraform) = KINDS.iter().find(|(name, ..)| *name == kind)?;
    Some(match format {
        Format::Cloudformation => *cloudformation,
        Format::Terraform => *terraform,
    })
}
