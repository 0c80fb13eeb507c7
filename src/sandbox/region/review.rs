//! What a test holds against what was: objects as text, nodes, keys.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::Region;
use super::gateways::{CustomerGateway, VpnGateway};
use crate::sandbox::Unshown;
use crate::sandbox::table::Table;

impl Region {
    /// Returns all objects that there are to stay, as text.
    pub(in crate::sandbox) fn objects(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let mut tell = |id: &String, text: String| {
            let tags = self.tags.now(id);
            all.push((id.clone(), format!("{text} {tags:?}")));
        };
        plain(&self.vpcs, &mut tell);
        plain(&self.internet_gateways, &mut tell);
        plain(&self.subnets, &mut tell);
        plain(&self.route_tables, &mut tell);
        plain(&self.groups, &mut tell);
        plain(&self.rules, &mut tell);
        plain(&self.addresses, &mut tell);
        for (id, one) in self.interfaces.all() {
            let holder = one.instance.as_ref().and_then(|id| self.instances.now(id));
            if holder.is_none_or(|holder| !holder.stages.is_over()) {
                tell(id, format!("{one:?}"));
            }
        }
        for (id, one) in self.instances.all().filter(|(_, one)| !one.stages.is_over()) {
            tell(id, format!("instance in {}", one.vpc));
        }
        for (id, one) in self.vpn_gateways.all().filter(|(_, one)| !one.stages.is_over()) {
            tell(id, attached(one));
        }
        for (id, one) in self.customer_gateways.all().filter(|(_, one)| !one.stages.is_over()) {
            let CustomerGateway { ip, asn, .. } = one;
            tell(id, format!("customer gateway {ip} {asn}"));
        }
        for (id, one) in self.connections.all().filter(|(_, one)| !one.stages.is_over()) {
            let prefixes: Vec<_> = one.prefixes.keys().collect();
            tell(id, format!("connection {} {} {prefixes:?}", one.gateway, one.customer));
        }
        all
    }

    /// Returns the objects that are tagged as nodes: stack and node, and the id.
    pub(in crate::sandbox) fn nodes(&self) -> Vec<((String, String), String)> {
        let objects: BTreeMap<String, String> = self.objects().into_iter().collect();
        let node = |(id, tags): (&String, &BTreeMap<String, String>)| {
            let (stack, node) = (tags.get("cgw:stack")?, tags.get("cgw:node")?);
            // A node may be several rules of a group.
            let is_one = objects.contains_key(id) && !id.starts_with("sgr-");
            is_one.then(|| ((stack.clone(), node.clone()), id.clone()))
        };
        self.tags.all().filter_map(node).collect()
    }

    /// Returns the keys of all tunnels.
    pub(in crate::sandbox) fn keys(&self) -> Vec<Unshown> {
        let tunnels = self.connections.all().flat_map(|(_, one)| &one.tunnels);
        tunnels.map(|tunnel| tunnel.key.clone()).collect()
    }
}

fn plain<T: Clone + Debug>(table: &Table<T>, tell: &mut impl FnMut(&String, String)) {
    table.all().for_each(|(id, object)| tell(id, format!("{object:?}")));
}

fn attached(gateway: &VpnGateway) -> String {
    let to = gateway.attachment.as_ref().filter(|(_, stages)| stages.last() == "attached");
    format!("gateway of {:?}", to.map(|(vpc, _)| vpc))
}
