//! The security group for instances in the VPC.

super::security_group::security_group_kind! {
    /// What the site may reach of instances in the VPC.
    WorkloadSecurityGroup, "workload-security-group"
}
