//! The table of every EC2 action that cgw can call: what each does, and how often it may be sent.
//!
//! Rates: EC2 developer guide, «Request throttling for the Amazon EC2 API».

/// What sending an action twice does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes something; sent twice it leaves what it left the first time.
    Set,
    /// Makes something; sent twice it may make it twice.
    Make,
}

/// A token bucket's size and refill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls that may be sent at once.
    pub burst: u32,
    /// Calls a second afterwards.
    pub per_second: u32,
}

const READS: Rate = Rate { burst: 100, per_second: 20 };
const WIDE_READS: Rate = Rate { burst: 50, per_second: 10 };
const CHANGES: Rate = Rate { burst: 50, per_second: 5 };
const TAGS: Rate = Rate { burst: 100, per_second: 10 };
const INTERFACE: Rate = Rate { burst: 100, per_second: 5 };

macro_rules! actions {
    ($($name:ident $effect:ident $rate:ident;)*) => {
        /// An EC2 action; its name is EC2's own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the names are EC2's own")]
        pub enum Action { $($name),* }

        impl Action {
            /// All actions, reads first.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns EC2's name for it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// Returns what sending it twice does.
            #[must_use]
            pub fn effect(self) -> Effect {
                match self { $(Self::$name => Effect::$effect),* }
            }

            /// Returns how often it may be sent in one account and region.
            #[must_use]
            pub fn rate(self) -> Rate {
                match self { $(Self::$name => $rate),* }
            }
        }
    };
}

actions! {
    DescribeAddresses Read READS;
    DescribeCustomerGateways Read READS;
    DescribeInstances Read WIDE_READS;
    DescribeNetworkInterfaces Read WIDE_READS;
    DescribeRouteTables Read READS;
    DescribeSecurityGroupRules Read READS;
    DescribeSecurityGroups Read WIDE_READS;
    DescribeSubnets Read READS;
    DescribeTransitGatewayVpcAttachments Read READS;
    DescribeVpcs Read READS;
    DescribeVpnConnections Read READS;
    DescribeVpnGateways Read READS;
    GetVpnConnectionDeviceSampleConfiguration Read READS;
    GetVpnConnectionDeviceTypes Read READS;

    AllocateAddress Make CHANGES;
    AssociateAddress Make CHANGES;
    AssociateRouteTable Make CHANGES;
    AttachVpnGateway Make CHANGES;
    AuthorizeSecurityGroupEgress Set CHANGES;
    AuthorizeSecurityGroupIngress Set CHANGES;
    CreateCustomerGateway Make CHANGES;
    CreateRoute Make CHANGES;
    CreateRouteTable Make CHANGES;
    CreateSecurityGroup Make CHANGES;
    CreateSubnet Make CHANGES;
    CreateTags Set TAGS;
    CreateVpnConnection Make CHANGES;
    CreateVpnConnectionRoute Make CHANGES;
    CreateVpnGateway Make CHANGES;
    DeleteCustomerGateway Set CHANGES;
    DeleteRoute Set CHANGES;
    DeleteRouteTable Set CHANGES;
    DeleteSecurityGroup Set CHANGES;
    DeleteSubnet Set CHANGES;
    DeleteTags Set TAGS;
    DeleteVpnConnection Set CHANGES;
    DeleteVpnConnectionRoute Set CHANGES;
    DeleteVpnGateway Set CHANGES;
    DetachVpnGateway Set CHANGES;
    DisableVgwRoutePropagation Set CHANGES;
    DisassociateAddress Set CHANGES;
    DisassociateRouteTable Set CHANGES;
    EnableVgwRoutePropagation Set CHANGES;
    ModifyNetworkInterfaceAttribute Set INTERFACE;
    ModifyVpnTunnelOptions Set CHANGES;
    ReleaseAddress Set CHANGES;
    ReplaceRoute Set CHANGES;
    RevokeSecurityGroupEgress Set CHANGES;
    RevokeSecurityGroupIngress Set CHANGES;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_describe_and_get_count_as_reads() {
        for action in Action::ALL {
            let named_so =
                action.name().starts_with("Describe") || action.name().starts_with("Get");
            assert_eq!(action.effect() == Effect::Read, named_so, "{}", action.name());
        }
    }
}
