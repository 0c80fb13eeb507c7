//! What the instances that a stack launches have in common.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use aws_sdk_ec2::types::{
    HttpTokensState, InstanceMetadataOptionsRequest, InstanceType, ResourceType, ShutdownBehavior,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::hands::gone_is_fine;
use super::kind::{At, Live, Made, Next, Phase, tagged};
use super::{Error, Hands};
use crate::address::{AwsId, Id, Stack};
use crate::aws::{self, Action};
use crate::world::{Instance, Region, World};

/// What is seen of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// `pending`, `running`, `shutting-down`, `stopping`, `stopped`.
    pub status: String,
    /// The subnet it is in.
    pub subnet: Option<AwsId>,
    /// Its private address.
    pub private_ip: Option<Ipv4Addr>,
}

/// What is launched.
pub(super) struct Launch<'a> {
    /// AWS's public parameter that names the newest image.
    pub(super) image: &'a str,
    /// Such as `t3.micro`.
    pub(super) size: &'a str,
    /// The subnet.
    pub(super) subnet: &'a AwsId,
    /// Its security group; `None`: the VPC's default one.
    pub(super) group: Option<&'a AwsId>,
    /// Who may log in.
    pub(super) key_pair: Option<&'a str>,
    /// What it runs at its first start.
    pub(super) user_data: &'a str,
    /// What becomes of it when it shuts itself down.
    pub(super) on_shutdown: ShutdownBehavior,
}

pub(super) fn find(world: &World, stack: &Stack, kind: &'static str) -> Vec<Live<State>> {
    let state = |region: &Region, o: &Instance| {
        let mut own = region.interfaces.iter().filter(|i| i.instance.as_ref() == Some(&o.id));
        let primary = own.find(|i| i.device == 0);
        State {
            status: o.state.clone(),
            subnet: o.subnet.clone(),
            private_ip: primary.and_then(|i| i.private_ip),
        }
    };
    tagged(world, stack, kind, |r| &r.instances, state)
}

pub(super) fn phase(state: &State) -> Phase {
    match state.status.as_str() {
        "pending" => Phase::Pending,
        "shutting-down" => Phase::Going,
        _ => Phase::Ready,
    }
}

pub(super) async fn launch(
    hands: &Hands,
    at: &At<'_>,
    launch: &Launch<'_>,
) -> Result<Made<State>, Error> {
    let tags = aws::specification(ResourceType::Instance, at.address, &BTreeMap::new());
    let token = hands.token(at.address);
    let metadata =
        InstanceMetadataOptionsRequest::builder().http_tokens(HttpTokensState::Required).build();
    let reply = at
        .writer(hands)?
        .call(Action::RunInstances, |ec2| {
            ec2.run_instances()
                .client_token(&token)
                .image_id(format!("resolve:ssm:{}", launch.image))
                .instance_type(InstanceType::from(launch.size))
                .min_count(1)
                .max_count(1)
                .subnet_id(launch.subnet.as_str())
                .set_security_group_ids(launch.group.map(|group| vec![group.to_string()]))
                .set_key_name(launch.key_pair.map(str::to_owned))
                .user_data(BASE64.encode(launch.user_data))
                .instance_initiated_shutdown_behavior(launch.on_shutdown.clone())
                .metadata_options(metadata.clone())
                .tag_specifications(tags.clone())
                .send()
        })
        .await?;
    let lacks = Error::Reply { action: Action::RunInstances, lacks: "instance" };
    let id = reply.instances().first().and_then(|i| i.instance_id()).map(AwsId::new);
    Ok(Made { id: id.ok_or(lacks)?.into(), state: None })
}

pub(super) async fn terminate(hands: &Hands, at: &At<'_>, id: &Id) -> Result<Next, Error> {
    let id = id.owner().as_str();
    gone_is_fine(
        at.writer(hands)?
            .call(Action::TerminateInstances, |ec2| {
                ec2.terminate_instances().instance_ids(id).send()
            })
            .await,
    )?;
    Ok(Next::Look)
}
