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
    Action::TerminateInstances,
];

/// Actions that name what they change: a document, machines, or parameters of cgw's own.
const NAMED: &[Action] = &[Action::SendCommand, Action::PutParameter, Action::DeleteParameter];

/// Returns the policy document.
#[must_use]
pub fn policy() -> Value {
    let name = |action: Action| format!("{}:{}", action.service(), action.name());
    let names = |fits: &dyn Fn(Action) -> bool| -> Vec<String> {
        let fitting = Action::ALL.iter().copied().filter(|action| fits(*action));
        fitting.map(name).collect()
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
                "Action": names(&|action| {
                    !is_read(action) && !OWN.contains(&action) && !NAMED.contains(&action)
                }),
                "Resource": "*",
            },
            {
                "Sid": "RemoveOnlyItsOwn",
                "Effect": "Allow",
                "Action": names(&|action| OWN.contains(&action)),
                "Resource": "*",
                "Condition": { "Null": { "aws:ResourceTag/cgw:stack": "false" } },
            },
            {
                "Sid": "FindImages",
                "Effect": "Allow",
                // RunInstances names its image by one of AWS's public parameters.
                "Action": ["ssm:GetParameters"],
                "Resource": "arn:*:ssm:*::parameter/aws/service/*",
            },
            {
                "Sid": "RunPowerShellOnInstances",
                "Effect": "Allow",
                "Action": [name(Action::SendCommand)],
                "Resource": [
                    "arn:*:ssm:*:*:document/AWS-RunPowerShellScript",
                    "arn:*:ec2:*:*:instance/*",
                ],
            },
            {
                "Sid": "KeepKeysForACommand",
                "Effect": "Allow",
                // A parameter that gets its tags in the call that makes it needs both.
                "Action": [
                    name(Action::PutParameter),
                    name(Action::DeleteParameter),
                    "ssm:AddTagsToResource",
                ],
                "Resource": "arn:*:ssm:*:*:parameter/cgw/*",
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
            Action::ALL.iter().map(|a| format!("{}:{}", a.service(), a.name())).collect();
        all.extend(["ssm:AddTagsToResource", "ssm:GetParameters"].map(str::to_owned));
        all.sort_unstable();
        assert_eq!(allowed, all);
    }
}
