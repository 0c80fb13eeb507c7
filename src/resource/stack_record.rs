//! The stack's record.

super::security_group::security_group_kind! {
    /// A security group without rules and members, whose tags say what was declared; all else hangs
    /// from it.
    StackRecord, "stack-record", usable_early: true
}
