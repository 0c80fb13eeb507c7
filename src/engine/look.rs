//! Looks at nodes while they are worked on: one Describe a tick for all that wait for a source.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared};

use super::observe::sources;
use crate::address::{Address, AwsId, Id};
use crate::aws::{self, Only, Place, Reader, Source};
use crate::resource::{self, Error, Hands, Live, State};
use crate::time;
use crate::world::{Region, World};

/// How many ids one Describe is asked for.
const IDS: usize = 200;

type Answer = Result<Rc<Region>, aws::Error>;
type Ids = Rc<RefCell<BTreeSet<AwsId>>>;

/// A tick that has not begun to read yet: whoever comes by then is read with it.
struct Forming<'h> {
    ids: Ids,
    answer: Shared<LocalBoxFuture<'h, Answer>>,
}

/// The ticks of a run of the engine.
pub(super) struct Looks<'h> {
    hands: &'h Hands,
    forming: Rc<RefCell<BTreeMap<(Place, Source), Forming<'h>>>>,
}

impl<'h> Looks<'h> {
    pub(super) fn new(hands: &'h Hands) -> Self {
        Self { hands, forming: Rc::default() }
    }

    /// Looks for one node: rests, then reads.
    ///
    /// Kinds that AWS is slow with are seen by one source, and share its ticks; for the others all
    /// their sources are read whole.
    pub(super) async fn look(
        &self,
        address: &Address,
        place: &Place,
        reads: &[Source],
        id: Option<&Id>,
        rest: Duration,
    ) -> Result<Vec<Live<State>>, Error> {
        let reader = self.hands.at(place)?.reader();
        let region = match (reads, id) {
            ([source], Some(id)) => {
                let region = self.tick(reader, *source, id.owner(), rest).await?;
                Region::clone(&region)
            }
            (all, _) => {
                time::sleep(rest).await;
                sources(reader, all).await?
            }
        };
        let world = World { regions: vec![region] };
        let found = resource::find(&world, &address.stack);
        Ok(found.into_iter().filter(|live| &live.address == address).collect())
    }

    async fn tick(&self, reader: &'h Reader, source: Source, id: &AwsId, rest: Duration) -> Answer {
        let key = (reader.place().clone(), source);
        let answer = {
            let mut forming = self.forming.borrow_mut();
            let tick = forming.entry(key.clone()).or_insert_with(|| {
                let ids = Ids::default();
                let answer = read(reader, source, rest, ids.clone(), self.forming.clone());
                Forming { ids, answer: answer.boxed_local().shared() }
            });
            tick.ids.borrow_mut().insert(id.clone());
            tick.answer.clone()
        };
        answer.await
    }
}

async fn read<'h>(
    reader: &'h Reader,
    source: Source,
    rest: Duration,
    ids: Ids,
    forming: Rc<RefCell<BTreeMap<(Place, Source), Forming<'h>>>>,
) -> Answer {
    time::sleep(rest).await;
    // From here on whoever comes begins the next tick.
    let tick = forming.borrow_mut().remove(&(reader.place().clone(), source));
    let ids: Vec<AwsId> = ids.borrow().iter().cloned().collect();
    let mut region = Region::empty(reader.place());
    for some in ids.chunks(IDS) {
        let mut part = Region::empty(reader.place());
        part.absorb(reader.read(source, Only::Ids(some)).await?);
        region.extend(part);
    }
    drop(tick);
    Ok(Rc::new(region))
}
