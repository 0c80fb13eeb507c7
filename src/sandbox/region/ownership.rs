//! Whose an object is: a client may change what it has made, and what it has announced to change.

use std::collections::BTreeSet;

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
        let id = self.owner(query.text(parameter)?);
        let tags = self.tags.now(&id)?;
        let is_own = tags.get("cgw:stack").is_some_and(|stack| !foreign.contains(stack));
        (!is_own && !is_announced(tags.keys()))
            .then(|| format!("changes {id}, which is not its own"))
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

/// Says whether a stack has announced what it does to an object: `cgw:STACK:WHAT`.
fn is_announced<'a>(mut keys: impl Iterator<Item = &'a String>) -> bool {
    keys.any(|key| key.strip_prefix("cgw:").is_some_and(|rest| rest.contains(':')))
}
