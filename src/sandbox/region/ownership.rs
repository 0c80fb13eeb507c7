//! Whose an object is: a client may change what it has made, and what it has announced to change.

use std::collections::{BTreeMap, BTreeSet};

use super::Region;
use crate::sandbox::query::Query;

/// The parameter that names the object which an action changes.
const OBJECTS: &[(&str, &str)] = &[
    ("AssociateAddress", "AllocationId"),
    ("AssociateRouteTable", "RouteTableId"),
    ("AttachVpnGateway", "VpnGatewayId"),
    ("AuthorizeSecurityGroupEgress", "GroupId"),
    ("AuthorizeSecurityGroupIngress", "GroupId"),
    ("CreateRoute", "RouteTableId"),
    ("CreateVpnConnectionRoute", "VpnConnectionId"),
    ("DeleteCustomerGateway", "CustomerGatewayId"),
    ("DeleteRoute", "RouteTableId"),
    ("DeleteRouteTable", "RouteTableId"),
    ("DeleteSecurityGroup", "GroupId"),
    ("DeleteSubnet", "SubnetId"),
    ("DeleteVpnConnection", "VpnConnectionId"),
    ("DeleteVpnConnectionRoute", "VpnConnectionId"),
    ("DeleteVpnGateway", "VpnGatewayId"),
    ("DetachVpnGateway", "VpnGatewayId"),
    ("DisableVgwRoutePropagation", "RouteTableId"),
    ("DisassociateAddress", "AssociationId"),
    ("DisassociateRouteTable", "AssociationId"),
    ("EnableVgwRoutePropagation", "RouteTableId"),
    ("ModifyNetworkInterfaceAttribute", "NetworkInterfaceId"),
    ("ModifyVpnTunnelOptions", "VpnConnectionId"),
    ("ReleaseAddress", "AllocationId"),
    ("ReplaceRoute", "RouteTableId"),
    ("RevokeSecurityGroupEgress", "GroupId"),
    ("RevokeSecurityGroupIngress", "GroupId"),
    ("TerminateInstances", "InstanceId.1"),
];

impl Region {
    /// Says what is wrong with a change that is about to be made, if anything is.
    pub(in crate::sandbox) fn trespass(
        &self,
        action: &str,
        query: &Query,
        foreign: &BTreeSet<String>,
    ) -> Option<String> {
        if matches!(action, "CreateTags" | "DeleteTags") {
            return self.tags_of_others(query);
        }
        let (_, parameter) = OBJECTS.iter().find(|(own, _)| *own == action)?;
        let named = query.text(parameter)?;
        let id = match *parameter {
            "AssociationId" => self.owner(named),
            _ => named.to_owned(),
        };
        let tags = self.tags.now(&id)?;
        let is_own = tags.get("cgw:stack").is_some_and(|stack| !foreign.contains(stack));
        let is_allowed = is_own || announcement(action, query).is_some_and(|it| it.is_in(tags));
        if !is_allowed {
            return Some(format!("changes {id}, which is not its own"));
        }
        let groups = query.list("SecurityGroupId");
        self.groups_lost(&id, &groups, foreign).filter(|_| !groups.is_empty())
    }

    /// Other people's groups stay on an interface.
    fn groups_lost(
        &self,
        interface: &str,
        groups: &[&str],
        foreign: &BTreeSet<String>,
    ) -> Option<String> {
        let is_others = |id: &&String| {
            let stack = self.tags.now(id).and_then(|tags| tags.get("cgw:stack"));
            stack.is_none_or(|stack| foreign.contains(stack))
        };
        let has = self.interfaces.now(interface)?.groups.iter();
        let lost = has.filter(is_others).find(|id| !groups.contains(&id.as_str()))?;
        Some(format!("takes {lost} from {interface}"))
    }

    /// On what is not its own a client writes tags only under its own name.
    fn tags_of_others(&self, query: &Query) -> Option<String> {
        let is_owned =
            |id: &&str| self.tags.now(id).is_some_and(|tags| tags.contains_key("cgw:stack"));
        let others: Vec<&str> =
            query.list("ResourceId").into_iter().filter(|id| !is_owned(id)).collect();
        let tags = query.items("Tag");
        let mut keys = tags.iter().filter_map(|tag| tag.text("Key"));
        let wrong = keys.find(|key| !key.starts_with("cgw:") || *key == "cgw:stack")?;
        (!others.is_empty()).then(|| format!("writes the tag {wrong} on {}", others.join(", ")))
    }

    /// Returns the object that an association belongs to.
    fn owner(&self, id: &str) -> String {
        let addresses = self.addresses.all();
        let address = addresses
            .filter(|(_, a)| a.association.as_ref().is_some_and(|(own, _)| own == id))
            .map(|(owner, _)| owner.clone())
            .next();
        let table = || {
            let mut tables = self.route_tables.all();
            tables.find(|(_, table)| table.has_association(id)).map(|(owner, _)| owner.clone())
        };
        address.or_else(table).unwrap_or_else(|| id.to_owned())
    }
}

/// What is announced of a change: a tag `cgw:STACK:NODE` on the object, perhaps with a certain value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Announcement {
    node: String,
    value: Option<String>,
}

impl Announcement {
    fn is_in(&self, tags: &BTreeMap<String, String>) -> bool {
        tags.iter().any(|(key, value)| {
            let node = key.strip_prefix("cgw:").and_then(|rest| rest.split_once(':'));
            node.is_some_and(|(_, node)| node == self.node)
                && self.value.as_ref().is_none_or(|own| own == value)
        })
    }
}

/// Returns what must be announced on an object of others before an action changes it; `None` where
/// nothing allows that.
fn announcement(action: &str, query: &Query) -> Option<Announcement> {
    let text = |name: &str| query.text(name).map(str::to_owned);
    let (node, value) = match action {
        "AssociateAddress" => ("elastic-ip-association".to_owned(), text("NetworkInterfaceId")),
        "DisassociateAddress" => ("elastic-ip-association".to_owned(), None),
        // The tag may be of before; where the route leads then is announced first.
        "CreateRoute" | "ReplaceRoute" => {
            let node = format!("route/{}", query.text("DestinationCidrBlock")?);
            (node, text("GatewayId").or_else(|| text("NetworkInterfaceId")))
        }
        "DeleteRoute" => (format!("route/{}", query.text("DestinationCidrBlock")?), None),
        "EnableVgwRoutePropagation" | "DisableVgwRoutePropagation" => {
            ("route-propagation".to_owned(), text("GatewayId"))
        }
        "ModifyNetworkInterfaceAttribute" if query.text("SourceDestCheck.Value").is_some() => {
            ("source-dest-check".to_owned(), None)
        }
        "ModifyNetworkInterfaceAttribute" => ("security-group-membership".to_owned(), None),
        _ => return None,
    };
    Some(Announcement { node, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_allows_what_it_is_about_and_nothing_else() {
        let tag = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let route = tag("cgw:office:route/10.0.0.0/16", "eni-1");
        let is_allowed = |action: &str, form: &str, tags: &BTreeMap<String, String>| {
            let query = Query::parse(form.as_bytes());
            announcement(action, &query).is_some_and(|announced| announced.is_in(tags))
        };
        let to = |net: &str, target: &str| format!("DestinationCidrBlock={net}&{target}");
        let own = to("10.0.0.0/16", "NetworkInterfaceId=eni-1");
        assert!(is_allowed("CreateRoute", &own, &route));
        assert!(is_allowed("DeleteRoute", &own, &route));
        assert!(!is_allowed("CreateRoute", &to("10.0.0.0/16", "GatewayId=igw-1"), &route));
        assert!(!is_allowed("DeleteRoute", &to("0.0.0.0/0", ""), &route));
        assert!(!is_allowed("EnableVgwRoutePropagation", "GatewayId=eni-1", &route));
        assert!(!is_allowed("DeleteRouteTable", "", &route));
        let check = tag("cgw:office:source-dest-check", "true");
        let action = "ModifyNetworkInterfaceAttribute";
        assert!(is_allowed(action, "SourceDestCheck.Value=false", &check));
        assert!(!is_allowed(action, "SecurityGroupId.1=sg-1", &check));
    }
}
