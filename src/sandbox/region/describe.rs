//! What all Describe calls have in common: ids, filters, pages.

use super::Call;
use crate::sandbox::query::Query;
use crate::sandbox::refusal::Refusal;
use crate::sandbox::table::Table;
use crate::sandbox::tree::{Tree, list};

/// What one Describe call is about.
pub(super) struct Describe<'a> {
    /// The element that holds the answer.
    pub(super) set: &'static str,
    /// The parameter with the ids that are asked for, and where an item has its own.
    pub(super) ids: (&'static str, &'static [&'static str]),
    /// What is said of an id that does not exist.
    pub(super) unknown: &'static str,
    /// Filters whose names do not lead to what they look at.
    pub(super) filters: &'a [(&'static str, &'static [&'static str])],
    /// Whether the answer comes in pages.
    pub(super) is_paged: bool,
}

impl Call<'_> {
    /// Returns the objects of a table that can be on the page that is asked for.
    pub(super) fn page_of<'t, T: Clone>(
        &self,
        table: &'t Table<T>,
        ids: &str,
    ) -> impl Iterator<Item = (&'t String, &'t T)> {
        let chooses = !self.query.items("Filter").is_empty() || !self.query.list(ids).is_empty();
        // One more than fits says that there are more.
        let most = if chooses { usize::MAX } else { self.manners.page + 1 };
        table.after(self.query.text("NextToken").unwrap_or_default(), self.seen).take(most)
    }

    /// Says whether the filters of a name let a value through.
    pub(super) fn lets_through(&self, filter: &str, value: &str) -> bool {
        let named = |one: &Query| one.text("Name") == Some(filter);
        let mut filters = self.query.items("Filter").into_iter().filter(named);
        filters.all(|one| one.list("Value").iter().any(|pattern| is_like(pattern, value)))
    }

    /// Answers with those items that are asked for.
    pub(super) fn describe(&self, what: &Describe<'_>, mut items: Vec<Tree>) -> super::Answer {
        let wanted = self.query.list(what.ids.0);
        if !wanted.is_empty() {
            let all: Vec<&str> = items.iter().flat_map(|item| item.texts(what.ids.1)).collect();
            if let Some(unknown) = wanted.iter().find(|id| !all.contains(id)) {
                return Err(Refusal::not_found(what.unknown, unknown));
            }
            items.retain(|item| item.texts(what.ids.1).iter().any(|id| wanted.contains(id)));
        }
        for filter in self.query.items("Filter") {
            let name = filter.must("Name")?.to_owned();
            if !is_known(&name, what.filters) {
                let text = format!("The filter '{name}' is invalid");
                return Err(Refusal::new("InvalidParameterValue", text));
            }
            let values = filter.list("Value");
            items.retain(|item| is_match(item, &name, &values, what.filters));
        }
        let next = if what.is_paged {
            page(self.query, self.manners.page, what.ids.1, &mut items)?
        } else {
            None
        };
        Ok(Tree::Map(vec![(what.set, list(items)), ("nextToken", next.into())]))
    }
}

/// Cuts a page out; its token is the id after which the next one begins, so that what comes and goes
/// between two pages makes neither skip anything.
fn page(
    query: &Query,
    most: usize,
    id: &[&str],
    items: &mut Vec<Tree>,
) -> Result<Option<String>, Refusal> {
    let size = query.read::<usize>("MaxResults")?.unwrap_or(most).min(most);
    let id_of = |item: &Tree| item.texts(id).first().map(ToString::to_string).unwrap_or_default();
    if let Some(after) = query.text("NextToken") {
        if after.is_empty() {
            return Err(Refusal::new("InvalidNextToken", "The token is invalid"));
        }
        items.retain(|item| id_of(item).as_str() > after);
    }
    let has_more = items.len() > size;
    items.truncate(size);
    Ok(items.last().filter(|_| has_more).map(id_of))
}

/// The filters whose names lead to what they look at.
const PLAIN: [&str; 24] = [
    "allocation-id",
    "association-id",
    "availability-zone",
    "bgp-asn",
    "cidr-block",
    "customer-gateway-id",
    "group-id",
    "group-name",
    "instance-id",
    "internet-gateway-id",
    "ip-address",
    "network-interface-id",
    "owner-id",
    "private-ip-address",
    "public-ip",
    "reservation-id",
    "route-table-id",
    "security-group-rule-id",
    "state",
    "subnet-id",
    "type",
    "vpc-id",
    "vpn-connection-id",
    "vpn-gateway-id",
];

/// Says whether there is a filter of a name.
fn is_known(name: &str, paths: &[(&'static str, &'static [&'static str])]) -> bool {
    let is_tag = name.starts_with("tag:") || name == "tag-key";
    is_tag || PLAIN.contains(&name) || paths.iter().any(|(own, _)| *own == name)
}

fn is_match(
    item: &Tree,
    name: &str,
    values: &[&str],
    paths: &[(&'static str, &'static [&'static str])],
) -> bool {
    let fits = |text: &str| values.iter().any(|pattern| is_like(pattern, text));
    if let Some(key) = name.strip_prefix("tag:") {
        return tags(item).any(|(own, value)| own == key && fits(value));
    }
    if name == "tag-key" {
        return tags(item).any(|(key, _)| fits(key));
    }
    let listed = paths.iter().find(|(own, _)| *own == name).map(|(_, path)| path.to_vec());
    let own = camel(name);
    let path = listed.unwrap_or_else(|| own.split('.').collect());
    item.texts(&path).into_iter().any(fits)
}

fn tags(item: &Tree) -> impl Iterator<Item = (&str, &str)> {
    let set = item.part("tagSet");
    let keys = set.map(|set| set.texts(&["key"])).unwrap_or_default();
    let values = set.map(|set| set.texts(&["value"])).unwrap_or_default();
    keys.into_iter().zip(values)
}

/// Turns `vpn-gateway-id` into `vpnGatewayId`.
fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut upper = false;
    for c in name.chars() {
        match c {
            '-' => upper = true,
            c if upper => {
                out.extend(c.to_uppercase());
                upper = false;
            }
            c => out.push(c),
        }
    }
    out
}

/// Says whether a text fits a pattern with `*` and `?` (EC2 API, «Filter»).
fn is_like(pattern: &str, text: &str) -> bool {
    let (mut rest, mut from) = (pattern.chars(), text.chars());
    loop {
        match (rest.clone().next(), from.clone().next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                rest.next();
                let tail = rest.as_str();
                let ends = std::iter::successors(Some(from.as_str()), |text| {
                    let mut shorter = text.chars();
                    shorter.next().map(|_| shorter.as_str())
                });
                return { ends }.any(|end| is_like(tail, end));
            }
            (Some('?'), Some(_)) => {}
            (Some(p), Some(c)) if p == c => {}
            _ => return false,
        }
        rest.next();
        from.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::tree::map;

    #[test]
    fn a_pattern_stands_for_what_ec2_says() {
        for (pattern, text) in
            [("a*", "abc"), ("*c", "abc"), ("a?c", "abc"), ("*", ""), ("abc", "abc")]
        {
            assert!(is_like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "ab"), ("?", ""), ("b*", "abc"), ("*d", "abc")] {
            assert!(!is_like(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn filters_look_at_what_they_are_named_after() {
        let item = map([
            ("vpnGatewayId", "vgw-1".into()),
            ("attachments", list([map([("vpcId", "vpc-1".into())])])),
            ("tagSet", list([map([("key", "a".into()), ("value", "b".into())])])),
        ]);
        let paths: &[(&str, &[&str])] = &[("attachment.vpc-id", &["attachments", "vpcId"])];
        let holds = |name, value| is_match(&item, name, &[value], paths);
        assert!(holds("vpn-gateway-id", "vgw-1") && holds("attachment.vpc-id", "vpc-1"));
        assert!(holds("tag:a", "b") && holds("tag-key", "a"));
        assert!(!holds("tag:a", "c") && !holds("vpn-gateway-id", "vgw-2") && !holds("state", "x"));
    }

    #[test]
    fn pages_follow_one_another_until_all_is_told() {
        let mut told = Vec::new();
        let mut token = None;
        loop {
            let text = token.map(|t| format!("&NextToken={t}")).unwrap_or_default();
            let query = Query::parse(format!("MaxResults=2{text}").as_bytes());
            let mut items: Vec<Tree> = (0..5).map(|n: u32| map([("id", n.into())])).collect();
            token = page(&query, 1000, &["id"], &mut items).unwrap();
            told.extend(items);
            if token.is_none() {
                break;
            }
        }
        assert_eq!(told.len(), 5);
    }
}
