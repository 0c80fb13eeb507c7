//! What the servers behind instances see of a region.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::Region;
use super::instances::{Instance, Interface};
use crate::sandbox::Moment;

/// An instance that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Machine {
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) is_windows: bool,
    pub(in crate::sandbox) private_ip: Ipv4Addr,
    pub(in crate::sandbox) launched: Moment,
}

impl Region {
    /// Finds the instance that runs at a public or private address.
    pub(in crate::sandbox) fn machine_at(&self, address: Ipv4Addr, now: Moment) -> Option<Machine> {
        let mut public = self.addresses.all().filter(|(_, one)| one.ip == address);
        let leads_to = public.find_map(|(_, one)| Some(&one.association.as_ref()?.1));
        let mut all = self.interfaces.all();
        let (_, nic) = all.find(|(id, nic)| nic.private_ip == address || Some(*id) == leads_to)?;
        let id = nic.instance.clone()?;
        let one = self.instances.now(&id).filter(|one| one.stages.at(now) == "running")?;
        let (is_windows, launched) = (one.is_windows(), one.launched);
        Some(Machine { id, is_windows, private_ip: nic.private_ip, launched })
    }

    /// Finds the instance of an id, if it runs.
    pub(in crate::sandbox) fn machine_of(&self, instance: &str, now: Moment) -> Option<Machine> {
        let is_its = |nic: &Interface| nic.instance.as_deref() == Some(instance);
        let nic = self.interfaces.now(&self.interfaces.find(is_its)?)?;
        self.machine_at(nic.private_ip, now)
    }

    /// Returns the ids of all instances that are Windows Servers and run.
    pub(in crate::sandbox) fn windows(&self, now: Moment) -> Vec<String> {
        let is_it = |one: &Instance| one.is_windows() && one.stages.at(now) == "running";
        let all = self.instances.all().filter(|(_, one)| is_it(one));
        all.map(|(id, _)| id.clone()).collect()
    }

    /// Returns all public addresses that lead to an instance, each with the instance.
    pub(in crate::sandbox) fn publics(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        self.addresses.all().filter_map(|(_, one)| {
            let (_, interface) = one.association.as_ref()?;
            Some((self.interfaces.now(interface)?.instance.as_deref()?, one.ip))
        })
    }

    /// Says whether a tunnel takes what comes from a public address with a key, and what is sent back
    /// to a network finds its way into it.
    pub(in crate::sandbox) fn takes(
        &self,
        publics: &[Ipv4Addr],
        (outside, key): (Ipv4Addr, &str),
        site: Ipv4Net,
        now: Moment,
    ) -> bool {
        self.connections.all().any(|(_, one)| {
            let state = one.stages.at(now);
            let is_open = matches!(state, "available" | "modifying");
            let has = one.tunnels.iter().any(|tunnel| {
                tunnel.outside == outside && tunnel.key.expose() == key && tunnel.replaced <= now
            });
            is_open
                && has
                && publics.contains(&one.customer_ip)
                && self.leads_back(&one.gateway, site, now)
        })
    }

    /// Says whether a table of the gateway's VPC leads to a network through it.
    fn leads_back(&self, gateway: &str, site: Ipv4Net, now: Moment) -> bool {
        let Some(held) = self.vpn_gateways.now(gateway) else { return false };
        self.route_tables.all().any(|(_, table)| {
            let leads = table.routes.iter().any(|(cidr, to)| cidr.contains(&site) && to == gateway);
            leads && held.is_attached_to(&table.vpc, now)
        })
    }

    /// Says whether an instance runs at a private address.
    pub(in crate::sandbox) fn has_host(&self, address: Ipv4Addr, now: Moment) -> bool {
        let runs =
            |id: &String| self.instances.now(id).is_some_and(|one| one.stages.at(now) == "running");
        let is_it =
            |nic: &Interface| nic.private_ip == address && nic.instance.as_ref().is_some_and(runs);
        self.interfaces.find(is_it).is_some()
    }
}
