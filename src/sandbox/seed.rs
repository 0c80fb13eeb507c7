//! What there is in a sandbox before anybody comes: the two ends of a VPN, and beside them other
//! people's things that nothing may touch.

use super::{Moment, Sandbox};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::account::{Account, Request, Who};
use super::host::Host;
use super::manners::Manners;
use super::query::Query;
use super::tree::Tree;

/// The ids of what a seed has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// The VPC that is to get the VPN.
    pub cloud_vpc: String,
    /// The table of its private subnet.
    pub cloud_table: String,
    /// The VPC behind the Windows Server.
    pub site_vpc: String,
    /// The Windows Server.
    pub instance: String,
    /// Its network interface.
    pub interface: String,
    /// A host in the cloud VPC that answers pings.
    pub ping: String,
}

/// How long ago the seed was sown: no read lags that far behind.
const AGE: Duration = Duration::from_hours(24);

/// Calls EC2 as somebody else than the client.
struct Somebody<'a> {
    sandbox: &'a Sandbox,
    region: &'a str,
}

impl Somebody<'_> {
    /// Does an action and returns a text of its answer.
    fn ask(&self, action: &str, form: &str, path: &[&str]) -> String {
        let query = Query::parse(form.as_bytes());
        let request = Request {
            who: Who::Somebody,
            service: "ec2",
            region: self.region,
            action,
            query: &query,
        };
        // All this has been there for long.
        let act = |account: &mut Account, now: Moment| account.act(&request, now.before(AGE));
        let answer = self.sandbox.with(act).expect("the folder was written a moment ago");
        let tree: Tree = answer.expect("the seed asks only for what can be");
        tree.texts(path).first().map(ToString::to_string).unwrap_or_default()
    }

    fn vpc(&self, name: &str, cidr: &str) -> String {
        let form = format!("CidrBlock={cidr}{}", named(name));
        self.ask("CreateVpc", &form, &["vpc", "vpcId"])
    }

    fn online(&self, vpc: &str) -> String {
        let id = self.ask("CreateInternetGateway", "", &["internetGateway", "internetGatewayId"]);
        self.ask("AttachInternetGateway", &format!("InternetGatewayId={id}&VpcId={vpc}"), &[]);
        id
    }

    fn table(&self, vpc: &str, name: &str, gateway: Option<&str>) -> String {
        let form = format!("VpcId={vpc}{}", named(name));
        let id = self.ask("CreateRouteTable", &form, &["routeTable", "routeTableId"]);
        if let Some(gateway) = gateway {
            let form =
                format!("RouteTableId={id}&DestinationCidrBlock=0.0.0.0/0&GatewayId={gateway}");
            self.ask("CreateRoute", &form, &[]);
        }
        id
    }

    fn subnet(&self, vpc: &str, name: &str, cidr: &str, table: &str) -> String {
        let form = format!("VpcId={vpc}&CidrBlock={cidr}{}", named(name));
        let id = self.ask("CreateSubnet", &form, &["subnet", "subnetId"]);
        self.ask("AssociateRouteTable", &format!("RouteTableId={table}&SubnetId={id}"), &[]);
        id
    }

    fn group(&self, vpc: &str, name: &str, port: u16) -> String {
        let form = format!("VpcId={vpc}&GroupName={name}&GroupDescription={name}{}", named(name));
        let id = self.ask("CreateSecurityGroup", &form, &["groupId"]);
        let rule = format!(
            "GroupId={id}&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort={port}\
             &IpPermissions.1.ToPort={port}&IpPermissions.1.IpRanges.1.CidrIp=192.0.2.0/24"
        );
        self.ask("AuthorizeSecurityGroupIngress", &rule, &[]);
        id
    }

    fn instance(&self, name: &str, image: &str, subnet: &str, group: &str) -> [String; 3] {
        let form = format!(
            "ImageId={image}&InstanceType=m5.large&SubnetId={subnet}&SecurityGroupId.1={group}\
             &MinCount=1&MaxCount=1{}",
            named(name)
        );
        let id = self.ask("RunInstances", &form, &["instancesSet", "instanceId"]);
        let of = format!("Filter.1.Name=attachment.instance-id&Filter.1.Value.1={id}");
        let path = |name| ["networkInterfaceSet", name];
        let interface = self.ask("DescribeNetworkInterfaces", &of, &path("networkInterfaceId"));
        let ip = self.ask("DescribeNetworkInterfaces", &of, &path("privateIpAddress"));
        [id, interface, ip]
    }
}

fn named(name: &str) -> String {
    tagged(&[("Name", name)])
}

fn tagged(tags: &[(&str, &str)]) -> String {
    let tag = |(n, (key, value)): (usize, &(&str, &str))| {
        let place = format!("TagSpecification.1.Tag.{}", n + 1);
        format!("&{place}.Key={key}&{place}.Value={value}")
    };
    tags.iter().enumerate().map(tag).collect()
}

impl Sandbox {
    /// Puts the two ends of a VPN into regions, with things beside them that are nobody's, and a VPN
    /// of another stack.
    ///
    /// The seed itself takes no time and is seen at once.
    #[must_use]
    pub fn seed(&self, cloud: &str, site: &str) -> Seed {
        let foreign = self.change(|account| account.foreign.insert("other".to_owned()));
        foreign.expect("the folder was written a moment ago");
        self.at_once(|| {
            let seed = self.sow(cloud, site, 0);
            strangers(&Somebody { sandbox: self, region: cloud });
            other_stack(&Somebody { sandbox: self, region: cloud });
            seed
        })
    }

    /// Puts the ends of so many VPNs into the region that is meant where none is named; 256 of their
    /// VPCs have different networks.
    #[must_use]
    pub fn seed_many(&self, count: usize) -> Vec<Seed> {
        let seconds = (0..=u8::MAX).cycle().take(count);
        let sow = |second| self.sow(Self::REGION, Self::REGION, second);
        self.at_once(|| seconds.map(sow).collect())
    }

    /// Puts only what is needed into the region that is meant where none is named.
    pub(super) fn seed_for_people(&self) -> Seed {
        self.at_once(|| {
            strangers(&Somebody { sandbox: self, region: Self::REGION });
            self.sow(Self::REGION, Self::REGION, 0)
        })
    }

    fn at_once<T>(&self, sow: impl FnOnce() -> T) -> T {
        let prompt = Manners { page: 1000, ..Manners::prompt() };
        let swap = |manners: Manners| {
            let swap = |account: &mut Account| std::mem::replace(&mut account.manners, manners);
            self.change(swap).expect("the folder was written a moment ago")
        };
        let manners = swap(prompt);
        let seed = sow();
        swap(manners);
        seed
    }

    /// `second` is the second number of the cloud's network.
    fn sow(&self, cloud: &str, site: &str, second: u8) -> Seed {
        let here = Somebody { sandbox: self, region: cloud };
        let net = |rest: &str| format!("10.{second}.{rest}");
        let vpc = here.vpc("cloud", &net("0.0/16"));
        let online = here.online(&vpc);
        let private = here.table(&vpc, "private", None);
        let public = here.table(&vpc, "public", Some(&online));
        let subnet = here.subnet(&vpc, "private", &net("1.0/24"), &private);
        here.subnet(&vpc, "public", &net("0.0/24"), &public);
        let workloads = here.group(&vpc, "workloads", 22);
        let [_, _, ping] = here.instance("application", "linux", &subnet, &workloads);

        let there = Somebody { sandbox: self, region: site };
        let site_vpc = there.vpc("site", "172.31.0.0/16");
        let online = there.online(&site_vpc);
        let table = there.table(&site_vpc, "site", Some(&online));
        let subnet = there.subnet(&site_vpc, "site", "172.31.16.0/20", &table);
        let group = there.group(&site_vpc, "gateway", 3389);
        let [instance, interface, private] = there.instance("gateway", "windows", &subnet, &group);
        there.instance("linux", "linux", &subnet, &there.group(&site_vpc, "strangers", 22));

        if let Ok(private) = private.parse() {
            let host = Host::new(self.now().before(AGE)).with_address(private);
            let put = self.change(|account| account.hosts.insert(instance.clone(), host));
            put.expect("the folder was written a moment ago");
        }
        Seed { cloud_vpc: vpc, cloud_table: private, site_vpc, instance, interface, ping }
    }
}

/// Things such as any account has, without any tag.
fn strangers(here: &Somebody<'_>) {
    here.ask("AllocateAddress", "Domain=vpc", &[]);
    here.ask("CreateVpnGateway", "Type=ipsec.1", &[]);
    let customer = "Type=ipsec.1&IpAddress=198.51.100.250&BgpAsn=65000";
    here.ask("CreateCustomerGateway", customer, &[]);
}

/// A whole VPN of somebody else, told from the client's own by its tags alone.
fn other_stack(here: &Somebody<'_>) {
    let of = |node: &str| tagged(&[("cgw:stack", "other"), ("cgw:node", node)]);
    let vpc = here.vpc("other", "10.50.0.0/16");
    for (name, node) in
        [("cgw-other", "stack-record"), ("cgw-other-gateway", "gateway-security-group")]
    {
        let form = format!("VpcId={vpc}&GroupName={name}&GroupDescription={name}{}", of(node));
        here.ask("CreateSecurityGroup", &form, &[]);
    }
    let form = format!("Type=ipsec.1{}", of("vpn-gateway"));
    let gateway = here.ask("CreateVpnGateway", &form, &["vpnGateway", "vpnGatewayId"]);
    here.ask("AttachVpnGateway", &format!("VpnGatewayId={gateway}&VpcId={vpc}"), &[]);
    here.ask("AllocateAddress", &format!("Domain=vpc{}", of("elastic-ip")), &[]);
    let form =
        format!("Type=ipsec.1&IpAddress=198.51.100.7&BgpAsn=65000{}", of("customer-gateway"));
    let path = ["customerGateway", "customerGatewayId"];
    let customer = here.ask("CreateCustomerGateway", &form, &path);
    let form = format!(
        "Type=ipsec.1&VpnGatewayId={gateway}&CustomerGatewayId={customer}\
         &Options.StaticRoutesOnly=true{}",
        of("vpn-connection")
    );
    let connection = here.ask("CreateVpnConnection", &form, &["vpnConnection", "vpnConnectionId"]);
    let form = format!("VpnConnectionId={connection}&DestinationCidrBlock=192.168.77.0/24");
    here.ask("CreateVpnConnectionRoute", &form, &[]);
    let table = here.table(&vpc, "other", None);
    let form =
        format!("RouteTableId={table}&DestinationCidrBlock=192.168.77.0/24&GatewayId={gateway}");
    here.ask("CreateRoute", &form, &[]);
}
