//! Says of many locks in one call that their holders are alive: one call a lock and minute would be
//! more than AWS takes of a thousand stacks.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use aws_sdk_ec2::types::Tag;
use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared};

use super::{RENEWED, now};
use crate::address::AwsId;
use crate::aws::{self, Action, Place, Verdict, Writer};
use crate::time::{self, Instant};

/// How many objects one CreateTags takes (EC2 API, «CreateTags»: up to 1000).
const MOST: usize = 1000;
/// How long a call waits for others at most.
///
/// INVARIANT: with it a renewal still comes before its holder is doubted.
const LONGEST: Duration = Duration::from_secs(15);

type Groups = Rc<RefCell<BTreeSet<AwsId>>>;
type Answer = Shared<LocalBoxFuture<'static, Result<Instant, aws::Error>>>;

/// The renewals of all that runs at once, one stack or many.
#[derive(Clone, Default)]
pub struct Renewals(Rc<Board>);

#[derive(Default)]
struct Board {
    forming: RefCell<BTreeMap<Place, Forming>>,
    rest: Cell<Duration>,
}

/// A call that has not begun yet: whoever comes by then is in it.
struct Forming {
    groups: Groups,
    answer: Answer,
}

impl fmt::Debug for Renewals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewals")
    }
}

impl Renewals {
    /// Has a call wait so long for others that of so many stacks most share one.
    pub fn shared_by(&self, stacks: usize) {
        self.0.rest.set(time::gathering(stacks, LONGEST));
    }

    /// Renews a lock, with those of others; returns since when it counts.
    pub(super) async fn renew(
        &self,
        writer: &Writer,
        group: &AwsId,
    ) -> Result<Instant, aws::Error> {
        let (answer, groups) = self.join(writer, group);
        // Who lets go of its lock meanwhile is not in the call: AWS would renew none.
        let _seat = Seat { groups, group };
        match answer.await {
            // Perhaps another one's that somebody took away.
            Err(error) if error.verdict == Verdict::Gone => {
                renew(writer, std::slice::from_ref(group)).await
            }
            answer => answer,
        }
    }

    fn join(&self, writer: &Writer, group: &AwsId) -> (Answer, Groups) {
        let place = writer.reader().place().clone();
        let mut all = self.0.forming.borrow_mut();
        let forming = all.entry(place.clone()).or_insert_with(|| {
            let groups = Rc::new(RefCell::new(BTreeSet::new()));
            let (me, writer, wanted) = (self.clone(), writer.clone(), groups.clone());
            let answer = async move {
                time::sleep(me.0.rest.get()).await;
                // From here on whoever comes begins the next call.
                let own = me.0.forming.borrow_mut().remove(&place);
                let groups: Vec<AwsId> = wanted.borrow().iter().cloned().collect();
                let answer = renew(&writer, &groups).await;
                drop(own);
                answer
            };
            Forming { groups, answer: answer.boxed_local().shared() }
        });
        forming.groups.borrow_mut().insert(group.clone());
        (forming.answer.clone(), forming.groups.clone())
    }
}

/// A lock's place in a call, as long as somebody waits for it.
struct Seat<'a> {
    groups: Groups,
    group: &'a AwsId,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.groups.borrow_mut().remove(self.group);
    }
}

/// Goes before all other calls: a lock that is renewed late is lost.
async fn renew(writer: &Writer, groups: &[AwsId]) -> Result<Instant, aws::Error> {
    let (writer, begun) = (writer.ahead(), time::now());
    for some in groups.chunks(MOST) {
        let tag = Tag::builder().key(RENEWED).value(now()).build();
        let ids: Vec<String> = some.iter().map(ToString::to_string).collect();
        let renewed = writer.call(Action::CreateTags, |ec2| {
            ec2.create_tags().set_resources(Some(ids.clone())).tags(tag.clone()).send()
        });
        renewed.await?;
    }
    Ok(begun)
}
