//! Reads all that anybody needs.

use futures_util::future::try_join_all;

use crate::aws::{Error, Only, Reader, Source};
use crate::event::{Event, Events};
use crate::world::{Region, World};

/// Reads every place, all sources at once.
pub async fn observe(readers: &[Reader], events: &Events) -> Result<World, Error> {
    let reads = readers.iter().map(|reader| {
        events.say(&Event::Observing { place: reader.place().to_string() });
        absorb(Region::empty(reader.place()), reader, &Source::ALL)
    });
    Ok(World { regions: try_join_all(reads).await? })
}

/// Reads anew what stacks are made of; VPCs stay as they were seen.
pub async fn observe_again(world: &World, readers: &[Reader]) -> Result<World, Error> {
    let reads = readers.iter().map(|reader| {
        let seen = world.region(reader.place()).cloned();
        let region = seen.unwrap_or_else(|| Region::empty(reader.place()));
        absorb(region, reader, &Source::OF_STACKS)
    });
    Ok(World { regions: try_join_all(reads).await? })
}

/// Reads some sources of one place; the others stay empty.
pub(super) async fn sources(reader: &Reader, sources: &[Source]) -> Result<Region, Error> {
    absorb(Region::empty(reader.place()), reader, sources).await
}

async fn absorb(mut region: Region, reader: &Reader, sources: &[Source]) -> Result<Region, Error> {
    let reads = sources.iter().map(|source| reader.read(*source, Only::All));
    for batch in try_join_all(reads).await? {
        region.absorb(batch);
    }
    Ok(region)
}
