//! VPN gateways with their attachment, and customer gateways.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::describe::Describe;
use super::{Answer, Call, connections, done, routes};
use crate::sandbox::Moment;
use crate::sandbox::manners::Work;
use crate::sandbox::refusal::Refusal;
use crate::sandbox::stages::Stages;
use crate::sandbox::tree::{Tree, list, map};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct VpnGateway {
    pub(super) asn: i64,
    pub(super) stages: Stages,
    /// The VPC of the last attachment, and how it went.
    pub(super) attachment: Option<(String, Stages)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CustomerGateway {
    pub(super) ip: Ipv4Addr,
    pub(super) asn: i64,
    device: Option<String>,
    pub(super) stages: Stages,
}

/// How long AWS goes on listing what is deleted: for a while (moto's samples of the real service).
pub(super) const LISTED: Duration = Duration::from_hours(1);

/// Says whether an object that goes through stages is still listed.
pub(super) fn is_listed(stages: &Stages, at: Moment) -> bool {
    stages.at(at) != "deleted" || at.since(stages.end()) < LISTED
}

impl VpnGateway {
    pub(super) fn is_attached_to(&self, vpc: &str, at: Moment) -> bool {
        self.attachment.as_ref().is_some_and(|(to, s)| to == vpc && s.at(at) == "attached")
    }

    /// Returns the VPC of an attachment that is not over.
    fn held(&self, at: Moment) -> Option<(&str, &Stages)> {
        let (vpc, stages) = self.attachment.as_ref()?;
        // Right after the call it may still read `detached`.
        let is_over = stages.last() == "detached" && stages.at(at) == "detached";
        (!is_over).then_some((vpc.as_str(), stages))
    }
}

fn gateway(call: &Call<'_>) -> Result<(String, VpnGateway), Refusal> {
    let id = call.query.must("VpnGatewayId")?.to_owned();
    let code = "InvalidVpnGatewayID.NotFound";
    let gateway = call.known(|r| &r.vpn_gateways, &id, code)?;
    if gateway.stages.at(call.now) == "deleted" {
        return Err(Refusal::not_found(code, &id));
    }
    Ok((id, gateway))
}

pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let asn = call.query.read("AmazonSideAsn")?.unwrap_or(64512);
    if !(64512..=65534).contains(&asn) && !(4_200_000_000..=4_294_967_294).contains(&asn) {
        return Err(Refusal::invalid("amazonSideAsn", &asn.to_string()));
    }
    let is_there = |g: &VpnGateway| g.stages.last() != "deleted";
    let count = call.region.vpn_gateways.all().filter(|(_, g)| is_there(g)).count();
    Call::within(call.manners.quotas.vpn_gateways, count, "VpnGatewayLimitExceeded")?;
    let id = call.new_id("vgw");
    call.tag(&id)?;
    let stages = call.stages(Work::Gateway, "pending", "available");
    let gateway = VpnGateway { asn, stages, attachment: None };
    call.region.vpn_gateways.put(&id, call.now, gateway.clone());
    call.seen = call.now;
    Ok(map([("vpnGateway", tree(call, &id, &gateway))]))
}

pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let all = call.region.vpn_gateways.all_at(call.seen);
    let listed = all.filter(|(_, gateway)| is_listed(&gateway.stages, call.seen));
    let items = listed.map(|(id, gateway)| tree(call, id, gateway)).collect();
    let what = Describe {
        set: "vpnGatewaySet",
        ids: ("VpnGatewayId", &["vpnGatewayId"]),
        unknown: "InvalidVpnGatewayID.NotFound",
        filters: &[
            ("attachment.state", &["attachments", "state"]),
            ("attachment.vpc-id", &["attachments", "vpcId"]),
        ],
        is_paged: false,
    };
    call.describe(&what, items)
}

fn tree(call: &Call<'_>, id: &str, gateway: &VpnGateway) -> Tree {
    // An attachment that is over stays listed (terraform-provider-aws #6987).
    let attachments =
        gateway.attachment.iter().map(|(vpc, stages)| attachment(vpc, stages.at(call.seen)));
    map([
        ("vpnGatewayId", id.into()),
        ("state", gateway.stages.at(call.seen).into()),
        ("type", "ipsec.1".into()),
        ("amazonSideAsn", gateway.asn.into()),
        ("attachments", list(attachments)),
        ("tagSet", call.tag_set(id)),
    ])
}

fn attachment(vpc: &str, state: &str) -> Tree {
    map([("vpcId", vpc.into()), ("state", state.into())])
}

pub(super) fn attach(call: &mut Call<'_>) -> Answer {
    let (id, gateway) = gateway(call)?;
    let vpc = call.query.must("VpcId")?.to_owned();
    call.known(|r| &r.vpcs, &vpc, "InvalidVpcID.NotFound")?;
    if gateway.stages.at(call.now) != "available" {
        let text = "The virtual private gateway is not in an available state.";
        return Err(Refusal::new("InvalidVpnGatewayState", text));
    }
    match gateway.held(call.now) {
        Some((to, stages)) if to == vpc && stages.last() == "attached" => {
            return Ok(map([("attachment", attachment(to, stages.at(call.now)))]));
        }
        Some((to, _)) if to == vpc => {
            let text = "This call cannot be completed because the gateway is being detached";
            return Err(Refusal::new("InvalidParameterValue", text));
        }
        Some(_) => {
            let text =
                "The maximum number of virtual private gateway attachments has been reached.";
            return Err(Refusal::new("VpnGatewayAttachmentLimitExceeded", text));
        }
        None => {}
    }
    let holds = |g: &VpnGateway| g.held(call.now).is_some_and(|(to, _)| to == vpc);
    if let Some((other, _)) = call.region.vpn_gateways.all().find(|(_, g)| holds(g)) {
        // cloudposse/terraform-aws-vpn-connection #22.
        let text =
            format!("VPC {vpc} is currently attached to the Virtual Private Gateway {other}");
        return Err(Refusal::new("InvalidVpcState", text));
    }
    let stages = attaching(call);
    call.region.vpn_gateways.change(&id, call.now, |g| g.attachment = Some((vpc.clone(), stages)));
    Ok(map([("attachment", attachment(&vpc, "attaching"))]))
}

/// It may read `detached` for a while after it was begun (terraform #8632, #13457).
fn attaching(call: &mut Call<'_>) -> Stages {
    let end = call.end_of(Work::Attach);
    let begin = if call.manners.is_slow && call.draws.percent("attach", 40) {
        call.now.after(call.draws.span("attach", Duration::ZERO..=Duration::from_secs(20)))
    } else {
        call.now
    };
    Stages::through(&[(call.now, "detached"), (begin, "attaching"), (end.max(begin), "attached")])
}

pub(super) fn detach(call: &mut Call<'_>) -> Answer {
    let (id, gateway) = gateway(call)?;
    let vpc = call.query.must("VpcId")?.to_owned();
    let Some((_, held)) = gateway.held(call.now).filter(|(to, _)| *to == vpc) else {
        let text = format!("The attachment of {id} to {vpc} does not exist.");
        return Err(Refusal::new("InvalidVpnGatewayAttachment.NotFound", text));
    };
    if connections::is_under_way(call, &id) {
        // terraform-provider-aws #11720: passes by itself.
        let text =
            "This call cannot be completed because there are pending VPNs or Virtual Interfaces";
        return Err(Refusal::new("InvalidParameterValue", text));
    }
    if held.last() != "detached" {
        let stages = call.stages(Work::Detach, "detaching", "detached");
        call.region.vpn_gateways.change(&id, call.now, |g| g.attachment = Some((vpc, stages)));
        routes::forget_gateway(call, &id);
    }
    done()
}

pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let (id, gateway) = gateway(call)?;
    if gateway.held(call.now).is_some() || connections::are_on(call, &id) {
        return Err(Refusal::new("IncorrectState", "The VPN gateway is in use."));
    }
    if gateway.stages.last() != "deleted" {
        let stages = call.stages(Work::Gateway, "deleting", "deleted");
        call.region.vpn_gateways.change(&id, call.now, |gateway| gateway.stages = stages);
    }
    done()
}

/// Says whether a VPN gateway can take a connection.
pub(super) fn available(call: &Call<'_>) -> Result<(String, VpnGateway), Refusal> {
    let (id, gateway) = gateway(call)?;
    if gateway.stages.at(call.now) != "available" {
        let text = "The virtual private gateway is not in an available state.";
        return Err(Refusal::new("InvalidVpnGatewayState", text));
    }
    Ok((id, gateway))
}

pub(super) fn create_customer(call: &mut Call<'_>) -> Answer {
    let query = call.query;
    let ip = query.text("IpAddress").or_else(|| query.text("PublicIp"));
    let ip = ip.ok_or_else(|| Refusal::missing("ipAddress"))?;
    let ip: Ipv4Addr = ip.parse().map_err(|_| Refusal::invalid("ipAddress", ip))?;
    let asn = query.read("BgpAsn")?.or(query.read("BgpAsnExtended")?);
    let asn: i64 = asn.ok_or_else(|| Refusal::missing("bgpAsn"))?;
    let device = query.text("DeviceName").map(str::to_owned);
    let is_there = |g: &CustomerGateway| g.stages.last() != "deleted";
    let all = || call.region.customer_gateways.all().filter(|(_, g)| is_there(g));
    let is_same = |g: &CustomerGateway| (g.ip, g.asn, &g.device) == (ip, asn, &device);
    if let Some((id, same)) = all().find(|(_, g)| is_same(g)) {
        // API: «An identical request returns information about the existing customer gateway». It
        // keeps its tags.
        return Ok(map([("customerGateway", customer_tree(call, id, same))]));
    }
    let count = all().count();
    Call::within(call.manners.quotas.customer_gateways, count, "CustomerGatewayLimitExceeded")?;
    let id = call.new_id("cgw");
    call.tag(&id)?;
    let stages = call.stages(Work::Gateway, "pending", "available");
    let made = CustomerGateway { ip, asn, device, stages };
    call.region.customer_gateways.put(&id, call.now, made.clone());
    call.seen = call.now;
    Ok(map([("customerGateway", customer_tree(call, &id, &made))]))
}

pub(super) fn describe_customers(call: &mut Call<'_>) -> Answer {
    let all = call.region.customer_gateways.all_at(call.seen);
    let listed = all.filter(|(_, gateway)| is_listed(&gateway.stages, call.seen));
    let items = listed.map(|(id, gateway)| customer_tree(call, id, gateway)).collect();
    let what = Describe {
        set: "customerGatewaySet",
        ids: ("CustomerGatewayId", &["customerGatewayId"]),
        unknown: "InvalidCustomerGatewayID.NotFound",
        filters: &[],
        is_paged: false,
    };
    call.describe(&what, items)
}

fn customer_tree(call: &Call<'_>, id: &str, gateway: &CustomerGateway) -> Tree {
    map([
        ("customerGatewayId", id.into()),
        ("state", gateway.stages.at(call.seen).into()),
        ("type", "ipsec.1".into()),
        ("ipAddress", gateway.ip.into()),
        ("bgpAsn", gateway.asn.into()),
        ("deviceName", gateway.device.as_ref().into()),
        ("tagSet", call.tag_set(id)),
    ])
}

fn customer(call: &Call<'_>) -> Result<(String, CustomerGateway), Refusal> {
    let id = call.query.must("CustomerGatewayId")?.to_owned();
    let code = "InvalidCustomerGatewayID.NotFound";
    let gateway = call.known(|r| &r.customer_gateways, &id, code)?;
    if gateway.stages.at(call.now) == "deleted" {
        return Err(Refusal::not_found(code, &id));
    }
    Ok((id, gateway))
}

/// Says whether a customer gateway can take a connection.
pub(super) fn available_customer(call: &Call<'_>) -> Result<(String, CustomerGateway), Refusal> {
    let (id, gateway) = customer(call)?;
    if gateway.stages.at(call.now) != "available" {
        let text = "The customer gateway is not in an available state.";
        return Err(Refusal::new("InvalidCustomerGatewayState", text));
    }
    Ok((id, gateway))
}

pub(super) fn delete_customer(call: &mut Call<'_>) -> Answer {
    let (id, gateway) = customer(call)?;
    if connections::are_of(call, &id) {
        // terraform-provider-aws #23632.
        return Err(Refusal::new("IncorrectState", "The customer gateway is in use."));
    }
    if gateway.stages.last() != "deleted" {
        let stages = call.stages(Work::Gateway, "deleting", "deleted");
        call.region.customer_gateways.change(&id, call.now, |gateway| gateway.stages = stages);
    }
    done()
}
