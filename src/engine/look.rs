//! Reads for everybody who runs at once: one Describe for all who wait for the same.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared, try_join_all};

use crate::address::{Address, AwsId, Id};
use crate::aws::{Error, Only, Place, Reader, Source};
use crate::event::{Event, Events};
use crate::resource::{self, Live, State};
use crate::time::{self, Instant};
use crate::world::{Region, World};

/// How many ids one Describe is asked for.
const IDS: usize = 200;

/// How far apart whole reads begin at most: as long as a wait rests.
pub(super) const TICK: Duration = Duration::from_secs(10);

/// What is read in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// Some objects of a source: those that anybody waits for.
    Awaited(Source),
    /// All objects of some sources.
    All(&'static [Source]),
}

/// Which reads can be one: those of the same in the same place, by readers that give up alike.
type Key = (Place, What, bool);

/// What was read, and since when it counts.
#[derive(Debug)]
struct Read {
    begun: Instant,
    region: Arc<Region>,
}

type Answer = Shared<LocalBoxFuture<'static, Result<Rc<Read>, Error>>>;

/// A read that has not begun yet: whoever comes by then is read with it.
struct Forming {
    ids: Rc<RefCell<BTreeSet<AwsId>>>,
    answer: Answer,
}

/// The reads of all that runs at once, one stack or many.
#[derive(Clone, Default)]
pub struct Looks(Rc<Shelf>);

#[derive(Default)]
struct Shelf {
    forming: RefCell<BTreeMap<Key, Forming>>,
    /// Whole reads that are under way.
    reading: RefCell<BTreeMap<Key, Answer>>,
    /// When the last whole reads began.
    begun: RefCell<BTreeMap<Key, Instant>>,
    /// How far apart they begin at least.
    apart: Cell<Duration>,
    /// What each place was seen to hold last.
    seen: RefCell<BTreeMap<Place, Arc<Region>>>,
}

impl fmt::Debug for Looks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Looks")
    }
}

impl Looks {
    /// Has whole reads begin so far apart that each of so many stacks pays for as many as one alone:
    /// what they show grows with the stacks.
    pub fn shared_by(&self, stacks: usize) {
        self.0.apart.set(time::gathering(stacks, TICK));
    }

    /// Reads every place, all sources at once, or joins whoever is reading it just now; returns since
    /// when it counts as well.
    pub async fn observe(
        &self,
        readers: &[Reader],
        events: &Events,
    ) -> Result<(World, Instant), Error> {
        let begun = time::now();
        let reads = readers.iter().map(|reader| {
            let key = key(reader, What::All(&Source::ALL));
            let under_way = self.0.reading.borrow().get(&key).cloned();
            under_way.unwrap_or_else(|| {
                events.say(&Event::Observing { place: reader.place().to_string() });
                self.whole(reader, &Source::ALL)
            })
        });
        let reads = try_join_all(reads).await?;
        let begun = reads.iter().map(|read| read.begun).fold(begun, Instant::min);
        Ok((world(&reads), begun))
    }

    /// Reads anew what stacks are made of; VPCs stay as they were seen.
    pub async fn observe_again(&self, readers: &[Reader]) -> Result<World, Error> {
        let reads = readers.iter().map(|reader| self.whole(reader, &Source::OF_STACKS));
        Ok(world(&try_join_all(reads).await?))
    }

    /// Reads some sources of a place.
    pub(super) async fn world(
        &self,
        reader: &Reader,
        sources: &'static [Source],
    ) -> Result<World, Error> {
        Ok(world(&[self.whole(reader, sources).await?]))
    }

    /// Looks for one node: rests, then reads.
    ///
    /// Kinds that AWS is slow with are seen by one source, and share its ticks: who comes while one
    /// is awaited is read with it, though it may come a little later than asked. For the others all
    /// their sources are read whole.
    pub async fn look(
        &self,
        reader: &Reader,
        address: &Address,
        reads: &'static [Source],
        id: Option<&Id>,
        rest: Duration,
    ) -> Result<Vec<Live<State>>, Error> {
        let read = match (reads, id) {
            ([source], Some(id)) => self.tick(reader, *source, id.owner(), rest).await?,
            (all, _) => {
                time::sleep(rest).await;
                self.whole(reader, all).await?
            }
        };
        let found = resource::find(&world(&[read]), &address.stack);
        Ok(found.into_iter().filter(|live| &live.address == address).collect())
    }

    /// Joins the next tick that reads a source, or begins one that comes after a rest.
    fn tick(&self, reader: &Reader, source: Source, id: &AwsId, rest: Duration) -> Answer {
        let (me, reader) = (self.clone(), reader.clone());
        let key = key(&reader, What::Awaited(source));
        let read = async move |key: &Key, ids: &RefCell<BTreeSet<AwsId>>| {
            time::sleep(rest).await;
            // From here on whoever comes begins the next tick.
            let tick = me.0.forming.borrow_mut().remove(key);
            let begun = time::now();
            let ids: Vec<AwsId> = ids.borrow().iter().cloned().collect();
            let mut region = Region::empty(reader.place());
            for some in ids.chunks(IDS) {
                let mut part = Region::empty(reader.place());
                part.absorb(reader.read(source, Only::Ids(some)).await?);
                region.extend(part);
            }
            drop(tick);
            Ok(Rc::new(Read { begun, region: Arc::new(region) }))
        };
        self.join(&key, Some(id), read)
    }

    /// Joins the next whole read of some sources; it begins when the one that is under way has
    /// ended, so that it shows all that was done until now, and no sooner than many stacks allow.
    fn whole(&self, reader: &Reader, sources: &'static [Source]) -> Answer {
        let (me, reader) = (self.clone(), reader.clone());
        let key = key(&reader, What::All(sources));
        let read = async move |key: &Key, _: &RefCell<BTreeSet<AwsId>>| {
            let before = me.0.reading.borrow().get(key).cloned();
            if let Some(before) = before {
                drop(before.await);
            }
            let begun = me.0.begun.borrow().get(key).copied();
            let rest = begun.map(|begun| me.0.apart.get().saturating_sub(begun.elapsed()));
            // Whoever interrupts waits for no other.
            let _: Result<(), _> = reader.interrupt().sleep(rest.unwrap_or_default()).await;
            let own = me.0.forming.borrow_mut().remove(key);
            me.0.reading.borrow_mut().extend(own.map(|own| (key.clone(), own.answer)));
            let begun = time::now();
            me.0.begun.borrow_mut().insert(key.clone(), begun);
            let region = me.read(&reader, sources).await;
            me.0.reading.borrow_mut().remove(key);
            Ok(Rc::new(Read { begun, region: region? }))
        };
        self.join(&key, None, read)
    }

    /// Joins a read that is forming, or forms one.
    fn join<F>(&self, key: &Key, id: Option<&AwsId>, read: F) -> Answer
    where
        F: AsyncFnOnce(&Key, &RefCell<BTreeSet<AwsId>>) -> Result<Rc<Read>, Error> + 'static,
    {
        let mut forming = self.0.forming.borrow_mut();
        let forming = forming.entry(key.clone()).or_insert_with(|| {
            let ids = Rc::new(RefCell::new(BTreeSet::new()));
            let (key, all) = (key.clone(), ids.clone());
            let answer = async move { read(&key, &all).await };
            Forming { ids, answer: answer.boxed_local().shared() }
        });
        forming.ids.borrow_mut().extend(id.cloned());
        forming.answer.clone()
    }

    async fn read(
        &self,
        reader: &Reader,
        sources: &'static [Source],
    ) -> Result<Arc<Region>, Error> {
        let place = reader.place();
        let mut region = Region::empty(place);
        let reads = sources.iter().map(|source| reader.read(*source, Only::All));
        let batches = try_join_all(reads).await?;
        if let Some(seen) = self.0.seen.borrow().get(place) {
            region.vpcs.clone_from(&seen.vpcs);
            region.transit.clone_from(&seen.transit);
        }
        for batch in batches {
            region.absorb(batch);
        }
        let region = Arc::new(region);
        if sources == Source::ALL {
            self.0.seen.borrow_mut().insert(place.clone(), region.clone());
        }
        Ok(region)
    }
}

fn key(reader: &Reader, what: What) -> Key {
    (reader.place().clone(), what, reader.interrupt().came())
}

fn world(reads: &[Rc<Read>]) -> World {
    World { regions: reads.iter().map(|read| read.region.clone()).collect() }
}
