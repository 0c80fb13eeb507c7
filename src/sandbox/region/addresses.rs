//! Elastic IPs.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::describe::Describe;
use super::networks::InternetGateway;
use super::{Answer, Call, done};
use crate::sandbox::refusal::Refusal;
use crate::sandbox::tree::{Tree, map};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Address {
    pub(super) ip: Ipv4Addr,
    /// The association and the interface that it leads to.
    pub(super) association: Option<(String, String)>,
}

pub(super) fn allocate(call: &mut Call<'_>) -> Answer {
    let count = call.region.addresses.count(|_| true);
    Call::within(call.manners.quotas.addresses, count, "AddressLimitExceeded")?;
    let id = call.new_id("eipalloc");
    call.tag(&id)?;
    // Of RFC 2544's network for tests: no address of this kind is anybody's.
    let ip = loop {
        let [_, b, c, d] = call.draws.number("address").to_be_bytes();
        let ip = Ipv4Addr::new(198, 18 + (b & 1), c, d);
        if call.region.addresses.find(|other| other.ip == ip).is_none() {
            break ip;
        }
    };
    call.region.addresses.put(&id, call.now, Address { ip, association: None });
    Ok(map([("publicIp", ip.into()), ("domain", "vpc".into()), ("allocationId", id.into())]))
}

pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let all = call.region.addresses.all_at(call.seen);
    let items = all.map(|(id, address)| tree(call, id, address)).collect();
    let what = Describe {
        set: "addressesSet",
        ids: ("AllocationId", &["allocationId"]),
        unknown: "InvalidAllocationID.NotFound",
        filters: &[],
        is_paged: false,
    };
    call.describe(&what, items)
}

fn tree(call: &Call<'_>, id: &str, address: &Address) -> Tree {
    let interface = address.association.as_ref().map(|(_, interface)| interface);
    let of = interface.and_then(|interface| call.region.interfaces.at(interface, call.seen));
    map([
        ("publicIp", address.ip.into()),
        ("allocationId", id.into()),
        ("associationId", address.association.as_ref().map(|(own, _)| own).into()),
        ("domain", "vpc".into()),
        ("networkInterfaceId", interface.into()),
        ("privateIpAddress", of.map(|i| i.private_ip).into()),
        ("instanceId", of.and_then(|i| i.instance.as_ref()).into()),
        ("tagSet", call.tag_set(id)),
    ])
}

pub(super) fn associate(call: &mut Call<'_>) -> Answer {
    let id = call.query.must("AllocationId")?.to_owned();
    let address = call.known(|r| &r.addresses, &id, "InvalidAllocationID.NotFound")?;
    let to = match call.query.text("InstanceId") {
        Some(instance) => {
            call.known(|r| &r.instances, instance, "InvalidInstanceID.NotFound")?.interface
        }
        None => call.query.must("NetworkInterfaceId")?.to_owned(),
    };
    let code = "InvalidNetworkInterfaceID.NotFound";
    let interface = call.known(|r| &r.interfaces, &to, code)?;
    if let Some((own, at)) = &address.association
        && *at == to
    {
        return Ok(map([("associationId", own.into()), ("return", true.into())]));
    }
    let leads_there = |other: &Address| other.association.as_ref().is_some_and(|(_, at)| *at == to);
    let is_taken = call.region.addresses.find(leads_there).is_some();
    if (address.association.is_some() || is_taken) && !call.query.is("AllowReassociation") {
        let text = format!("resource {id} is already associated with another address or interface");
        return Err(Refusal::new("Resource.AlreadyAssociated", text));
    }
    let is_online = |gateway: &InternetGateway| gateway.vpc.as_ref() == Some(&interface.vpc);
    if call.region.internet_gateways.find(is_online).is_none() {
        let text = format!("Network {} is not attached to any internet gateway", interface.vpc);
        return Err(Refusal::new("Gateway.NotAttached", text));
    }
    let own = call.new_id("eipassoc");
    call.region.addresses.change(&id, call.now, |address| {
        address.association = Some((own.clone(), to));
    });
    Ok(map([("associationId", own.into()), ("return", true.into())]))
}

pub(super) fn disassociate(call: &mut Call<'_>) -> Answer {
    let wanted = call.query.must("AssociationId")?.to_owned();
    let is_it = |a: &Address| a.association.as_ref().is_some_and(|(own, _)| *own == wanted);
    // Documented as idempotent, and yet this was seen.
    let id = call
        .region
        .addresses
        .find(is_it)
        .ok_or_else(|| Refusal::not_found("InvalidAssociationID.NotFound", &wanted))?;
    call.region.addresses.change(&id, call.now, |address| address.association = None);
    done()
}

pub(super) fn release(call: &mut Call<'_>) -> Answer {
    let id = call.query.must("AllocationId")?.to_owned();
    let address = call.known(|r| &r.addresses, &id, "InvalidAllocationID.NotFound")?;
    if address.association.is_some() {
        let text = format!("Address {} is in use.", address.ip);
        return Err(Refusal::new("InvalidIPAddress.InUse", text));
    }
    call.region.addresses.remove(&id, call.now);
    call.untag(&id);
    done()
}

/// Takes the address away from an interface that goes.
pub(super) fn forget_interface(call: &mut Call<'_>, interface: &str) {
    let has = |a: &Address| a.association.as_ref().is_some_and(|(_, at)| at == interface);
    if let Some(id) = call.region.addresses.find(has) {
        call.region.addresses.change(&id, call.now, |address| address.association = None);
    }
}
