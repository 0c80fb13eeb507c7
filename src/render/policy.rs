//! The least IAM policy: every action that cgw can call, and no other.

use serde_json::{Value, json};

use crate::aws::{Action, Effect};

/// Actions on objects that carry the stack's own tag: allowed on nothing else.
const OWN: &[Action] = &[
    Action::DeleteCustomerGateway,
    Action::DeleteRouteTable,
    Action::DeleteSecurityGroup,
    Action::DeleteSubnet,
    Action::DeleteVpnConnection,
    Action::DeleteVpnConnectionRoute,
    Action::DeleteVpnGateway,
    Action::ModifyVpnTunnelOptions,
    Action::ReleaseAddress,
];

/// Returns the policy document.
#[must_use]
pub fn policy() -> Value {
    let names = |fits: &dyn Fn(Action) -> bool| -> Vec<String> {
        let fitting = Action::ALL.iter().copied().filter(|action| fits(*action));
        fitting.map(|action| format!("ec2:{}", action.name())).collect()
    };
    let is_read = |action: Action| action.effect() == Effect::Read;
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Observe",
                "Effect": "Allow",
                "Action": names(&is_read),
                "Resource": "*",
            },
            {
                "Sid": "MakeAndChange",
                "Effect": "Allow",
                "Action": names(&|action| !is_read(action) && !OWN.contains(&action)),
                "Resource": "*",
            },
            {
                "Sid": "RemoveOnlyItsOwn",
                "Effect": "Allow",
                "Action": names(&|action| OWN.contains(&action)),
                "Resource": "*",
                "Condition": { "Null": { "aws:ResourceTag/cgw:stack": "false" } },
            },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_allowed_just_once() {
        let policy = policy();
        let statements = policy["Statement"].as_array().unwrap();
        let mut allowed: Vec<&str> = statements
            .iter()
            .flat_map(|s| s["Action"].as_array().unwrap())
            .map(|action| action.as_str().unwrap())
            .collect();
        allowed.sort_unstable();
        let mut all: Vec<String> =
            Action::ALL.iter().map(|a| format!("ec2:{}", a.name())).collect();
        all.sort_unstable();
        assert_eq!(allowed, all);
    }
}
