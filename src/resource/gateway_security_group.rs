//! The security group on the server's interface.

super::security_group::security_group_kind! {
    /// Who may administer the server, and what the site sends through it; the rules for the tunnels
    /// are a node of their own.
    GatewaySecurityGroup, "gateway-security-group"
}
