//! The Site-to-Site VPN connection with its two tunnels.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{
    self as sdk, ModifyVpnTunnelOptionsSpecification, ResourceType,
    VpnConnectionOptionsSpecification, VpnTunnelOptionsSpecification,
};
use serde::Serialize;

use super::hands::gone_is_fine;
use super::kind::{At, Deps, Kind, Live, Made, Next, Phase, Ref, tagged};
use super::{CustomerGateway, Error, Hands, VpnGateway};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{self, Action, Source, Writer};
use crate::diff::Diff;
use crate::secret::Secret;
use crate::tunnel::{Crypto, PHASE1_SECONDS, PHASE2_SECONDS, Suites, Tunnel, Turn};
use crate::world::{self, Connection, Telemetry, World};

/// A static VPN connection; the options of both tunnels are set explicitly, the keys made here.
#[derive(Debug)]
pub struct VpnConnection;

/// What is declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// The VPC's end.
    pub gateway: Ref<VpnGateway>,
    /// The server's end.
    pub customer: Ref<CustomerGateway>,
    /// Which suites both tunnels accept.
    pub crypto: Crypto,
    /// The only tunnel that is to be changed now, if the other one carries the traffic meanwhile.
    pub turn: Option<Turn>,
    /// Whether the traffic may be cut off: where it is, nobody but the server's end brings it back.
    pub may_cut_off: bool,
}

impl Spec {
    /// Says whether a tunnel may be changed now.
    fn has_turn(&self, tunnel: &Tunnel) -> bool {
        self.turn.as_ref().is_none_or(|turn| turn.outside == tunnel.outside)
    }

    /// Says whether the change of a tunnel takes the last one down that carries traffic, and may not:
    /// what was approved when none did, may come upon one that was brought up meanwhile.
    ///
    /// Whose turn it is was switched off on the server, which AWS may not show yet.
    fn cuts_off(&self, state: &State, tunnel: &Tunnel) -> bool {
        !self.may_change_any() && state.tunnels.iter().filter(|o| state.is_up(o)).eq([tunnel])
    }

    fn may_change_any(&self) -> bool {
        self.may_cut_off || self.turn.is_some()
    }

    /// Returns the key that a tunnel is still to get.
    fn new_key(&self, tunnel: &Tunnel) -> Option<&Secret> {
        let turn = self.turn.as_ref().filter(|turn| turn.outside == tunnel.outside)?;
        turn.key.as_ref().filter(|key| tunnel.key.as_ref() != Some(key))
    }
}

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// `pending`, `available`, `modifying`, `deleting`.
    pub status: String,
    /// The customer gateway.
    pub customer: AwsId,
    /// The VPN gateway.
    pub gateway: Option<AwsId>,
    /// Whether it takes its routes from static prefixes.
    pub is_static: bool,
    /// Whether it has any static prefix yet.
    pub has_prefixes: bool,
    /// Its tunnels, sorted by AWS's address.
    pub tunnels: Vec<Tunnel>,
    /// What AWS measured on them.
    pub telemetry: Vec<Telemetry>,
    /// AWS's configuration file: holds the keys.
    #[serde(skip)]
    pub configuration: Option<Secret>,
}

impl From<&Connection> for State {
    fn from(o: &Connection) -> Self {
        Self {
            status: o.state.clone(),
            customer: o.customer.clone(),
            gateway: o.gateway.clone(),
            is_static: o.is_static,
            has_prefixes: !o.prefixes.is_empty(),
            telemetry: o.telemetry.clone(),
            tunnels: o.tunnels.clone(),
            configuration: o.configuration.clone(),
        }
    }
}

impl State {
    /// Says whether a tunnel carries traffic.
    fn is_up(&self, tunnel: &Tunnel) -> bool {
        self.telemetry.iter().any(|t| t.outside == tunnel.outside && t.is_up)
    }

    /// Says whether any tunnel does.
    #[must_use]
    pub fn carries_traffic(&self) -> bool {
        self.tunnels.iter().any(|tunnel| self.is_up(tunnel))
    }
}

impl Kind for VpnConnection {
    const NAME: &'static str = "vpn-connection";
    const READS: &'static [Source] = &[Source::VpnConnections];
    type Spec = Spec;
    type State = State;

    fn needs(spec: &Spec) -> Vec<Address> {
        vec![spec.gateway.0.clone(), spec.customer.0.clone()]
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        tagged(world, stack, Self::NAME, |r| &r.connections, |_, o| o.into())
    }

    fn worth(state: &State) -> usize {
        let up = state.tunnels.iter().filter(|tunnel| state.is_up(tunnel)).count();
        up + usize::from(state.has_prefixes)
    }

    fn phase(state: &State) -> Phase {
        match state.status.as_str() {
            "pending" | "modifying" => Phase::Pending,
            "deleting" => Phase::Going,
            // Its tunnels are what the rest waits for.
            _ if state.tunnels.len() < 2 => Phase::Pending,
            _ => Phase::Ready,
        }
    }

    fn diff(spec: &Spec, state: &State, deps: &Deps<'_>) -> Diff {
        let suites = Suites::of(spec.crypto);
        let gateway = state.gateway.as_ref().map(ToString::to_string).unwrap_or_default();
        let word = |is_static| if is_static { "static" } else { "dynamic" };
        let mut diff = Diff::new()
            .fixed("customer gateway", &state.customer, deps.id(&spec.customer))
            .fixed("vpn gateway", gateway, deps.id(&spec.gateway))
            .fixed("routing", word(state.is_static), word(true));
        // Both tunnels differ in the same, as a rule.
        let tunnels = state.tunnels.iter().filter(|tunnel| spec.has_turn(tunnel));
        let mut found: Vec<&Suites> = tunnels.map(|tunnel| &tunnel.suites).collect();
        found.dedup();
        for found in found {
            diff = diff.field("suites", found, &suites);
        }
        for tunnel in state.tunnels.iter().filter(|tunnel| spec.new_key(tunnel).is_some()) {
            diff = diff.field("key", format_args!("that of {}", tunnel.outside), "a new one");
        }
        diff
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        deps: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let (gateway, _) = deps.must(&spec.gateway)?;
        let (customer, _) = deps.must(&spec.customer)?;
        let (first, second) = {
            let mut dice = hands.dice.borrow_mut();
            (dice.key(), dice.key())
        };
        let suites = Suites::of(spec.crypto);
        let options = VpnConnectionOptionsSpecification::builder()
            .static_routes_only(true)
            .tunnel_options(new_tunnel(&suites, &first))
            .tunnel_options(new_tunnel(&suites, &second))
            .build();
        let tags = aws::specification(ResourceType::VpnConnection, at.address, &BTreeMap::new());
        let reply = at
            .writer(hands)?
            .call(Action::CreateVpnConnection, |ec2| {
                ec2.create_vpn_connection()
                    .r#type("ipsec.1")
                    .vpn_gateway_id(gateway.as_str())
                    .customer_gateway_id(customer.as_str())
                    .options(options.clone())
                    .tag_specifications(tags.clone())
                    .send()
            })
            .await?;
        let lacks = Error::Reply { action: Action::CreateVpnConnection, lacks: "connection" };
        let made = reply.vpn_connection().and_then(world::connection).ok_or(lacks)?;
        // The same pair of gateways may answer with a connection that somebody else has.
        if made.tags.stack() != Some(at.stack().as_str()) {
            return Err(Error::Taken(made.id));
        }
        Ok(Made { id: made.id.clone().into(), state: Some((&made).into()) })
    }

    /// One tunnel a run of the engine's loop: AWS takes only one, and the other carries traffic.
    async fn update(
        hands: &Hands,
        at: &At<'_>,
        id: &Id,
        spec: &Spec,
        state: &State,
        _: &Deps<'_>,
    ) -> Result<Next, Error> {
        let suites = Suites::of(spec.crypto);
        let Some(tunnel) = next_to_change(spec, state) else { return Ok(Next::Nothing) };
        let writer = at.writer(hands)?;
        let may_be_changed = async || -> Result<bool, Error> {
            if spec.may_change_any() {
                return Ok(true);
            }
            let now = State { telemetry: telemetry(writer, id).await?, ..state.clone() };
            Ok(!spec.cuts_off(&now, tunnel))
        };
        let (connection, outside) = (id.owner().as_str(), tunnel.outside.to_string());
        let changed = writer.call_while(Action::ModifyVpnTunnelOptions, may_be_changed, |ec2| {
            ec2.modify_vpn_tunnel_options()
                .vpn_connection_id(connection)
                .vpn_tunnel_outside_ip_address(&outside)
                .tunnel_options(changed_tunnel(&suites, spec.new_key(tunnel)))
                .send()
        });
        match changed.await? {
            Some(_) => Ok(Next::Look),
            None => Err(Error::Carries(tunnel.outside)),
        }
    }

    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, state: &State) -> Result<Next, Error> {
        let id = id.owner().as_str();
        if Self::phase(state) != Phase::Going {
            gone_is_fine(
                at.writer(hands)?
                    .call(Action::DeleteVpnConnection, |ec2| {
                        ec2.delete_vpn_connection().vpn_connection_id(id).send()
                    })
                    .await,
            )?;
        }
        Ok(Next::Look)
    }
}

/// Reads which tunnels of a connection carry traffic at this moment.
async fn telemetry(writer: &Writer, id: &Id) -> Result<Vec<Telemetry>, Error> {
    let reply = writer
        .call(Action::DescribeVpnConnections, |ec2| {
            ec2.describe_vpn_connections().vpn_connection_ids(id.owner().as_str()).send()
        })
        .await?;
    let found = reply.vpn_connections().first().and_then(world::connection);
    found
        .map(|o| o.telemetry)
        .ok_or(Error::Reply { action: Action::DescribeVpnConnections, lacks: "connection" })
}

/// The tunnel whose suites or key differ, one that carries no traffic first.
fn next_to_change<'a>(spec: &Spec, state: &'a State) -> Option<&'a Tunnel> {
    let suites = Suites::of(spec.crypto);
    let differs =
        |t: &&Tunnel| spec.has_turn(t) && (t.suites != suites || spec.new_key(t).is_some());
    state.tunnels.iter().filter(differs).min_by_key(|tunnel| state.is_up(tunnel))
}

/// Sets the same options in a builder that AWS has twice under two names: for a new tunnel and for
/// one that exists.
macro_rules! tunnel_options {
    ($builder:expr, $suites:expr) => {{
        let seconds = |span: u32| i32::try_from(span).expect("a lifetime is below 2^31 seconds");
        let mut options = $builder
            .phase1_lifetime_seconds(seconds(PHASE1_SECONDS))
            .phase2_lifetime_seconds(seconds(PHASE2_SECONDS));
        for value in &$suites.phase1_ciphers {
            let item = sdk::Phase1EncryptionAlgorithmsRequestListValue::builder().value(value);
            options = options.phase1_encryption_algorithms(item.build());
        }
        for value in &$suites.phase1_hashes {
            let item = sdk::Phase1IntegrityAlgorithmsRequestListValue::builder().value(value);
            options = options.phase1_integrity_algorithms(item.build());
        }
        for value in &$suites.phase1_groups {
            let item = sdk::Phase1DhGroupNumbersRequestListValue::builder().value(*value);
            options = options.phase1_dh_group_numbers(item.build());
        }
        for value in &$suites.phase2_ciphers {
            let item = sdk::Phase2EncryptionAlgorithmsRequestListValue::builder().value(value);
            options = options.phase2_encryption_algorithms(item.build());
        }
        for value in &$suites.phase2_hashes {
            let item = sdk::Phase2IntegrityAlgorithmsRequestListValue::builder().value(value);
            options = options.phase2_integrity_algorithms(item.build());
        }
        for value in &$suites.phase2_groups {
            let item = sdk::Phase2DhGroupNumbersRequestListValue::builder().value(*value);
            options = options.phase2_dh_group_numbers(item.build());
        }
        for value in &$suites.ike_versions {
            let item = sdk::IkeVersionsRequestListValue::builder().value(value);
            options = options.ike_versions(item.build());
        }
        options
    }};
}

fn new_tunnel(suites: &Suites, key: &Secret) -> VpnTunnelOptionsSpecification {
    tunnel_options!(VpnTunnelOptionsSpecification::builder(), suites)
        .pre_shared_key(key.expose())
        .build()
}

fn changed_tunnel(suites: &Suites, key: Option<&Secret>) -> ModifyVpnTunnelOptionsSpecification {
    tunnel_options!(ModifyVpnTunnelOptionsSpecification::builder(), suites)
        .set_pre_shared_key(key.map(|key| key.expose().to_owned()))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn tunnel(last: u8, crypto: Crypto) -> Tunnel {
        Tunnel { outside: Ipv4Addr::new(203, 0, 113, last), key: None, suites: Suites::of(crypto) }
    }

    fn state(tunnels: Vec<Tunnel>, up: Vec<bool>) -> State {
        State {
            status: "available".to_owned(),
            customer: AwsId::new("cgw-1"),
            gateway: Some(AwsId::new("vgw-1")),
            is_static: true,
            has_prefixes: true,
            telemetry: tunnels
                .iter()
                .zip(up)
                .map(|(tunnel, is_up)| Telemetry {
                    outside: tunnel.outside,
                    is_up,
                    since: None,
                    message: String::new(),
                })
                .collect(),
            tunnels,
            configuration: None,
        }
    }

    fn spec(crypto: Crypto, turn: Option<Turn>) -> Spec {
        let stack = "office".parse().unwrap();
        let (gateway, customer) = (Ref::only(&stack), Ref::only(&stack));
        Spec { gateway, customer, crypto, turn, may_cut_off: false }
    }

    #[test]
    fn only_the_tunnel_whose_turn_it_is_changes_until_it_has_its_key_and_its_suites() {
        let key = Secret::new("the.new.key");
        let outside = Ipv4Addr::new(203, 0, 113, 2);
        let rekeyed = |crypto| spec(crypto, Some(Turn { outside, key: Some(key.clone()) }));
        let mut both = vec![tunnel(1, Crypto::Guide), tunnel(2, Crypto::Guide)];
        let next = |crypto, tunnels: &[Tunnel]| {
            let state = state(tunnels.to_vec(), vec![false, true]);
            next_to_change(&rekeyed(crypto), &state).map(|t| t.outside)
        };
        assert_eq!(next(Crypto::Guide, &both), Some(outside));
        both[1].key = Some(key.clone());
        assert_eq!(next(Crypto::Guide, &both), None);
        assert_eq!(next(Crypto::Strict, &both), Some(outside));
        both[1].suites = Suites::of(Crypto::Strict);
        assert_eq!(next(Crypto::Strict, &both), None);
    }

    #[test]
    fn the_last_tunnel_that_carries_traffic_is_changed_only_where_that_is_allowed() {
        let both = vec![tunnel(1, Crypto::Guide), tunnel(2, Crypto::Guide)];
        let plain = spec(Crypto::Strict, None);
        let allowed = Spec { may_cut_off: true, ..plain.clone() };
        let turn = Turn { outside: both[1].outside, key: None };
        let proven = spec(Crypto::Strict, Some(turn));
        let cut = |spec: &Spec, up| spec.cuts_off(&state(both.clone(), up), &both[1]);
        assert!(cut(&plain, vec![false, true]));
        assert!(!cut(&allowed, vec![false, true]));
        assert!(!cut(&proven, vec![false, true]));
        for up in [vec![true, true], vec![true, false], vec![false, false]] {
            assert!(!cut(&plain, up));
        }
    }

    #[test]
    fn the_tunnel_without_traffic_changes_first_and_a_right_one_never() {
        let both = vec![tunnel(1, Crypto::Guide), tunnel(2, Crypto::Guide)];
        let next = |s: &State| {
            next_to_change(&spec(Crypto::Strict, None), s).map(|t| t.outside.octets()[3])
        };
        assert_eq!(next(&state(both.clone(), vec![true, false])), Some(2));
        assert_eq!(next(&state(both, vec![false, true])), Some(1));
        let half = vec![tunnel(1, Crypto::Guide), tunnel(2, Crypto::Strict)];
        assert_eq!(next(&state(half, vec![true, false])), Some(1));
        let done = vec![tunnel(1, Crypto::Strict), tunnel(2, Crypto::Strict)];
        assert_eq!(next(&state(done, vec![true, false])), None);
    }
}
