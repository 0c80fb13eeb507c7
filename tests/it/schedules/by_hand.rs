//! What a person changes by hand while a stack lives: the next run puts it back or says so.

use cgw::sandbox::host::Tamper;
use cgw::sandbox::{Draws, Sandbox, Seed};

/// The site's network, to which a route of the cloud's table leads.
const SITE: &str = "172.31.0.0/16";

/// Changes something in AWS, and says what.
pub(super) fn in_aws(sandbox: &Sandbox, seed: &Seed, draws: &mut Draws) -> String {
    let ask =
        |action: &str, form: &str, path: &[&str]| sandbox.by_hand(action, form, path).unwrap();
    let Seed { cloud_table, interface, cloud_vpc, .. } = seed;
    match draws.number("by hand") % 4 {
        0 => {
            let form = format!("RouteTableId={cloud_table}&DestinationCidrBlock={SITE}");
            ask("DeleteRoute", &form, &[]);
            "the route is deleted".to_owned()
        }
        1 => {
            let form = format!("ResourceId.1={cloud_table}&Tag.1.Key=cgw:{cloud_vpc}:route/{SITE}");
            ask("DeleteTags", &form, &[]);
            "the tag of the route is removed".to_owned()
        }
        2 => {
            let form = format!("NetworkInterfaceId={interface}&SourceDestCheck.Value=true");
            ask("ModifyNetworkInterfaceAttribute", &form, &[]);
            "the check of the interface is switched on".to_owned()
        }
        _ => {
            let nodes = sandbox.nodes().unwrap();
            let node = (cloud_vpc.clone(), "gateway-security-group".to_owned());
            let Some(group) = nodes.get(&node).and_then(|ids| ids.first()) else {
                return "there is no group to change".to_owned();
            };
            for port in [500, 4500] {
                for peer in peers(sandbox) {
                    let form = format!(
                        "GroupId={group}&IpPermissions.1.IpProtocol=udp&IpPermissions.1.FromPort={port}\
                         &IpPermissions.1.ToPort={port}&IpPermissions.1.IpRanges.1.CidrIp={peer}/32"
                    );
                    ask("RevokeSecurityGroupIngress", &form, &[]);
                }
            }
            format!("rules of {group} are revoked")
        }
    }
}

/// Changes a rule on the server, and says what; a setting that is changed stays so for good.
pub(super) fn on_server(sandbox: &Sandbox, seed: &Seed, draws: &mut Draws) -> String {
    let peers = peers(sandbox);
    let number = draws.number("by hand") as usize % peers.len().max(1);
    let Some(peer) = peers.get(number).and_then(|peer| peer.parse().ok()) else {
        return "there is no rule to change".to_owned();
    };
    let is_off = draws.percent("by hand", 50);
    let tamper = if is_off { Tamper::RuleDisabled(peer) } else { Tamper::RuleDeleted(peer) };
    sandbox.tamper(&seed.instance, &tamper).unwrap();
    format!("on the server: {tamper:?}")
}

/// The addresses of the tunnels, of whomever.
fn peers(sandbox: &Sandbox) -> Vec<String> {
    let path = ["vpnConnectionSet", "vgwTelemetry", "outsideIpAddress"];
    sandbox.by_hand("DescribeVpnConnections", "", &path).unwrap()
}
