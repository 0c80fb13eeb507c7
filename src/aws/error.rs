//! The one table that says what an error of AWS means for what cgw does next.

use std::borrow::Cow;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};

use super::action::{Action, Effect};

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was done; send it again.
    Again,
    /// Nobody knows whether it was done: the reply is missing.
    Lost,
    /// Cannot be done yet; send it again until the span has passed.
    NotYet(Duration),
    /// It is so already.
    AlreadySo,
    /// What it is about does not exist any more.
    Gone,
    /// It will not be done.
    No,
}

/// A call that AWS refused, or whose reply is missing.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.told())]
pub struct Error {
    /// What was asked for.
    pub action: Action,
    /// AWS's code for the error.
    pub code: Option<String>,
    /// AWS's own sentence, or what happened to the connection.
    pub message: String,
    /// What to do about it.
    pub verdict: Verdict,
}

/// The code of an error that AWS never saw: the SDK found no credentials to send.
const NO_CREDENTIALS: &str = "NoCredentials";
/// A fresh id may be unknown to the next call for a while (EC2 developer guide, «Eventual
/// consistency»).
const FRESH: Verdict = Verdict::NotYet(Duration::from_mins(1));
/// Gateways and connections take minutes to change their state.
const STATE: Verdict = Verdict::NotYet(Duration::from_mins(20));

/// One row: for which action (`None`: for all), AWS's code, what to do.
type Row = (Option<Action>, &'static str, Verdict);

/// Rows for one action come before those for all. Codes: EC2 API reference, «Error codes for the
/// Amazon EC2 API»; which of them pass by themselves was seen in public provider code.
const TABLE: &[Row] = &[
    // «This call cannot be completed because there are pending VPNs or Virtual Interfaces»
    // (terraform-provider-aws #11720).
    (Some(Action::DetachVpnGateway), "InvalidParameterValue", STATE),
    (Some(Action::AttachVpnGateway), "InvalidParameterValue", STATE),
    (Some(Action::AttachVpnGateway), "InvalidVpnGatewayID.NotFound", FRESH),
    (Some(Action::AttachVpnGateway), "InvalidVpnGatewayState", STATE),
    (Some(Action::CreateVpnConnection), "InvalidVpnGatewayState", STATE),
    (Some(Action::CreateVpnConnection), "InvalidCustomerGatewayState", STATE),
    (Some(Action::CreateVpnConnection), "InvalidVpnGatewayID.NotFound", FRESH),
    (Some(Action::CreateVpnConnection), "InvalidCustomerGatewayID.NotFound", FRESH),
    (Some(Action::CreateVpnConnectionRoute), "InvalidVpnConnectionID.NotFound", FRESH),
    (Some(Action::CreateVpnConnectionRoute), "InvalidVpnConnection.InvalidState", STATE),
    (Some(Action::EnableVgwRoutePropagation), "Gateway.NotAttached", STATE),
    (Some(Action::CreateRoute), "InvalidGatewayID.NotFound", FRESH),
    (Some(Action::CreateRoute), "InvalidVpnGatewayID.NotFound", FRESH),
    (Some(Action::AssociateAddress), "InvalidAllocationID.NotFound", FRESH),
    (Some(Action::AuthorizeSecurityGroupIngress), "InvalidGroup.NotFound", FRESH),
    (Some(Action::AuthorizeSecurityGroupEgress), "InvalidGroup.NotFound", FRESH),
    // What is taken away of a group is the rule that it has from its beginning.
    (Some(Action::RevokeSecurityGroupIngress), "InvalidGroup.NotFound", FRESH),
    (Some(Action::RevokeSecurityGroupEgress), "InvalidGroup.NotFound", FRESH),
    (Some(Action::ModifyNetworkInterfaceAttribute), "InvalidGroup.NotFound", FRESH),
    (Some(Action::AssociateRouteTable), "InvalidSubnetID.NotFound", FRESH),
    (Some(Action::AssociateRouteTable), "InvalidRouteTableID.NotFound", FRESH),
    (Some(Action::DeleteVpnGateway), "IncorrectState", STATE),
    (Some(Action::DeleteCustomerGateway), "IncorrectState", STATE),
    (
        Some(Action::DeleteSecurityGroup),
        "DependencyViolation",
        Verdict::NotYet(Duration::from_mins(2)),
    ),
    (Some(Action::DeleteSubnet), "DependencyViolation", Verdict::NotYet(Duration::from_mins(2))),
    (Some(Action::ReleaseAddress), "InvalidIPAddress.InUse", FRESH),
    (Some(Action::ModifyVpnTunnelOptions), "IncorrectState", STATE),
    (Some(Action::ModifyVpnTunnelOptions), "InvalidVpnConnection.InvalidState", STATE),
    // SSM API reference, the page of each operation, «Errors». A machine that SSM does not reach is
    // for it no machine.
    (Some(Action::SendCommand), "InvalidInstanceId", Verdict::Gone),
    (Some(Action::GetCommandInvocation), "InvocationDoesNotExist", FRESH),
    (Some(Action::CancelCommand), "InvalidCommandId", Verdict::Gone),
    // The name is a random one: only the same call can have made it before.
    (Some(Action::PutParameter), "ParameterAlreadyExists", Verdict::AlreadySo),
    (Some(Action::DeleteParameter), "ParameterNotFound", Verdict::Gone),
    (None, "RequestLimitExceeded", Verdict::Again),
    (None, "Throttling", Verdict::Again),
    (None, "ThrottlingException", Verdict::Again),
    (None, "EC2ThrottledException", Verdict::Again),
    (None, "InternalError", Verdict::Lost),
    (None, "InternalFailure", Verdict::Lost),
    (None, "InternalServerError", Verdict::Lost),
    (None, "ServiceUnavailable", Verdict::Lost),
    (None, "Unavailable", Verdict::Lost),
    (None, "InvalidPermission.Duplicate", Verdict::AlreadySo),
    (None, "RouteAlreadyExists", Verdict::AlreadySo),
    (None, "InvalidGroup.Duplicate", Verdict::AlreadySo),
    (None, "Resource.AlreadyAssociated", Verdict::AlreadySo),
    (None, "InvalidVpcState", Verdict::AlreadySo),
    (None, "InvalidSubnet.Conflict", Verdict::AlreadySo),
    (None, "InvalidPermission.NotFound", Verdict::Gone),
    (None, "InvalidSecurityGroupRuleId.NotFound", Verdict::Gone),
    (None, "InvalidGroup.NotFound", Verdict::Gone),
    (None, "InvalidRoute.NotFound", Verdict::Gone),
    (None, "InvalidRouteTableID.NotFound", Verdict::Gone),
    (None, "InvalidAssociationID.NotFound", Verdict::Gone),
    (None, "InvalidAllocationID.NotFound", Verdict::Gone),
    (None, "InvalidInstanceID.NotFound", Verdict::Gone),
    (None, "InvalidSubnetID.NotFound", Verdict::Gone),
    (None, "InvalidNetworkInterfaceID.NotFound", Verdict::Gone),
    (None, "InvalidCustomerGatewayID.NotFound", Verdict::Gone),
    (None, "InvalidVpnGatewayID.NotFound", Verdict::Gone),
    (None, "InvalidVpnGatewayAttachment.NotFound", Verdict::Gone),
    (None, "InvalidVpnConnectionID", Verdict::Gone),
    (None, "InvalidVpnConnectionID.NotFound", Verdict::Gone),
];

fn verdict(action: Action, code: &str, status: u16) -> Verdict {
    let is_of = |row: &&(Option<Action>, &str, Verdict)| {
        row.1 == code && row.0.is_none_or(|of| of == action)
    };
    match (status, TABLE.iter().find(is_of)) {
        // Not implemented, whatever it is called.
        (501, _) => Verdict::No,
        (_, Some(row)) => row.2,
        (500.., None) => Verdict::Lost,
        (_, None) => Verdict::No,
    }
}

impl Error {
    fn told(&self) -> String {
        let (action, message) = (self.action.name(), &self.message);
        match self.code.as_deref() {
            Some(NO_CREDENTIALS) => format!("no AWS credentials: {message}"),
            Some(code) => format!("{action} failed: {code}: {message}"),
            None => format!("{action} failed: {message}"),
        }
    }

    /// Sorts one of the SDK's errors in.
    pub(super) fn from_sdk<E>(action: Action, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        if let SdkError::ServiceError(refused) = error {
            let status = refused.raw().status().as_u16();
            let (code, message) = (refused.err().code(), refused.err().message());
            let message = match (code, message) {
                // For AWS alone to read (STS DecodeAuthorizationMessage), and very long.
                (_, Some(message)) => {
                    let readable = message.split(" Encoded authorization failure message:").next();
                    readable.unwrap_or_default().to_owned()
                }
                (Some(_), None) => format!("HTTP status {status}"),
                (None, None) => {
                    format!("what answered with HTTP status {status} is perhaps not EC2")
                }
            };
            let code = code.unwrap_or("Unknown").to_owned();
            let verdict = verdict(action, &code, status);
            let verdict = match verdict {
                Verdict::Lost if action.effect() == Effect::Read => Verdict::Again,
                Verdict::Again
                | Verdict::Lost
                | Verdict::NotYet(_)
                | Verdict::AlreadySo
                | Verdict::Gone
                | Verdict::No => verdict,
            };
            return Self { action, code: Some(code), message, verdict };
        }
        // The SDK looks for credentials while it sends: it then never sent anything.
        if causes(error).any(<dyn std::error::Error>::is::<CredentialsError>) {
            let (code, text) = (Some(NO_CREDENTIALS.to_owned()), chain(error));
            // Which provider gave up is no matter; why it did is.
            let why = text.trim_start_matches("other: ");
            let why = why.trim_start_matches("the credential provider was not enabled");
            let why = Some(why.trim_start_matches(": ")).filter(|why| !why.is_empty());
            let why = why.unwrap_or("none were found");
            return Self { action, code, message: first_line(why), verdict: Verdict::No };
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "the SDK may add variants")]
        let (verdict, what) = match error {
            SdkError::ConstructionFailure(_) => (Verdict::No, "the request could not be made"),
            SdkError::DispatchFailure(failure) if failure.is_user() => {
                (Verdict::No, "the request could not be sent")
            }
            SdkError::DispatchFailure(_) => (Verdict::Lost, "the connection failed"),
            SdkError::TimeoutError(_) => (Verdict::Lost, "no reply in time"),
            _ => (Verdict::Lost, "the reply could not be read"),
        };
        let message = format!("{what}: {}", chain(error));
        Self { action, code: None, message, verdict }
    }

    /// Says whether the caller lacks usable credentials, rather than a permission.
    #[must_use]
    pub fn is_about_credentials(&self) -> bool {
        const CODES: &[&str] = &[
            NO_CREDENTIALS,
            "AuthFailure",
            "ExpiredToken",
            "ExpiredTokenException",
            "RequestExpired",
            "InvalidClientTokenId",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
            "MissingAuthenticationToken",
        ];
        self.code.as_deref().is_some_and(|code| CODES.contains(&code))
    }

    /// Says what a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        self.denied().map(Cow::Owned).or_else(|| self.advice().map(Cow::Borrowed))
    }

    /// Says which permission is missing, and what has to stand in the policy.
    fn denied(&self) -> Option<String> {
        const CODES: &[&str] = &["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"];
        self.code.as_deref().filter(|code| CODES.contains(code))?;
        // A call that gives tags needs another permission too: AWS's sentence tells which one it is.
        let told = self.message.split("is not authorized to perform: ").nth(1);
        let own = format!("{}:{}", self.action.service(), self.action.name());
        let missing = told.and_then(|rest| rest.split_whitespace().next()).unwrap_or(&own);
        if self.message.contains("explicit deny") {
            return Some(format!(
                "a policy denies {missing} (of the account's organization, a permissions boundary, or \
                 one of the user's own): only who wrote it can allow it"
            ));
        }
        Some(format!(
            "the credentials lack the permission {missing}: their policy needs {{\"Effect\": \
             \"Allow\", \"Action\": \"{missing}\", \"Resource\": \"*\"}}; `cgw iam-policy` prints all \
             that cgw needs, and narrower"
        ))
    }

    fn advice(&self) -> Option<&'static str> {
        if self.is_about_credentials() {
            return Some(
                "sign in (aws sso login), name a profile (--profile), or set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY; where a second factor is asked for, also AWS_SESSION_TOKEN \
                 (aws sts get-session-token, or aws sts assume-role with --token-code)",
            );
        }
        match self.code.as_deref() {
            Some("OptInRequired") => Some("the account has not opted in to this region"),
            Some("AddressLimitExceeded") => Some(
                "the region's quota of Elastic IPs is used up: release one, raise quota L-0263D0A3, \
                 or give one that exists with --eip",
            ),
            Some("VpnGatewayLimitExceeded") => {
                Some("the region's quota of VPN gateways is used up: raise quota L-7029FAB6")
            }
            Some("CustomerGatewayLimitExceeded") => {
                Some("the region's quota of customer gateways is used up: raise quota L-4FB7FF5D")
            }
            Some("RulesPerSecurityGroupLimitExceeded") => Some(
                "fewer ports or networks, or raise quota L-0EA8095F (rules in a security group)",
            ),
            Some("SecurityGroupsPerInterfaceLimitExceeded") => Some(
                "take a group from the server's interface, or raise quota L-2AFB9258 (groups per \
                 interface)",
            ),
            Some("InvalidCustomerGateway.DuplicateIpAddress") => Some(
                "AWS wants another public address for each VPN connection of the region: give this \
                 VPC a server of its own",
            ),
            Some("Unknown") => Some("is --endpoint-url right, and the region?"),
            Some("VpnConnectionLimitExceeded") => Some(
                "the quota of VPN connections is used up: raise quota L-3E6EC3A3 or L-B91E5754",
            ),
            Some(_) if self.verdict == Verdict::Again => {
                Some("AWS is busy, or at fault: run the same command again in some minutes")
            }
            Some(_) => None,
            None => match self.verdict {
                Verdict::Lost => {
                    Some("is the region right, the endpoint reachable, a proxy needed?")
                }
                Verdict::Again
                | Verdict::NotYet(_)
                | Verdict::AlreadySo
                | Verdict::Gone
                | Verdict::No => None,
            },
        }
    }
}

/// What the SDK tried comes in further lines.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches(" Attempted:").to_owned()
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| cause.source())
}

/// Joins the causes of an error into one line, each once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in causes(error).map(ToString::to_string) {
        if !texts.iter().any(|seen| seen.contains(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_one_action_goes_before_the_row_for_all() {
        let code = "InvalidVpnGatewayID.NotFound";
        assert_eq!(verdict(Action::AttachVpnGateway, code, 400), FRESH);
        assert_eq!(verdict(Action::DeleteVpnGateway, code, 400), Verdict::Gone);
    }

    #[test]
    fn a_server_error_without_a_row_is_a_lost_reply_but_not_implemented_is_no() {
        assert_eq!(verdict(Action::CreateRoute, "Strange", 503), Verdict::Lost);
        assert_eq!(verdict(Action::CreateRoute, "Strange", 501), Verdict::No);
        let action = Action::DescribeInstanceInformation;
        assert_eq!(verdict(action, "InternalFailure", 501), Verdict::No);
        assert_eq!(verdict(Action::CreateRoute, "Strange", 400), Verdict::No);
    }

    #[test]
    fn a_missing_permission_is_named() {
        let denied = |message: &str| Error {
            action: Action::CreateVpnGateway,
            code: Some("UnauthorizedOperation".to_owned()),
            message: message.to_owned(),
            verdict: Verdict::No,
        };
        let hint = |message| denied(message).hint().unwrap();
        assert!(hint("You are not authorized.").contains("\"Action\": \"ec2:CreateVpnGateway\""));
        let user = "User: arn:aws:iam::111122223333:user/a";
        let told = format!(
            "{user} is not authorized to perform: ec2:CreateTags on resource: \
             arn:aws:ec2:eu-west-1:111122223333:vpn-gateway/* because no identity-based policy allows it"
        );
        assert!(hint(&told).contains("\"Action\": \"ec2:CreateTags\""), "{}", hint(&told));
        let scp = format!(
            "{user} is not authorized to perform: ec2:CreateTags on resource: r with an \
                              explicit deny in a service control policy"
        );
        assert!(hint(&scp).starts_with("a policy denies ec2:CreateTags"), "{}", hint(&scp));
    }

    #[test]
    fn no_row_is_hidden_by_an_earlier_one() {
        for (n, (of, code, _)) in TABLE.iter().enumerate() {
            let hidden = TABLE[..n].iter().any(|(a, c, _)| c == code && (a.is_none() || a == of));
            assert!(!hidden, "{code}");
        }
    }
}
