//! The stack's record.

super::security_group::security_group_kind! {
    /// A security group that lets nothing in and has no members, whose tags say what was declared; all
    /// else hangs from it.
    StackRecord, "stack-record"
}
