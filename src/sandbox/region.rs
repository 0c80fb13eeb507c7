//! One region of the simulated account: its objects, and the actions that read and change them.

mod addresses;
mod configuration;
mod connections;
mod describe;
mod gateways;
mod groups;
mod instances;
mod machines;
mod networks;
mod ownership;
mod review;
mod routes;
mod tags;
mod tunnels;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::manners::{Manners, Work};
use super::query::Query;
use super::refusal::Refusal;
use super::stages::Stages;
use super::table::Table;
use super::tree::Tree;
use super::{Draws, Moment};

pub(super) use connections::{End, Ends, carrying, notice, seen_carrying};
pub(super) use instances::bury;

/// What an action answers.
pub(super) type Answer = Result<Tree, Refusal>;

/// The objects of a region.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Region {
    vpcs: Table<networks::Vpc>,
    internet_gateways: Table<networks::InternetGateway>,
    subnets: Table<networks::Subnet>,
    route_tables: Table<routes::RouteTable>,
    groups: Table<groups::Group>,
    rules: Table<groups::Rule>,
    interfaces: Table<instances::Interface>,
    instances: Table<instances::Instance>,
    addresses: Table<addresses::Address>,
    vpn_gateways: Table<gateways::VpnGateway>,
    customer_gateways: Table<gateways::CustomerGateway>,
    connections: Table<connections::Connection>,
    tags: Table<BTreeMap<String, String>>,
    /// What was answered to a client token, and what was asked with it.
    tokens: BTreeMap<String, (String, String)>,
}

/// One call, and all that its answer depends on.
pub(super) struct Call<'a> {
    pub(super) region: &'a mut Region,
    pub(super) query: &'a Query,
    pub(super) manners: &'a Manners,
    pub(super) draws: &'a mut Draws,
    /// The account's number.
    pub(super) account: &'a str,
    pub(super) now: Moment,
    /// Reads show what was then.
    pub(super) seen: Moment,
    /// The ends of tunnels that are not AWS's.
    pub(super) ends: &'a Ends,
}

/// What an action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Reads,
    Changes,
}

/// An action by its name.
struct Action {
    name: &'static str,
    effect: Effect,
    /// Whether it can be tried without doing it.
    has_dry_run: bool,
    act: fn(&mut Call<'_>) -> Answer,
}

macro_rules! actions {
    ($($effect:ident { $($name:ident = $act:path;)* })*) => {
        const ACTIONS: &[Action] = &[$($(Action {
            name: stringify!($name),
            effect: Effect::$effect,
            has_dry_run: !matches!(
                stringify!($name).as_bytes(),
                b"CreateVpnConnectionRoute" | b"DeleteVpnConnectionRoute"
            ),
            act: $act,
        },)*)*];
    };
}

actions! {
    Reads {
        DescribeAddresses = addresses::describe;
        DescribeAvailabilityZones = networks::describe_zones;
        DescribeCustomerGateways = gateways::describe_customers;
        DescribeImages = instances::describe_images;
        DescribeInstances = instances::describe;
        DescribeInternetGateways = networks::describe_internet_gateways;
        DescribeNetworkInterfaces = instances::describe_interfaces;
        DescribeRegions = networks::describe_regions;
        DescribeRouteTables = routes::describe;
        DescribeSecurityGroupRules = groups::describe_rules;
        DescribeSecurityGroups = groups::describe;
        DescribeSubnets = networks::describe_subnets;
        DescribeTags = tags::describe;
        DescribeTransitGatewayVpcAttachments = networks::describe_transit;
        DescribeVpcs = networks::describe_vpcs;
        DescribeVpnConnections = connections::describe;
        DescribeVpnGateways = gateways::describe;
        GetActiveVpnTunnelStatus = connections::active_status;
        GetPasswordData = instances::password_data;
        GetVpnConnectionDeviceSampleConfiguration = configuration::sample;
        GetVpnConnectionDeviceTypes = configuration::types;
    }
    Changes {
        AllocateAddress = addresses::allocate;
        AssociateAddress = addresses::associate;
        AssociateRouteTable = routes::associate;
        AttachInternetGateway = networks::attach_internet_gateway;
        AttachVpnGateway = gateways::attach;
        AuthorizeSecurityGroupEgress = groups::authorize_egress;
        AuthorizeSecurityGroupIngress = groups::authorize_ingress;
        CreateCustomerGateway = gateways::create_customer;
        CreateInternetGateway = networks::create_internet_gateway;
        CreateRoute = routes::create_route;
        CreateRouteTable = routes::create;
        CreateSecurityGroup = groups::create;
        CreateSubnet = networks::create_subnet;
        CreateTags = tags::create;
        CreateVpc = networks::create_vpc;
        CreateVpnConnection = connections::create;
        CreateVpnConnectionRoute = connections::create_prefix;
        CreateVpnGateway = gateways::create;
        DeleteCustomerGateway = gateways::delete_customer;
        DeleteRoute = routes::delete_route;
        DeleteRouteTable = routes::delete;
        DeleteSecurityGroup = groups::delete;
        DeleteSubnet = networks::delete_subnet;
        DeleteTags = tags::delete;
        DeleteVpnConnection = connections::delete;
        DeleteVpnConnectionRoute = connections::delete_prefix;
        DeleteVpnGateway = gateways::delete;
        DetachVpnGateway = gateways::detach;
        DisableVgwRoutePropagation = routes::disable_propagation;
        DisassociateAddress = addresses::disassociate;
        DisassociateRouteTable = routes::disassociate;
        EnableVgwRoutePropagation = routes::enable_propagation;
        ModifyNetworkInterfaceAttribute = instances::modify_interface;
        ModifyVpnTunnelOptions = connections::modify_tunnel;
        ReleaseAddress = addresses::release;
        ReplaceRoute = routes::replace_route;
        RevokeSecurityGroupEgress = groups::revoke_egress;
        RevokeSecurityGroupIngress = groups::revoke_ingress;
        RunInstances = instances::run;
        TerminateInstances = instances::terminate;
    }
}

/// Says what an action does, if there is such an action.
pub(super) fn effect(action: &str) -> Option<Effect> {
    ACTIONS.iter().find(|one| one.name == action).map(|one| one.effect)
}

impl Call<'_> {
    /// Does an action.
    pub(super) fn act(&mut self, action: &str) -> Answer {
        let Some(action) = ACTIONS.iter().find(|one| one.name == action) else {
            let text = format!("The action {action} is not valid for this web service.");
            return Err(Refusal::new("InvalidAction", text));
        };
        if self.manners.denied.contains(action.name) {
            let text = format!(
                "You are not authorized to perform this operation. User: \
                 arn:aws:iam::{}:user/sandbox is not authorized to perform: ec2:{} because no \
                 identity-based policy allows the ec2:{} action. Encoded authorization failure \
                 message: c2FuZGJveA",
                self.account, action.name, action.name
            );
            return Err(Refusal::with_status(403, "UnauthorizedOperation", text));
        }
        if action.has_dry_run && self.query.is("DryRun") {
            let text = "Request would have succeeded, but DryRun flag is set.";
            return Err(Refusal::with_status(412, "DryRunOperation", text));
        }
        (action.act)(self)
    }

    /// Draws an id.
    fn new_id(&mut self, prefix: &str) -> String {
        format!("{prefix}-{}", self.draws.digits(prefix))
    }

    /// Gives what was just made its tags.
    fn tag(&mut self, id: &str) -> Result<(), Refusal> {
        let tags = self.query.tags()?;
        self.region.tags.put(id, self.now, tags);
        Ok(())
    }

    /// Forgets what is gone.
    fn untag(&mut self, id: &str) {
        self.region.tags.remove(id, self.now);
    }

    /// Returns the tags of an object as a read shows them.
    fn tag_set(&self, id: &str) -> Tree {
        tags::set(self.region.tags.at(id, self.seen))
    }

    /// Goes from one state to another, in the time that this takes.
    fn stages(&mut self, work: Work, passing: &str, lasting: &str) -> Stages {
        let end = self.end_of(work);
        Stages::through(&[(self.now, passing), (end, lasting)])
    }

    /// Draws when something that begins now will be done.
    fn end_of(&mut self, work: Work) -> Moment {
        if !self.manners.is_slow {
            return self.now;
        }
        let name = format!("{work:?}");
        let [mostly, seldom] = work.takes();
        let is_seldom = self.draws.percent(&name, 5);
        let span = self.draws.span(&name, if is_seldom { seldom } else { mostly });
        self.now.after(span)
    }

    /// Finds an object that a change is about: one that was just made may not be known yet.
    fn known<T: Clone>(
        &self,
        table: impl Fn(&Region) -> &Table<T>,
        id: &str,
        code: &str,
    ) -> Result<T, Refusal> {
        let table = table(self.region);
        let is_seen = table.at(id, self.seen).is_some();
        table.now(id).filter(|_| is_seen).cloned().ok_or_else(|| Refusal::not_found(code, id))
    }

    /// Refuses one more where a quota is used up.
    fn within(quota: usize, count: usize, code: &str) -> Result<(), Refusal> {
        if count < quota {
            return Ok(());
        }
        Err(Refusal::new(code, "The maximum number of such objects has been reached."))
    }

    /// Answers to a client token as before, whatever has become of what was made then (EC2 developer
    /// guide, «Ensuring idempotency»).
    fn once(
        &mut self,
        make: impl FnOnce(&mut Self) -> Result<String, Refusal>,
    ) -> Result<String, Refusal> {
        let Some(token) = self.query.text("ClientToken").map(str::to_owned) else {
            return make(self);
        };
        let asked = format!("{:?}", self.query);
        match self.region.tokens.get(&token) {
            Some((before, id)) if *before == asked => Ok(id.clone()),
            Some(_) => Err(Refusal::new(
                "IdempotentParameterMismatch",
                "The client token was used with other parameters.",
            )),
            None => {
                let id = make(self)?;
                self.region.tokens.insert(token, (asked, id.clone()));
                Ok(id)
            }
        }
    }
}

/// What a call answers that has nothing to say.
#[expect(clippy::unnecessary_wraps, reason = "it is an answer")]
fn done() -> Answer {
    Ok(Tree::Map(vec![("return", true.into())]))
}
