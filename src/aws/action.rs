//! The table of every action that cgw can call: what each does, and how often it may be sent.
//!
//! Rates of EC2: its developer guide, «Request throttling for the Amazon EC2 API». AWS publishes
//! none for Systems Manager: these are far below what others were seen to send.

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
const LAUNCHES: Rate = Rate { burst: 5, per_second: 2 };
const INTERFACE: Rate = Rate { burst: 100, per_second: 5 };
const SYSTEMS_MANAGER: Rate = Rate { burst: 20, per_second: 5 };

macro_rules! actions {
    ($($service:ident { $($name:ident $effect:ident $rate:ident;)* })*) => {
        /// An action; its name is AWS's own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the names are AWS's own")]
        pub enum Action { $($($name,)*)* }

        impl Action {
            /// All actions, service by service.
            pub const ALL: &[Self] = &[$($(Self::$name,)*)*];

            /// Returns AWS's name for it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($(Self::$name => stringify!($name),)*)* }
            }

            /// Returns the service that it belongs to, as IAM names it.
            #[must_use]
            pub fn service(self) -> &'static str {
                match self { $($(Self::$name => stringify!($service),)*)* }
            }

            /// Returns what sending it twice does.
            #[must_use]
            pub fn effect(self) -> Effect {
                match self { $($(Self::$name => Effect::$effect,)*)* }
            }

            /// Returns how often it may be sent in one account and region.
            #[must_use]
            pub fn rate(self) -> Rate {
                match self { $($(Self::$name => $rate,)*)* }
            }
        }
    };
}

actions! {
    ec2 {
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
        GetActiveVpnTunnelStatus Read READS;
        GetPasswordData Read READS;
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
        RunInstances Make LAUNCHES;
        TerminateInstances Set CHANGES;
    }
    ssm {
        DescribeInstanceInformation Read SYSTEMS_MANAGER;
        GetCommandInvocation Read SYSTEMS_MANAGER;
        ListCommandInvocations Read SYSTEMS_MANAGER;

        CancelCommand Set SYSTEMS_MANAGER;
        DeleteParameter Set SYSTEMS_MANAGER;
        PutParameter Set SYSTEMS_MANAGER;
        SendCommand Make SYSTEMS_MANAGER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_describe_get_and_list_count_as_reads() {
        for action in Action::ALL {
            let named_so =
                ["Describe", "Get", "List"].iter().any(|verb| action.name().starts_with(verb));
            assert_eq!(action.effect() == Effect::Read, named_so, "{}", action.name());
        }
    }
}
