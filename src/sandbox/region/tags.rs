//! Tags, of whatever has an id.

use std::collections::BTreeMap;

use super::describe::Describe;
use super::{Answer, Call, done};
use crate::sandbox::refusal::Refusal;
use crate::sandbox::tree::{Tree, list, map};

/// How many tags an object may have (EC2 user guide, «Tag restrictions»).
const MOST: usize = 50;

pub(super) fn set(tags: Option<&BTreeMap<String, String>>) -> Tree {
    let pair =
        |(key, value): (&String, &String)| map([("key", key.into()), ("value", value.into())]);
    list(tags.into_iter().flatten().map(pair))
}

fn resources(call: &Call<'_>) -> Result<Vec<String>, Refusal> {
    let ids: Vec<String> = call.query.list("ResourceId").into_iter().map(str::to_owned).collect();
    for id in &ids {
        let is_known = call.region.tags.at(id, call.seen).is_some();
        if call.region.tags.now(id).is_none() || !is_known {
            return Err(Refusal::not_found(&not_found(id), id));
        }
    }
    Ok(ids)
}

/// The code for an id that does not exist, by what the id begins with.
fn not_found(id: &str) -> String {
    let kind = match id.split_once('-').map(|(prefix, _)| prefix) {
        Some("sg") => "Group",
        Some("sgr") => "SecurityGroupRuleId",
        Some("eni") => "NetworkInterfaceID",
        Some("eipalloc") => "AllocationID",
        Some("rtb") => "RouteTableID",
        Some("vgw") => "VpnGatewayID",
        Some("cgw") => "CustomerGatewayID",
        Some("vpn") => "VpnConnectionID",
        Some("i") => "InstanceID",
        Some("subnet") => "SubnetID",
        Some("vpc") => "VpcID",
        _ => "ID",
    };
    format!("Invalid{kind}.NotFound")
}

pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let pairs = call.query.pairs("Tag")?;
    for id in resources(call)? {
        let have = call.region.tags.now(&id).map_or(0, BTreeMap::len);
        let new = pairs.iter().filter(|(key, _)| {
            call.region.tags.now(&id).is_some_and(|tags| !tags.contains_key(key))
        });
        if have + new.count() > MOST {
            return Err(Refusal::new("TagLimitExceeded", format!("{id} has {MOST} tags already")));
        }
        call.region.tags.change(&id, call.now, |tags| tags.extend(pairs.iter().cloned()));
    }
    done()
}

pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    // A tag that is given with a value goes only if it has that value.
    let wanted: Vec<(String, Option<String>)> = call
        .query
        .items("Tag")
        .into_iter()
        .map(|tag| Ok((tag.must("Key")?.to_owned(), tag.text("Value").map(str::to_owned))))
        .collect::<Result<_, Refusal>>()?;
    for id in resources(call)? {
        call.region.tags.change(&id, call.now, |tags| {
            for (key, value) in &wanted {
                if value.as_ref().is_none_or(|value| tags.get(key) == Some(value)) {
                    tags.remove(key);
                }
            }
        });
    }
    done()
}

pub(super) fn describe(call: &mut Call<'_>) -> Answer {
    let mut items = Vec::new();
    for (id, tags) in call.region.tags.all_at(call.seen) {
        items.extend(tags.iter().map(|(key, value)| {
            map([("resourceId", id.into()), ("key", key.into()), ("value", value.into())])
        }));
    }
    let what = Describe {
        set: "tagSet",
        ids: ("ResourceId", &["resourceId"]),
        unknown: "InvalidID",
        filters: &[],
        is_paged: false,
    };
    call.describe(&what, items)
}
