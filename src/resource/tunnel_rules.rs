//! The rules that let IPsec pass between the server and the two tunnels.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Serialize;

use super::kind::{At, Deps, Kind, Live, Made, Next, Ref};
use super::security_group::{change_rules, sorted};
use super::vpn_connection;
use super::{Error, GatewaySecurityGroup, Hands, VpnConnection};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::Source;
use crate::diff::{Diff, Want};
use crate::world::{Direction, GroupRule, Rule, Rules, World};

/// IP 50, IP 51, UDP 500 and UDP 4500, to and from both tunnels; ends with its group.
///
/// UDP 4500 is not in the guide's list, and is what carries everything when the server stands
/// behind an Elastic IP (AWS VPN guide, «Firewall rules for an AWS Site-to-Site VPN customer
/// gateway device»).
#[derive(Debug)]
pub struct TunnelRules;

/// What is declared of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The group they are in.
    pub group: Ref<GatewaySecurityGroup>,
    /// The connection whose tunnels they are for.
    pub connection: Ref<VpnConnection>,
}

/// What is seen of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// The rules that are there, with their ids.
    pub rules: Rules,
    /// Other rules in the group: one that is wanted too is there already.
    pub others: BTreeSet<Rule>,
}

const PROTOCOLS: [(&str, Option<i32>); 4] =
    [("50", None), ("51", None), ("udp", Some(500)), ("udp", Some(4500))];

impl TunnelRules {
    /// Returns the rules for AWS's end of one tunnel.
    #[must_use]
    pub fn of(outside: Ipv4Addr) -> BTreeSet<Rule> {
        let both = [Direction::In, Direction::Out].into_iter();
        let all = both
            .flat_map(|direction| PROTOCOLS.map(|(protocol, port)| (direction, protocol, port)));
        let rule = |(direction, protocol, port): (_, &str, Option<i32>)| Rule {
            direction,
            protocol: protocol.to_owned(),
            ports: port.map(|port| (port, port)),
            cidr: Ipv4Net::from(outside),
        };
        all.map(rule).collect()
    }
}

fn wanted(connection: &vpn_connection::State) -> BTreeSet<Rule> {
    connection.tunnels.iter().flat_map(|tunnel| TunnelRules::of(tunnel.outside)).collect()
}

impl Kind for TunnelRules {
    const NAME: &'static str = "tunnel-rules";
    const READS: &'static [Source] = &[Source::SecurityGroups, Source::SecurityGroupRules];
    const GOES_WITH_OWNER: bool = true;
    type Spec = Spec;
    type State = State;

    fn needs(spec: &Spec) -> Vec<Address> {
        vec![spec.group.0.clone(), spec.connection.0.clone()]
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        let mut found = Vec::new();
        for region in &world.regions {
            let is_own = |rule: &GroupRule| rule.tags.node_key(stack, Self::NAME).is_some();
            let groups = region.groups.iter();
            found.extend(groups.filter_map(|group| {
                group.tags.node_key(stack, GatewaySecurityGroup::NAME)?;
                let (rules, others) = sorted(region, &group.id, is_own);
                (!rules.0.is_empty()).then(|| Live {
                    address: Address::new(stack, Self::NAME, ""),
                    id: Id::link(&group.id, Self::NAME),
                    place: region.place.clone(),
                    state: State { rules, others },
                })
            }));
        }
        found
    }

    fn diff(spec: &Spec, state: &State, deps: &Deps<'_>) -> Diff {
        let have = state.rules.set();
        match deps.look(&spec.connection) {
            Want::Is((_, connection)) => {
                Diff::new().set("rules", &have, &(&wanted(connection) - &state.others))
            }
            Want::KnownAfter(address) => {
                Diff::new().field("rules", have.len(), Want::<u8>::KnownAfter(address))
            }
        }
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        deps: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let (group, _) = deps.must(&spec.group)?;
        let (_, connection) = deps.must(&spec.connection)?;
        let (rules, none) = (wanted(connection), BTreeSet::new());
        change_rules(at.writer(hands)?, at.address, group, &rules, &none).await?;
        let rules = rules.into_iter().map(|rule| (rule, AwsId::new(""))).collect();
        let state = State { rules, others: none };
        Ok(Made { id: Id::link(group, Self::NAME), state: Some(state) })
    }

    async fn update(
        hands: &Hands,
        at: &At<'_>,
        id: &Id,
        spec: &Spec,
        state: &State,
        deps: &Deps<'_>,
    ) -> Result<Next, Error> {
        let want = &wanted(deps.must(&spec.connection)?.1) - &state.others;
        let have = state.rules.set();
        let (missing, extra) = (&want - &have, &have - &want);
        change_rules(at.writer(hands)?, at.address, id.owner(), &missing, &extra).await?;
        Ok(Next::Nothing)
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, state: &State) -> Result<Next, Error> {
        let (none, extra) = (BTreeSet::new(), state.rules.set());
        change_rules(at.writer(hands)?, at.address, id.owner(), &none, &extra).await?;
        Ok(Next::Nothing)
    }
}
