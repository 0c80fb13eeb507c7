//! What all runs of a process share: that of one stack, or those of a fleet.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify, OwnedMutexGuard, oneshot};

use super::{Common, Outside, Stopped};
use crate::address::AwsId;
use crate::aws::{Clients, Place, Reader};
use crate::engine::Looks;
use crate::event::Events;
use crate::interrupt::Trigger;
use crate::lease::Renewals;
use crate::spec::File;
use crate::ui;

/// What all runs of a process share.
pub(super) struct Shared {
    pub(super) events: Events,
    /// Interrupts the readers, and all that is made of them.
    pub(super) trigger: Trigger,
    pub(super) looks: Looks,
    pub(super) renewals: Renewals,
    pub(super) file: File,
    turns: RefCell<BTreeMap<AwsId, Arc<Mutex<()>>>>,
    /// One client a place, and with it one set of token buckets.
    clients: Mutex<Clients>,
    /// Where the members of a fleet ask; who runs alone asks by itself.
    asking: Option<Asking>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    /// Begins a run of one stack.
    pub(super) fn alone(outside: &Outside, common: &Common) -> Result<Rc<Self>, Stopped> {
        Self::telling(outside, common, ui::events(common.form()))
    }

    /// Begins a run that says what happens elsewhere.
    pub(super) fn telling(
        outside: &Outside,
        common: &Common,
        events: Events,
    ) -> Result<Rc<Self>, Stopped> {
        let file = read(&path(common), common.config.is_some())?;
        Ok(Self::new(outside, events, file, None))
    }

    /// Begins a run for which no file declares anything yet.
    pub(super) fn without_a_file(outside: &Outside, common: &Common) -> Rc<Self> {
        Self::new(outside, ui::events(common.form()), File::default(), None)
    }

    /// Begins runs of many stacks.
    pub(super) fn fleet(
        outside: &Outside,
        common: &Common,
        events: Events,
    ) -> Result<Rc<Self>, Stopped> {
        let file = read(&path(common), true)?;
        Ok(Self::new(outside, events, file, Some(Asking::default())))
    }

    fn new(outside: &Outside, events: Events, file: File, asking: Option<Asking>) -> Rc<Self> {
        let (trigger, interrupt) = outside.trigger();
        let clients = Mutex::new(outside.clients(events.clone(), interrupt));
        let (looks, renewals) = (Looks::default(), Renewals::default());
        let turns = RefCell::default();
        Rc::new(Self { events, trigger, looks, renewals, file, turns, clients, asking })
    }

    /// Returns the reader for a place.
    pub(super) async fn reader(&self, place: &Place) -> Reader {
        self.clients.lock().await.reader(place).await
    }

    /// Waits for the stacks of this process that give up something shared, until it is one's turn.
    pub(super) async fn turn(&self, shared: &AwsId) -> OwnedMutexGuard<()> {
        let turn = self.turns.borrow_mut().entry(shared.clone()).or_default().clone();
        turn.lock_owned().await
    }

    /// Says whether several stacks are worked on.
    pub(super) fn is_fleet(&self) -> bool {
        self.asking.is_some()
    }

    /// Asks a question that is answered with yes or no; `None`: nobody can be asked.
    ///
    /// The members of a fleet are answered all at once, when each of them asks or has ended.
    pub(super) async fn confirm(&self, question: &str) -> Option<bool> {
        match &self.asking {
            Some(asking) => asking.join(question).await,
            None => ui::confirm(question),
        }
    }

    /// Ends when a member of the fleet asks.
    pub(super) async fn is_asked(&self) {
        match &self.asking {
            Some(asking) => asking.came.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Asks for all members, if all `count` that are under way wait for it.
    pub(super) fn ask_for_all(&self, count: usize) {
        if let Some(asking) = self.asking.as_ref().filter(|all| all.waiting.borrow().len() == count)
        {
            asking.answer();
        }
    }
}

/// Asks one question for all who ask.
#[derive(Default)]
struct Asking {
    waiting: RefCell<Vec<(String, oneshot::Sender<Option<bool>>)>>,
    came: Notify,
}

impl Asking {
    async fn join(&self, question: &str) -> Option<bool> {
        let (answer, answered) = oneshot::channel();
        self.waiting.borrow_mut().push((question.to_owned(), answer));
        self.came.notify_one();
        answered.await.ok().flatten()
    }

    fn answer(&self) {
        let waiting = self.waiting.take();
        let mut questions: Vec<&str> =
            waiting.iter().map(|(question, _)| question.as_str()).collect();
        questions.sort_unstable();
        questions.dedup();
        let question = match (waiting.len(), questions.join(" ")) {
            (0, _) => return,
            (1, question) => question,
            (count, question) => format!("{question} ({count} stacks)"),
        };
        let answer = ui::confirm(&question);
        for (_, asked) in waiting {
            // Whoever asked may have been interrupted meanwhile.
            let _: Result<(), _> = asked.send(answer);
        }
    }
}

/// The file that declares stacks.
pub(super) fn path(common: &Common) -> PathBuf {
    common.config.clone().unwrap_or_else(|| PathBuf::from("cgw.toml"))
}

fn read(path: &Path, must: bool) -> Result<File, Stopped> {
    File::read(path, must).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        let text = format!("{error}{}", cause.unwrap_or_default());
        Stopped::refused(text, "mend the file, or name another with --config")
    })
}
