//! The verbs that touch the world; so far `observe()`.

use futures_util::future::try_join_all;

use crate::aws::{Error, Only, Reader, Source};
use crate::event::{Event, Events};
use crate::world::{Region, World};

/// Reads all that anybody needs of every place, all sources at once.
pub async fn observe(readers: &[Reader], events: &Events) -> Result<World, Error> {
    let regions = try_join_all(readers.iter().map(|reader| region(reader, events))).await?;
    Ok(World { regions })
}

async fn region(reader: &Reader, events: &Events) -> Result<Region, Error> {
    events.say(&Event::Observing {
        place: reader.place().to_string(),
    });
    let reads = Source::ALL.map(|source| reader.read(source, Only::All));
    let mut region = Region::empty(reader.place());
    for batch in try_join_all(reads).await? {
        region.absorb(batch);
    }
    Ok(region)
}
