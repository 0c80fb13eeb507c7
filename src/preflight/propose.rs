//! What could be declared where nothing is said: what was found, what is proposed, and why; pure.

use ipnet::Ipv4Net;

use super::cidrs::{is_private, list, supernet};
use super::site::unfit;
use super::{Refusal, Request, Stop, cloud, examine, is_to_launch, launch};
use crate::address::{AwsId, SubnetId, VpcId};
use crate::aws::NODE;
use crate::spec::{Cidr, Declared, List, Via};
use crate::world::{Direction, GroupRule, Instance, Region, RouteTable, Subnet, Vpc};

/// A question that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// One of several things.
    Choose(Proposal),
    /// Something that only a person knows: the flag that says it.
    Fill {
        /// The flag.
        flag: &'static str,
        /// What is asked for.
        about: &'static str,
    },
}

/// What could be, and which of it is proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What is asked for.
    pub about: &'static str,
    /// What could be.
    pub answers: Vec<Answer>,
    /// Which of them is proposed; none where only a person can tell.
    pub proposed: Option<usize>,
    /// What was found and cannot be.
    pub unfit: Vec<Refusal>,
    /// How it is said on the command line.
    pub hint: &'static str,
}

/// One thing that could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it is, in a few words.
    pub label: String,
    /// What speaks for it, or what follows from it.
    pub because: String,
    /// What it declares.
    pub says: Declared,
}

impl Answer {
    fn new(label: impl Into<String>, because: impl Into<String>, says: Declared) -> Self {
        Self { label: label.into(), because: because.into(), says }
    }
}

/// Returns the question of a topic, if it is open.
pub type Topic = fn(&Request<'_>) -> Option<Question>;

/// Which VPC gets the VPN gateway; all else hangs on it.
pub const VPC: Topic = vpc;

/// What else is to be settled, in this order: each hangs on those before it.
pub const TOPICS: &[Topic] = &[
    server,
    |request| fill(request, is_own, "gateway-ip", "the server's public address, or its NAT's"),
    |request| fill(request, is_own, "private-ip", "the server's private address"),
    |request| fill(request, is_own, "site-cidr", "the network behind the server"),
    launch_subnet,
    |request| {
        fill(request, is_to_launch, "key-pair", "the key pair that logs in to the new server")
    },
    |request| fill(request, is_to_launch, "admin-cidr", "your networks, which may administer it"),
    cloud_cidr,
    site_cidr,
    tables,
    via,
    ping,
];

/// Returns what is found of a stack that the VPC has already.
#[must_use]
pub fn recorded(request: &Request<'_>) -> Vec<String> {
    let Some(vpc) = &request.declared.vpc else { return Vec::new() };
    let groups = request.world.region(request.cloud).into_iter().flat_map(|r| &r.groups);
    let records = groups
        .filter(|g| &g.vpc == vpc.id() && g.tags.value(NODE) == Some(super::neighbours::RECORD));
    records.filter_map(|g| g.tags.stack().map(str::to_owned)).collect()
}

/// Returns a name for the stack of a VPC: what the VPC is called, else its id.
#[must_use]
pub fn name(request: &Request<'_>) -> Option<String> {
    let vpc = request.declared.vpc.as_ref()?;
    let found = request.world.region(request.cloud)?.vpc(vpc.id())?;
    let called = found.tags.value("Name").unwrap_or_default().to_lowercase();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let words: Vec<&str> = called.split(|c| !fits(c)).filter(|word| !word.is_empty()).collect();
    let slug: String = words.join("-").chars().take(48).collect();
    Some(if slug.is_empty() { vpc.to_string() } else { slug.trim_end_matches('-').to_owned() })
}

/// Returns why what is declared would be refused.
#[must_use]
pub fn refusals(request: &Request<'_>) -> Vec<Refusal> {
    if is_to_launch(request) {
        return launch(request).err().unwrap_or_default();
    }
    match examine(request) {
        Err(Stop::Refused(refusals)) => refusals,
        Ok(_) | Err(Stop::Choose(_)) => Vec::new(),
    }
}

/// Returns why something would be refused, whatever is answered to what is still open.
fn refused(request: &Request<'_>, says: &Declared) -> Option<Refusal> {
    let mut declared = says.clone().or(request.declared.clone());
    // That an address cannot be pinged is no fault of a server or a network.
    declared.ping = says.ping;
    let declared = supposed(&Request { declared: &declared, ..*request });
    refusals(&Request { declared: &declared, ..*request }).into_iter().next()
}

/// Returns what is declared, with the first answer to what is still open.
fn supposed(request: &Request<'_>) -> Declared {
    let is_new = is_to_launch(request);
    let first = |nets: Option<&Vec<Ipv4Net>>| match nets.map(Vec::as_slice) {
        Some([first, _, ..]) => Some(Cidr(*first)),
        Some([] | [_]) | None => None,
    };
    let vpc = cloud_vpc(request);
    let all_public = vpc.is_some_and(|vpc| is_without_private(request, vpc));
    let first_answers = Declared {
        cloud_cidr: first(vpc.map(|vpc| &vpc.cidrs)),
        site_cidr: site_net(request).map(Cidr),
        subnet_cidr: vpc.filter(|_| all_public).and_then(|vpc| free(request, vpc)).map(Cidr),
        key_pair: is_new.then(|| "any".to_owned()),
        admin_cidr: is_new.then(|| "192.0.2.0/24".parse().expect("it is a network")),
        via: is_new.then_some(Via::Ssh),
        ..Declared::default()
    };
    request.declared.clone().or(first_answers)
}

fn cloud_vpc<'a>(request: &Request<'a>) -> Option<&'a Vpc> {
    request.world.region(request.cloud)?.vpc(request.declared.vpc.as_ref()?.id())
}

/// The subnet that the server is in, or will be.
fn site_subnet<'a>(request: &Request<'a>) -> Option<&'a Subnet> {
    let region = request.world.region(request.site)?;
    let of_instance = request.declared.instance.as_ref().and_then(|id| {
        let instance = region.instance(id.id())?;
        instance.subnet.as_ref()
    });
    let new = request.declared.launch_subnet.as_ref().map(SubnetId::id);
    let id = of_instance.or(new)?;
    region.subnets.iter().find(|subnet| &subnet.id == id)
}

/// The VPC that the server is in, or will be.
fn site_vpc<'a>(request: &Request<'a>) -> Option<&'a Vpc> {
    request.world.region(request.site)?.vpc(&site_subnet(request)?.vpc)
}

/// The network of the server's VPC that the server is in.
fn site_net(request: &Request<'_>) -> Option<Ipv4Net> {
    let (vpc, subnet) = (site_vpc(request)?, site_subnet(request)?);
    vpc.cidrs.iter().copied().find(|net| net.contains(&subnet.cidr))
}

/// Says whether every route table of a VPC leads to the Internet, and nothing is said of that.
fn is_without_private(request: &Request<'_>, vpc: &Vpc) -> bool {
    let Some(region) = request.world.region(request.cloud) else { return false };
    let mut own = region.route_tables.iter().filter(|table| table.vpc == vpc.id);
    let said = request.declared.route_tables.is_some() || request.declared.subnet_cidr.is_some();
    !said && own.all(RouteTable::is_public)
}

/// The first network of a VPC that no subnet has: 256 addresses, or what there is of them.
fn free(request: &Request<'_>, vpc: &Vpc) -> Option<Ipv4Net> {
    let region = request.world.region(request.cloud)?;
    let taken: Vec<Ipv4Net> =
        region.subnets.iter().filter(|s| s.vpc == vpc.id).map(|s| s.cidr).collect();
    let within = request.declared.cloud_cidr.map(|cidr| cidr.0);
    let nets = vpc.cidrs.iter().copied().filter(|net| within.is_none_or(|all| all.contains(net)));
    nets.flat_map(|net| (24..=28).filter_map(move |length| net.subnets(length).ok()).flatten())
        .find(|net| !taken.iter().any(|other| super::cidrs::overlap(*other, *net)))
}

/// An id with its name, in one line.
fn labelled(id: &AwsId, name: Option<&str>) -> String {
    let words: Vec<&str> = name.unwrap_or_default().split_whitespace().collect();
    if words.is_empty() { id.to_string() } else { format!("{id} ({})", words.join(" ")) }
}

fn vpc(request: &Request<'_>) -> Option<Question> {
    if request.declared.vpc.is_some() {
        return None;
    }
    let region = request.world.region(request.cloud)?;
    let site = request.world.region(request.site)?;
    let (mut likely, mut others, mut unfit) = (Vec::new(), Vec::new(), Vec::new());
    for vpc in &region.vpcs {
        let id: Option<VpcId> = vpc.id.as_str().parse().ok();
        let says = Declared { vpc: id, ..Declared::default() };
        let declared = says.clone().or(request.declared.clone());
        let supposed = supposed(&Request { declared: &declared, ..*request });
        if let Err(why) = cloud::examine(&Request { declared: &supposed, ..*request }, region) {
            unfit.extend(why.into_iter().next());
            continue;
        }
        let label = labelled(&vpc.id, vpc.tags.value("Name"));
        let label = format!("{label}, {}", list(&vpc.cidrs));
        let could = |i: &&Instance| i.is_windows && i.vpc.as_ref() == Some(&vpc.id);
        let of = Request { declared: &says, ..*request };
        let stacks = recorded(&of);
        if let Some(stack) = stacks.first() {
            let because = format!("it has the stack {stack} already");
            others.push(Answer::new(label, because, says));
        } else if let Some(server) = site.instances.iter().find(could) {
            let because = format!("{} is in it: more likely the site", server.label());
            others.push(Answer::new(label, because, says));
        } else if is_without_private(&of, vpc) {
            let because = "no route table of it is private: a subnet would be made";
            others.push(Answer::new(label, because, says));
        } else {
            let because = "it has a private route table, and no Windows Server is in it";
            likely.push(Answer::new(label, because, says));
        }
    }
    let is_only = likely.len() == 1 || (likely.is_empty() && others.len() == 1);
    if let [only] = likely.as_mut_slice() {
        only.because = format!("{}; it is the only such VPC", only.because);
    }
    likely.extend(others);
    Some(Question::Choose(Proposal {
        about: "the VPC that gets the VPN gateway",
        answers: likely,
        proposed: is_only.then_some(0),
        unfit,
        hint: "name it with --vpc, and its region with --region",
    }))
}

/// Says whether the server is one outside EC2.
fn is_own(request: &Request<'_>) -> bool {
    request.declared.instance.is_none() && request.declared.launch.is_none()
}

fn server(request: &Request<'_>) -> Option<Question> {
    if !is_own(request) || request.declared.gateway_ip.is_some() {
        return None;
    }
    let region = request.world.region(request.site)?;
    let (mut answers, mut unsuited) = (Vec::new(), Vec::new());
    for instance in region.instances.iter().filter(|instance| instance.is_windows) {
        let id = instance.id.as_str().parse().ok();
        let says = Declared { instance: id, ..Declared::default() };
        match unfit(request, region, instance).or_else(|| refused(request, &says)) {
            Some(why) => unsuited.push(why),
            None => answers.push(Answer::new(instance.label(), suits(region, instance), says)),
        }
    }
    let proposed = (answers.len() == 1).then_some(0);
    if let [only] = answers.as_mut_slice() {
        only.because = format!("the only one that fits: {}", only.because);
    }
    answers.push(Answer::new(
        "a machine of your own, outside EC2",
        "its addresses are asked for next",
        Declared::default(),
    ));
    answers.push(Answer::new(
        "a new one, launched by cgw",
        "a t3.large, which costs money from then on",
        Declared { launch: Some("t3.large".to_owned()), ..Declared::default() },
    ));
    Some(Question::Choose(Proposal {
        about: "the Windows Server that is to be the gateway",
        answers,
        proposed,
        unfit: unsuited,
        hint: "name it with --instance (and its region with --site-region), or say --launch, or give \
               --gateway-ip, --private-ip and --site-cidr",
    }))
}

/// What speaks for an instance.
fn suits(region: &Region, instance: &Instance) -> String {
    let vpc = instance.vpc.as_ref().and_then(|id| region.vpc(id));
    let nets = vpc.map(|vpc| list(&vpc.cidrs)).unwrap_or_default();
    format!("it runs Windows, its subnet leads to the Internet, and {nets} overlaps nothing")
}

fn fill(
    request: &Request<'_>,
    is_open: fn(&Request<'_>) -> bool,
    flag: &'static str,
    about: &'static str,
) -> Option<Question> {
    let said = request.declared.flags().contains(&flag);
    (is_open(request) && !said).then_some(Question::Fill { flag, about })
}

fn launch_subnet(request: &Request<'_>) -> Option<Question> {
    if !is_to_launch(request) || request.declared.launch_subnet.is_some() {
        return None;
    }
    let region = request.world.region(request.site)?;
    let (mut answers, mut unfit) = (Vec::new(), Vec::new());
    for subnet in &region.subnets {
        let id = subnet.id.as_str().parse().ok();
        let says = Declared { launch_subnet: id, ..Declared::default() };
        let label = labelled(&subnet.id, subnet.tags.value("Name"));
        match refused(request, &says) {
            Some(why) => unfit.push(why),
            None => answers.push(Answer::new(
                format!("{label}, {} in {}", subnet.cidr, subnet.vpc),
                "it leads to an Internet gateway, and its VPC is another than the cloud's",
                says,
            )),
        }
    }
    Some(Question::Choose(Proposal {
        about: "the subnet of the new server",
        proposed: (answers.len() == 1).then_some(0),
        answers,
        unfit,
        hint: "name it with --launch-subnet",
    }))
}

/// Which of several networks a tunnel carries.
fn one_net(
    request: &Request<'_>,
    nets: &[Ipv4Net],
    about: &'static str,
    hint: &'static str,
    says: impl Fn(Cidr) -> Declared,
) -> Question {
    let whole = Some(supernet(nets)).filter(|all| is_private(*all) && !nets.contains(all));
    let all = nets.iter().map(|net| (*net, "one of its networks; a tunnel carries one pair"));
    let whole = whole.into_iter().map(|net| (net, "all of its networks are in it"));
    let (mut answers, mut unfit) = (Vec::new(), Vec::new());
    for (net, because) in all.chain(whole) {
        match refused(request, &says(Cidr(net))) {
            Some(why) => unfit.push(why),
            None => answers.push(Answer::new(net.to_string(), because, says(Cidr(net)))),
        }
    }
    let proposed = (!answers.is_empty()).then_some(0);
    Question::Choose(Proposal { about, answers, proposed, unfit, hint })
}

fn cloud_cidr(request: &Request<'_>) -> Option<Question> {
    let vpc = cloud_vpc(request).filter(|vpc| vpc.cidrs.len() > 1)?;
    let says = |cidr| Declared { cloud_cidr: Some(cidr), ..Declared::default() };
    let about = "the VPC's network behind the tunnels";
    let ask = || one_net(request, &vpc.cidrs, about, "give it with --cloud-cidr", says);
    request.declared.cloud_cidr.is_none().then(ask)
}

fn site_cidr(request: &Request<'_>) -> Option<Question> {
    let vpc = site_vpc(request).filter(|vpc| vpc.cidrs.len() > 1)?;
    let says = |cidr| Declared { site_cidr: Some(cidr), ..Declared::default() };
    let about = "the network behind the server";
    let ask = || one_net(request, &vpc.cidrs, about, "give it with --site-cidr", says);
    request.declared.site_cidr.is_none().then(ask)
}

fn tables(request: &Request<'_>) -> Option<Question> {
    let vpc = cloud_vpc(request).filter(|vpc| is_without_private(request, vpc))?;
    let region = request.world.region(request.cloud)?;
    let made = free(request, vpc).map(|net| {
        let says = Declared { subnet_cidr: Some(Cidr(net)), ..Declared::default() };
        let because =
            "every route table of the VPC leads to the Internet, and nobody has this network";
        Answer::new(format!("a new private subnet {net}"), because, says)
    });
    let own = region.route_tables.iter().filter(|table| table.vpc == vpc.id);
    let named = own.map(|table| {
        let id = table.id.as_str().parse().ok().map(|id| List(vec![id]));
        let label = labelled(&table.id, table.tags.value("Name"));
        Answer::new(
            format!("the route table {label}"),
            "its subnets stay open to the Internet, and get the route to the site",
            Declared { route_tables: id, ..Declared::default() },
        )
    });
    Some(Question::Choose(Proposal {
        about: "what in the VPC is to reach the site",
        proposed: made.is_some().then_some(0),
        answers: made.into_iter().chain(named).collect(),
        unfit: Vec::new(),
        hint: "make a subnet with --subnet-cidr, or name tables with --route-tables",
    }))
}

fn via(request: &Request<'_>) -> Option<Question> {
    if request.declared.via.is_some() {
        return None;
    }
    let because = [
        (Via::Ssm, "Systems Manager reaches it: no open port and no password are needed"),
        (Via::Ssh, "needs OpenSSH Server on it, and a key or a password"),
        (Via::Winrm, "needs a listener for HTTPS on it; --winrm-fingerprint names its certificate"),
        (Via::Files, "a person runs the scripts on it: nothing has to reach it"),
        (Via::None, "the server is not set up by cgw"),
    ];
    let (proposed, found) = if request.is_managed {
        (Via::Ssm, because[0].1)
    } else if is_to_launch(request) {
        (Via::Ssh, "a new server is set up for SSH with its key pair")
    } else if request.declared.identity.is_some() {
        (Via::Ssh, "there is a key to log in with")
    } else if is_own(request) {
        (Via::Files, "nothing has to reach a machine of your own")
    } else {
        (Via::Winrm, "Systems Manager does not reach it, and there is no key for SSH")
    };
    let others = because.into_iter().filter(|(via, _)| *via != proposed && *via != Via::Ssm);
    let all = std::iter::once((proposed, found)).chain(others);
    Some(Question::Choose(Proposal {
        about: "how the scripts reach the server",
        answers: all
            .map(|(via, because)| {
                let says = Declared { via: Some(via), ..Declared::default() };
                Answer::new(via.to_string(), because, says)
            })
            .collect(),
        proposed: Some(0),
        unfit: Vec::new(),
        hint: "say it with --via",
    }))
}

fn ping(request: &Request<'_>) -> Option<Question> {
    if request.declared.ping.is_some() || request.declared.via == Some(Via::None) {
        return None;
    }
    let (vpc, region) = (cloud_vpc(request)?, request.world.region(request.cloud)?);
    let site = request.declared.site_cidr.map(|cidr| cidr.0);
    let site = site.or_else(|| site_net(request))?;
    let (mut let_in, mut kept_out) = (Vec::new(), Vec::new());
    for host in region.interfaces.iter().filter(|host| host.vpc == vpc.id) {
        let instance = host.instance.as_ref().and_then(|id| region.instance(id));
        let running = instance.filter(|instance| instance.state == "running");
        let (Some(instance), Some(ip)) = (running, host.private_ip) else { continue };
        let says = Declared { ping: Some(ip), ..Declared::default() };
        if refused(request, &says).is_some() {
            continue;
        }
        let label = format!("{ip}, {}", instance.label());
        let mut rules = host.groups.iter().flat_map(|group| region.rules_of(group));
        if rules.any(|rule| lets_pings_in(rule, site)) {
            let because = format!("its security group lets pings from {site} in");
            let_in.push(Answer::new(label, because, says));
        } else {
            let because = format!("but no security group of it lets a ping from {site} in");
            kept_out.push(Answer::new(label, because, says));
        }
    }
    let none = Answer::new(
        "none for now",
        if kept_out.is_empty() && let_in.is_empty() {
            "no running instance is in the VPC: nothing proves the tunnel, or keeps it up"
        } else {
            "nothing proves the tunnel then, or keeps it up"
        },
        Declared::default(),
    );
    let proposed = if let_in.is_empty() { kept_out.len() } else { 0 };
    let answers = let_in.into_iter().chain(kept_out).chain([none]).collect();
    Some(Question::Choose(Proposal {
        about: "a host in the VPC that answers pings",
        answers,
        proposed: Some(proposed),
        unfit: Vec::new(),
        hint: "name it with --ping",
    }))
}

/// Says whether a rule lets the echo of ICMP in from all of a network.
fn lets_pings_in(rule: &GroupRule, from: Ipv4Net) -> bool {
    rule.rule.as_ref().is_some_and(|rule| {
        let is_icmp = matches!(rule.protocol.as_str(), "-1" | "icmp" | "1");
        let is_echo = rule.ports.is_none_or(|(kind, _)| matches!(kind, -1 | 8));
        rule.direction == Direction::In && is_icmp && is_echo && rule.cidr.contains(&from)
    })
}
