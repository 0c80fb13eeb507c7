//! The rules that let IPsec pass between the server and the two tunnels.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use serde::Serialize;

use super::kind::{At, Deps, Kind, Live, Made, Next, Ref};
use super::security_group::change_rules;
use super::vpn_connection;
use super::{Error, GatewaySecurityGroup, Hands, VpnConnection};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::Source;
use crate::diff::{Diff, Want};
use crate::world::{Direction, Rule, Rules, World};

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
}

const PROTOCOLS: [(&str, Option<i32>); 4] =
    [("50", None), ("51", None), ("udp", Some(500)), ("udp", Some(4500))];

fn wanted(connection: &vpn_connection::State) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    for tunnel in &connection.tunnels {
        for direction in [Direction::In, Direction::Out] {
            for (protocol, port) in PROTOCOLS {
                rules.insert(Rule {
                    direction,
                    protocol: protocol.to_owned(),
                    ports: port.map(|port| (port, port)),
                    cidr: Ipv4Net::from(tunnel.outside),
                });
            }
        }
    }
    rules
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
            let mut of_group: BTreeMap<&AwsId, Rules> = BTreeMap::new();
            for rule in &region.rules {
                if let (Some(_), Some(what)) = (rule.tags.node_key(stack, Self::NAME), &rule.rule) {
                    of_group
                        .entry(&rule.group)
                        .or_default()
                        .0
                        .insert(what.clone(), rule.id.clone());
                }
            }
            found.extend(of_group.into_iter().map(|(group, rules)| Live {
                address: Address::new(stack, Self::NAME, ""),
                id: Id::link(group, Self::NAME),
                place: region.place.clone(),
                state: State { rules },
            }));
        }
        found
    }

    fn diff(spec: &Spec, state: &State, deps: &Deps<'_>) -> Diff {
        let have = state.rules.set();
        match deps.look(&spec.connection) {
            Want::Is((_, connection)) => Diff::new().set("rules", &have, &wanted(connection)),
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
        let rules: Vec<Rule> = wanted(connection).into_iter().collect();
        change_rules(at.writer(hands)?, at.address, group, &rules, &[]).await?;
        let state = State { rules: rules.into_iter().map(|r| (r, AwsId::new(""))).collect() };
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
        let want = wanted(deps.must(&spec.connection)?.1);
        let have = state.rules.set();
        let missing: Vec<Rule> = want.difference(&have).cloned().collect();
        let extra: Vec<Rule> = have.difference(&want).cloned().collect();
        change_rules(at.writer(hands)?, at.address, id.owner(), &missing, &extra).await?;
        Ok(Next::Nothing)
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, state: &State) -> Result<Next, Error> {
        let extra: Vec<Rule> = state.rules.set().into_iter().collect();
        change_rules(at.writer(hands)?, at.address, id.owner(), &[], &extra).await?;
        Ok(Next::Nothing)
    }
}
