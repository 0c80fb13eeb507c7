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
use crate::server::Reach;
use crate::world::World;

/// The playbook, run through `server`; what was applied is a digest in a tag on the record.
///
/// The digest tells nothing of the keys in it: they have 288 bits.
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
    /// Whether a person runs the scripts, so that nobody knows whether they were run.
    pub is_by_hand: bool,
    /// What must be so before the server can be reached and the tunnels can come up.
    pub after: Vec<Address>,
}

/// What is seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// The digest of the bundle that was applied last; with a mark, if by hand.
    pub digest: String,
}

impl Kind for WindowsSetup {
    const NAME: &'static str = "windows-setup";
    const READS: &'static [Source] = &[Source::SecurityGroups];
    const GOES_WITH_OWNER: bool = true;
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

    /// Forgets what was applied; what is on the server stays there.
    async fn delete(hands: &Hands, at: &At<'_>, id: &Id, _: &State) -> Result<Next, Error> {
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
    let report = server.push(public_ip, &bundle, &hands.events).await?;
    if matches!(server, Reach::Ssh { .. }) && report.changed == 0 {
        hands.events.note("no change on the server");
    }
    if report.reboots {
        hands.events.note("the server restarts within 15 seconds; the tunnels come up after it");
    }
    let digest = mark(spec, &bundle);
    let tag = Tag::builder().key(TAG).value(&digest).build();
    at.writer(hands)?
        .call(Action::CreateTags, |ec2| {
            ec2.create_tags().resources(record.as_str()).tags(tag.clone()).send()
        })
        .await?;
    Ok(digest)
}
