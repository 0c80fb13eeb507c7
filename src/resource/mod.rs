//! Knows each kind of node: how to find, make, change and remove it.
//!
//! A new kind is one file here, its `mod` line, and its line in the list below.

mod customer_gateway;
mod dice;
mod elastic_ip;
mod elastic_ip_association;
mod gateway_instance;
mod gateway_security_group;
mod hands;
mod instance;
mod kind;
mod probe_instance;
mod route;
mod route_propagation;
mod route_table;
mod route_table_association;
mod security_group;
mod security_group_membership;
mod source_dest_check;
mod stack_record;
mod subnet;
mod tunnel_rules;
mod vpn_connection;
mod vpn_connection_route;
mod vpn_gateway;
mod vpn_gateway_attachment;
mod windows_setup;
mod workload_security_group;

pub use dice::Dice;
pub use hands::{Error, Hands};
pub use kind::{Deps, Kind, Live, Made, Next, Phase, Ref};

/// Joins the kinds' `Spec` and `State` into two enums, and hands each call on to its kind.
macro_rules! kinds {
    ($($module:ident :: $Kind:ident),* $(,)?) => {
        $(pub use $module::$Kind;)*

        /// The names of all kinds, in the order in which a stack is usually told.
        pub const NAMES: &[&str] = &[$($Kind::NAME),*];

        /// What is declared of a node of each kind, under the kind's own name.
        pub mod spec {
            $(pub use super::$module::Spec as $Kind;)*
        }

        /// What is declared of a node, of whatever kind.
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        #[serde(tag = "kind", content = "spec", rename_all = "kebab-case")]
        #[expect(missing_docs, reason = "each is the kind's own")]
        pub enum Spec { $($Kind(<$Kind as Kind>::Spec)),* }

        /// What is seen of a node, of whatever kind.
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        #[serde(tag = "kind", content = "state", rename_all = "kebab-case")]
        #[expect(missing_docs, reason = "each is the kind's own")]
        pub enum State { $($Kind(<$Kind as Kind>::State)),* }

        $(
            impl kind::Stated for $Kind {
                fn among(state: &State) -> Option<&<$Kind as Kind>::State> {
                    if let State::$Kind(state) = state { Some(state) } else { None }
                }
            }
        )*

        impl Spec {
            /// Returns the kind's name.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$Kind(_) => $Kind::NAME),* }
            }

            /// Returns what the declaration hangs from.
            #[must_use]
            pub fn needs(&self) -> Vec<crate::address::Address> {
                match self { $(Self::$Kind(spec) => $Kind::needs(spec)),* }
            }

            /// Returns the reads that show such a node.
            #[must_use]
            pub fn reads(&self) -> &'static [crate::aws::Source] {
                match self { $(Self::$Kind(_) => $Kind::READS),* }
            }

            /// Compares with what is seen; another kind's state differs in everything.
            #[must_use]
            pub fn diff(&self, state: &State, deps: &Deps<'_>) -> crate::diff::Diff {
                match (self, state) {
                    $((Self::$Kind(spec), State::$Kind(state)) => $Kind::diff(spec, state, deps),)*
                    _ => crate::diff::Diff::new().fixed("kind", state.kind(), self.kind()),
                }
            }

            /// Looks at somebody else's object that is to serve as this node.
            #[must_use]
            pub fn adopted(
                &self, world: &crate::world::World, id: &crate::address::Id,
            ) -> Option<State> {
                match self { $(Self::$Kind(_) => $Kind::adopted(world, id).map(State::$Kind)),* }
            }

            /// Starts making the node.
            pub async fn create(
                &self, hands: &Hands, at: &kind::At<'_>, deps: &Deps<'_>,
            ) -> Result<Made<State>, Error> {
                match self {
                    $(Self::$Kind(spec) => {
                        Box::pin($Kind::create(hands, at, spec, deps)).await
                            .map(|made| made.map(State::$Kind))
                    })*
                }
            }

            /// Starts changing the node.
            pub async fn update(
                &self, hands: &Hands, at: &kind::At<'_>, id: &crate::address::Id, state: &State,
                deps: &Deps<'_>,
            ) -> Result<Next, Error> {
                match (self, state) {
                    $((Self::$Kind(spec), State::$Kind(state)) => {
                        Box::pin($Kind::update(hands, at, id, spec, state, deps)).await
                    })*
                    _ => Err(Error::Mixed(self.kind())),
                }
            }
        }

        impl State {
            /// Returns the kind's name.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$Kind(_) => $Kind::NAME),* }
            }

            /// Returns how much is lost with the node, among several that serve as one.
            #[must_use]
            pub fn worth(&self) -> usize {
                match self { $(Self::$Kind(state) => $Kind::worth(state)),* }
            }

            /// Returns how far the node is.
            #[must_use]
            pub fn phase(&self) -> Phase {
                match self { $(Self::$Kind(state) => $Kind::phase(state)),* }
            }

            /// Returns the reads that show such a node.
            #[must_use]
            pub fn reads(&self) -> &'static [crate::aws::Source] {
                match self { $(Self::$Kind(_) => $Kind::READS),* }
            }

            /// Returns the reads that show whether another stack uses the node; none: no other can.
            #[must_use]
            pub fn shared(&self) -> &'static [crate::aws::Source] {
                match self { $(Self::$Kind(_) => $Kind::SHARED),* }
            }

            /// Says whether the node ends together with its owner.
            #[must_use]
            pub fn goes_with_owner(&self) -> bool {
                match self { $(Self::$Kind(_) => $Kind::GOES_WITH_OWNER),* }
            }

            /// Says whether the server may be out of reach once it is gone.
            #[must_use]
            pub fn leads_to_server(&self) -> bool {
                match self { $(Self::$Kind(_) => $Kind::LEADS_TO_SERVER),* }
            }

            /// Says whether taking the node away puts an earlier value back.
            #[must_use]
            pub fn is_restored(&self) -> bool {
                match self { $(Self::$Kind(_) => $Kind::RESTORES),* }
            }

            /// Returns what must be gone before the node can be, ours or not.
            #[must_use]
            pub fn removed_after(
                &self, world: &crate::world::World, id: &crate::address::Id,
            ) -> Vec<crate::address::Id> {
                match self { $(Self::$Kind(_) => $Kind::removed_after(world, id)),* }
            }

            /// Returns what its removal leaves as it is because somebody else changed it.
            #[must_use]
            pub fn left_alone(&self) -> Option<String> {
                match self { $(Self::$Kind(state) => $Kind::left_alone(state)),* }
            }

            /// Returns the other stacks that use the node: it stays for them.
            #[must_use]
            pub fn others(
                &self, world: &crate::world::World, id: &crate::address::Id,
                stack: &crate::address::Stack,
            ) -> std::collections::BTreeSet<crate::address::Stack> {
                match self { $(Self::$Kind(_) => $Kind::others(world, id, stack)),* }
            }

            /// Leaves the node to another stack that uses it.
            pub async fn hand_over(
                &self, hands: &Hands, at: &kind::At<'_>, id: &crate::address::Id,
                to: &crate::address::Stack,
            ) -> Result<(), Error> {
                match self {
                    $(Self::$Kind(_) => Box::pin($Kind::hand_over(hands, at, id, to)).await),*
                }
            }

            /// Starts removing the node; removing what is gone succeeds.
            pub async fn delete(
                &self, hands: &Hands, at: &kind::At<'_>, id: &crate::address::Id,
            ) -> Result<Next, Error> {
                match self {
                    $(Self::$Kind(state) => Box::pin($Kind::delete(hands, at, id, state)).await),*
                }
            }
        }

        /// Finds everything of a stack, in all that was observed.
        #[must_use]
        pub fn find(
            world: &crate::world::World, stack: &crate::address::Stack,
        ) -> Vec<Live<State>> {
            let mut all = Vec::new();
            $(all.extend($Kind::find(world, stack).into_iter().map(|l| l.map(State::$Kind)));)*
            all
        }
    };
}

kinds! {
    stack_record::StackRecord,
    gateway_instance::GatewayInstance,
    elastic_ip::ElasticIp,
    elastic_ip_association::ElasticIpAssociation,
    source_dest_check::SourceDestCheck,
    gateway_security_group::GatewaySecurityGroup,
    security_group_membership::SecurityGroupMembership,
    customer_gateway::CustomerGateway,
    vpn_gateway::VpnGateway,
    vpn_gateway_attachment::VpnGatewayAttachment,
    vpn_connection::VpnConnection,
    vpn_connection_route::VpnConnectionRoute,
    tunnel_rules::TunnelRules,
    subnet::Subnet,
    route_table::RouteTable,
    route_table_association::RouteTableAssociation,
    route::Route,
    route_propagation::RoutePropagation,
    workload_security_group::WorkloadSecurityGroup,
    windows_setup::WindowsSetup,
    probe_instance::ProbeInstance,
}

pub use customer_gateway::PublicAddress;
pub use kind::At;
pub use probe_instance::Inside;
pub use route::{Table, Target};
pub use security_group::GroupSpec;
