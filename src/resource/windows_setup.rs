//! The guide's steps on the Windows Server.

use aws_sdk_ec2::types::Tag;
use serde::Serialize;

use super::hands::gone_is_fine;
use super::kind::{At, Deps, Kind, Live, Made, Next, Ref};
use super::{Error, Hands, PublicAddress, StackRecord, VpnConnection};
use crate::address::{Address, AwsId, Id, Stack};
use crate::aws::{Action, Source};
use crate::diff::{Diff, Want};
use crate::playbook::{self, Bundle, Parameters};
use crate::server::{Reach, Report, Restarted, undo_by_hand};
use crate::world::World;

/// The playbook, run through `server`; what was applied is a digest in a tag on the record.
///
/// The tag is there, with a mark, before the first step runs: whatever is on the server, the record
/// says so. The digest tells nothing of the keys in it: they have 288 bits.
#[derive(Debug)]
pub struct WindowsSetup;

/// The record's tag.
const TAG: &str = "cgw:windows-setup";

/// What is declared of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spec {
    /// What the steps need to know.
    pub parameters: Parameters,
    /// The connection whose tunnels they set up.
    pub connection: Ref<VpnConnection>,
    /// The public address at which the server is reached.
    pub address: PublicAddress,
    /// The record that keeps the digest.
    pub record: Ref<StackRecord>,
    /// The record's tag for a host key that was met for the first time.
    pub host_key_tag: String,
    /// Whether a person runs the scripts, so that nobody knows whether they were run.
    pub is_by_hand: bool,
    /// Whether the connection is changed first, so that what is to be set is known only then.
    pub is_turn: bool,
    /// What must be so before the server can be reached and the tunnels can come up.
    pub after: Vec<Address>,
}

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// The digest of the bundle that was applied last; with a mark, if by hand or not to its end.
    pub digest: String,
}

impl Kind for WindowsSetup {
    const NAME: &'static str = "windows-setup";
    const READS: &'static [Source] = &[Source::SecurityGroups];
    type Spec = Spec;
    type State = State;

    fn needs(spec: &Spec) -> Vec<Address> {
        let ends = [spec.connection.0.clone(), spec.record.0.clone()];
        let address = match &spec.address {
            PublicAddress::Elastic(address) => Some(address.0.clone()),
            PublicAddress::Given(_) => None,
        };
        ends.into_iter().chain(address).chain(spec.after.iter().cloned()).collect()
    }

    fn find(world: &World, stack: &Stack) -> Vec<Live<State>> {
        let mut found = Vec::new();
        for region in &world.regions {
            found.extend(region.groups.iter().filter_map(|o| {
                o.tags.node_key(stack, StackRecord::NAME)?;
                let digest = o.tags.value(TAG)?.to_owned();
                Some(Live {
                    address: Address::new(stack, Self::NAME, ""),
                    id: Id::link(&o.id, Self::NAME),
                    place: region.place.clone(),
                    state: State { digest },
                })
            }));
        }
        found
    }

    fn diff(spec: &Spec, state: &State, deps: &Deps<'_>) -> Diff {
        let short = |digest: &str| digest.chars().take(12).collect::<String>();
        let want = match deps.look(&spec.connection) {
            Want::KnownAfter(address) => Want::KnownAfter(address),
            Want::Is(_) if spec.is_turn => Want::KnownAfter(spec.connection.0.clone()),
            Want::Is((id, connection)) => {
                match Bundle::render(&spec.parameters, id, &connection.tunnels) {
                    Ok(bundle) if mark(spec, &bundle) == state.digest => return Diff::new(),
                    Ok(bundle) => Want::Is(short(&mark(spec, &bundle))),
                    Err(error) => Want::Is(error.to_string()),
                }
            }
        };
        Diff::new().field("scripts", short(&state.digest), want)
    }

    async fn create(
        hands: &Hands,
        at: &At<'_>,
        spec: &Spec,
        deps: &Deps<'_>,
    ) -> Result<Made<State>, Error> {
        let (record, _) = deps.must(&spec.record)?;
        let digest = push(hands, at, spec, deps, record).await?;
        Ok(Made { id: Id::link(record, Self::NAME), state: Some(State { digest }) })
    }

    async fn update(
        hands: &Hands,
        at: &At<'_>,
        id: &Id,
        spec: &Spec,
        _: &State,
        deps: &Deps<'_>,
    ) -> Result<Next, Error> {
        push(hands, at, spec, deps, id.owner()).await?;
        Ok(Next::Nothing)
    }

    /// Takes back what the steps have set, if the server is to be reached, and forgets it.
    ///
    /// A server that cannot be reached stops nothing: what it keeps is said, with the way to take it
    /// back later.
    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, _: &State) -> Result<Next, Error> {
        if let Some(Reach::Remote(way)) = &hands.server {
            match way.undo(at.stack(), &hands.events).await {
                Ok(report) => tell(hands, &report),
                Err(error) if !error.is_unreachable() => {
                    hands.events.note("`cgw down --keep-windows` leaves the server as it is");
                    return Err(error.into());
                }
                Err(error) => hands.events.warn(format!(
                    "the server keeps what was set there, because it cannot be reached: {error}; {}",
                    undo_by_hand(at.stack())
                )),
            }
        }
        let (record, tag) = (id.owner().as_str(), Tag::builder().key(TAG).build());
        gone_is_fine(
            at.writer(hands)?
                .call(Action::DeleteTags, |ec2| {
                    ec2.delete_tags().resources(record).tags(tag.clone()).send()
                })
                .await,
        )?;
        Ok(Next::Nothing)
    }
}

/// What the record says of a bundle once it was applied, or left for a person to apply.
fn mark(spec: &Spec, bundle: &Bundle) -> String {
    let by = if spec.is_by_hand { "by-hand " } else { "" };
    format!("{by}{}", bundle.digest)
}

async fn push(
    hands: &Hands,
    at: &At<'_>,
    spec: &Spec,
    deps: &Deps<'_>,
    record: &AwsId,
) -> Result<String, Error> {
    let (id, connection) = deps.must(&spec.connection)?;
    let bundle = Bundle::render(&spec.parameters, id, &connection.tunnels)?;
    let configuration = connection.configuration.as_ref();
    playbook::check(&bundle, &spec.parameters, &connection.tunnels, configuration)
        .map_err(Error::Scripts)?;
    let server = hands.server.as_ref().ok_or_else(|| Error::Missing(at.address.clone()))?;
    let public_ip = match &spec.address {
        PublicAddress::Elastic(address) => deps.must(address)?.1.ip,
        PublicAddress::Given(ip) => *ip,
    };
    let digest = mark(spec, &bundle);
    remember(hands, at, record, (TAG, &format!("begun {digest}"))).await?;
    let report = server.set_up(public_ip, &bundle, &hands.events).await;
    // Whatever came of it: the host is known from now on.
    if let Reach::Remote(way) = server
        && let Some(fingerprint) = way.met.fingerprint()
    {
        remember(hands, at, record, (&spec.host_key_tag, fingerprint)).await?;
    }
    let report = report?;
    if matches!(server, Reach::Remote(_)) {
        tell(hands, &report);
    }
    remember(hands, at, record, (TAG, &digest)).await?;
    Ok(digest)
}

async fn remember(
    hands: &Hands,
    at: &At<'_>,
    record: &AwsId,
    (name, value): (&str, &str),
) -> Result<(), Error> {
    let tag = Tag::builder().key(name).value(value).build();
    at.writer(hands)?
        .call(Action::CreateTags, |ec2| {
            ec2.create_tags().resources(record.as_str()).tags(tag.clone()).send()
        })
        .await?;
    Ok(())
}

/// Says what there is to say once the server is as it was to be.
fn tell(hands: &Hands, report: &Report) {
    if report.changed == 0 {
        hands.events.note("no change on the server");
    }
    match &report.restart {
        Restarted::NotNeeded => {}
        Restarted::Done => hands.events.note("the server has restarted and is as it was set"),
        Restarted::Due => {
            hands.events.warn("some settings take effect only when the server restarts: do so");
        }
        Restarted::At(time) => {
            hands.events.note(format!("the server restarts at {time} of its own clock"));
        }
    }
}
