//! Instances and their network interfaces.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::describe::Describe;
use super::{Answer, Call, addresses, done, networks};
use crate::sandbox::Moment;
use crate::sandbox::manners::Work;
use crate::sandbox::refusal::Refusal;
use crate::sandbox::stages::Stages;
use crate::sandbox::tree::{Tree, list, map};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Instance {
    pub(super) vpc: String,
    subnet: String,
    pub(super) interface: String,
    pub(super) stages: Stages,
    image: String,
    size: String,
    key_pair: Option<String>,
    pub(super) launched: Moment,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Interface {
    pub(super) vpc: String,
    pub(super) subnet: String,
    pub(super) instance: Option<String>,
    pub(super) private_ip: Ipv4Addr,
    pub(super) groups: Vec<String>,
    source_dest_check: bool,
}

impl Instance {
    pub(super) fn is_windows(&self) -> bool {
        self.image.to_lowercase().contains("windows")
    }
}

/// How long AWS goes on listing an instance that was terminated (EC2 user guide: about an hour).
const LISTED: std::time::Duration = std::time::Duration::from_hours(1);

pub(super) fn run(call: &mut Call<'_>) -> Answer {
    let id = call.once(launch)?;
    call.seen = call.now;
    let made = call.region.instances.now(&id).map(|one| tree(call, &id, one));
    Ok(map([
        ("reservationId", format!("r-{}", id.trim_start_matches("i-")).into()),
        ("ownerId", call.account.into()),
        ("instancesSet", list(made)),
    ]))
}

fn launch(call: &mut Call<'_>) -> Result<String, Refusal> {
    let image = call.query.must("ImageId")?.to_owned();
    let nic = call.query.items("NetworkInterface").into_iter().next().unwrap_or_default();
    let subnet = call.query.text("SubnetId").or_else(|| nic.text("SubnetId"));
    let subnet = subnet.ok_or_else(|| Refusal::missing("SubnetId"))?.to_owned();
    let within = call.known(|r| &r.subnets, &subnet, "InvalidSubnetID.NotFound")?;
    let mut groups: Vec<String> =
        call.query.list("SecurityGroupId").into_iter().map(str::to_owned).collect();
    for group in &groups {
        call.known(|r| &r.groups, group, "InvalidGroup.NotFound")?;
    }
    if groups.is_empty() {
        let mut all = call.region.groups.all();
        let default = all.find(|(_, g)| g.vpc == within.vpc && g.name == "default");
        groups.extend(default.map(|(id, _)| id.clone()));
    }
    let private_ip = networks::free_address(call, &subnet, &within)?;
    let (id, interface) = (call.new_id("i"), call.new_id("eni"));
    call.tag(&id)?;
    call.region.tags.put(&interface, call.now, BTreeMap::new());
    let stages = call.stages(Work::Launch, "pending", "running");
    let instance = Instance {
        vpc: within.vpc.clone(),
        subnet: subnet.clone(),
        interface: interface.clone(),
        stages,
        image,
        size: call.query.text("InstanceType").unwrap_or("m1.small").to_owned(),
        key_pair: call.query.text("KeyName").map(str::to_owned),
        launched: call.now,
    };
    call.region.instances.put(&id, call.now, instance);
    let nic = Interface {
        vpc: within.vpc,
        subnet,
        instance: Some(id.clone()),
        private_ip,
        groups,
        source_dest_check: true,
    };
    call.region.interfaces.put(&interface, call.now, nic);
    Ok(id)
}

pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let is_listed = |one: &Instance| {
        one.stages.at(call.seen) != "terminated" || call.seen.since(one.stages.end()) < LISTED
    };
    let all = call.region.instances.all_at(call.seen).filter(|(_, one)| is_listed(one));
    let items = all.map(|(id, one)| {
        map([
            ("reservationId", format!("r-{}", id.trim_start_matches("i-")).into()),
            ("ownerId", call.account.into()),
            ("instancesSet", list([tree(call, id, one)])),
        ])
    });
    let what = Describe {
        set: "reservationSet",
        ids: ("InstanceId", &["instancesSet", "instanceId"]),
        unknown: "InvalidInstanceID.NotFound",
        filters: &[
            ("instance-id", &["instancesSet", "instanceId"]),
            ("instance-state-name", &["instancesSet", "instanceState", "name"]),
            ("vpc-id", &["instancesSet", "vpcId"]),
            ("subnet-id", &["instancesSet", "subnetId"]),
        ],
        is_paged: true,
    };
    call.describe(&what, items.collect())
}

fn tree(call: &Call<'_>, id: &str, one: &Instance) -> Tree {
    let state = one.stages.at(call.seen);
    // EC2 API, «InstanceState»: the low byte.
    let code = match state {
        "pending" => 0,
        "running" => 16,
        "shutting-down" => 32,
        "terminated" => 48,
        _ => 80,
    };
    let nic = call.region.interfaces.at(&one.interface, call.seen);
    let mut all = call.region.addresses.all_at(call.seen);
    let leads_here =
        |a: &addresses::Address| a.association.as_ref().is_some_and(|(_, at)| *at == one.interface);
    let public = all.find(|(_, address)| leads_here(address)).map(|(_, address)| address.ip);
    // What is gone is in no network any more.
    let there = nic.map(|_| ());
    map([
        ("instanceId", id.into()),
        ("imageId", (&one.image).into()),
        ("instanceState", map([("code", code.into()), ("name", state.into())])),
        ("instanceType", (&one.size).into()),
        ("keyName", one.key_pair.as_ref().into()),
        ("launchTime", one.launched.into()),
        ("platform", one.is_windows().then_some("windows").into()),
        ("vpcId", there.map(|()| &one.vpc).into()),
        ("subnetId", there.map(|()| &one.subnet).into()),
        ("privateIpAddress", nic.map(|nic| nic.private_ip).into()),
        ("ipAddress", public.into()),
        ("sourceDestCheck", nic.map(|nic| nic.source_dest_check).into()),
        ("tagSet", call.tag_set(id)),
    ])
}

pub(super) fn terminate(call: &mut Call<'_>) -> Answer {
    let ids: Vec<String> = call.query.list("InstanceId").into_iter().map(str::to_owned).collect();
    let mut changes = Vec::new();
    for id in &ids {
        let one = call.known(|r| &r.instances, id, "InvalidInstanceID.NotFound")?;
        if one.stages.last() != "terminated" {
            let stages = call.stages(Work::Terminate, "shutting-down", "terminated");
            call.region.instances.change(id, call.now, |one| one.stages = stages);
        }
        changes.push(map([("instanceId", id.into())]));
    }
    Ok(map([("instancesSet", list(changes))]))
}

/// Lets go of what belonged to instances that have shut down by now.
pub(in crate::sandbox) fn bury(call: &mut Call<'_>) {
    let is_over = |one: &Instance| one.stages.at(call.now) == "terminated";
    let over = call.region.instances.all().filter(|(_, one)| is_over(one));
    let interfaces: Vec<String> = over.map(|(_, one)| one.interface.clone()).collect();
    for interface in interfaces {
        if call.region.interfaces.now(&interface).is_some() {
            addresses::forget_interface(call, &interface);
            call.region.interfaces.remove(&interface, call.now);
            call.untag(&interface);
        }
    }
}

pub(super) fn describe_interfaces(call: &mut Call<'_>) -> Answer {
    let all = call.page_of(&call.region.interfaces, "NetworkInterfaceId");
    let items = all.map(|(id, one)| interface_tree(call, id, one)).collect();
    let what = Describe {
        set: "networkInterfaceSet",
        ids: ("NetworkInterfaceId", &["networkInterfaceId"]),
        unknown: "InvalidNetworkInterfaceID.NotFound",
        filters: &[
            ("attachment.instance-id", &["attachment", "instanceId"]),
            ("group-id", &["groupSet", "groupId"]),
        ],
        is_paged: true,
    };
    call.describe(&what, items)
}

fn interface_tree(call: &Call<'_>, id: &str, one: &Interface) -> Tree {
    let group = |id: &String| {
        let name = call.region.groups.at(id, call.seen).map(|group| &group.name);
        map([("groupId", id.into()), ("groupName", name.into())])
    };
    let attachment = one.instance.as_ref().map(|instance| {
        map([
            ("attachmentId", format!("eni-attach-{}", id.trim_start_matches("eni-")).into()),
            ("instanceId", instance.into()),
            ("deviceIndex", 0.into()),
            ("status", "attached".into()),
            ("deleteOnTermination", true.into()),
        ])
    });
    map([
        ("networkInterfaceId", id.into()),
        ("vpcId", (&one.vpc).into()),
        ("subnetId", (&one.subnet).into()),
        ("ownerId", call.account.into()),
        ("status", "in-use".into()),
        ("privateIpAddress", one.private_ip.into()),
        ("sourceDestCheck", one.source_dest_check.into()),
        ("groupSet", list(one.groups.iter().map(group))),
        ("attachment", attachment.into()),
        ("tagSet", call.tag_set(id)),
    ])
}

pub(super) fn modify_interface(call: &mut Call<'_>) -> Answer {
    let id = call.query.must("NetworkInterfaceId")?.to_owned();
    call.known(|r| &r.interfaces, &id, "InvalidNetworkInterfaceID.NotFound")?;
    let groups: Vec<String> =
        call.query.list("SecurityGroupId").into_iter().map(str::to_owned).collect();
    for group in &groups {
        call.known(|r| &r.groups, group, "InvalidGroup.NotFound")?;
    }
    let check = call.query.text("SourceDestCheck.Value").map(|text| text == "true");
    call.region.interfaces.change(&id, call.now, |one| {
        if !groups.is_empty() {
            one.groups = groups;
        }
        one.source_dest_check = check.unwrap_or(one.source_dest_check);
    });
    done()
}

/// The images are those that AWS's public parameters name.
#[expect(clippy::unnecessary_wraps, reason = "it is one of many actions")]
pub(super) fn describe_images(_: &mut Call<'_>) -> Answer {
    Ok(map([("imagesSet", list([]))]))
}

/// No key pair is known here, so there is never a password.
pub(super) fn password_data(call: &mut Call<'_>) -> Answer {
    let id = call.query.must("InstanceId")?.to_owned();
    call.known(|r| &r.instances, &id, "InvalidInstanceID.NotFound")?;
    Ok(map([
        ("instanceId", id.into()),
        ("timestamp", call.now.into()),
        ("passwordData", "".into()),
    ]))
}
