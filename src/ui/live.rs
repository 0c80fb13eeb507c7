//! Shows how something is from moment to moment: drawn anew in place on a terminal, elsewhere what
//! changes, one line each.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::lines::Teller;
use super::{Form, json_line, plain};
use crate::event::{Event, Events, Listener};

/// How many of the last events stand below the picture.
const LAST: usize = 8;

/// What is shown.
#[derive(Clone)]
pub struct Live(Arc<Place>);

/// Where it is shown.
enum Place {
    /// On a terminal, in place.
    Here { bar: ProgressBar, shown: Mutex<Shown>, teller: Teller },
    /// As lines of text.
    Lines,
    /// As lines of JSON.
    Json,
}

#[derive(Default)]
struct Shown {
    picture: String,
    last: VecDeque<String>,
}

impl Shown {
    fn text(&self) -> String {
        let last = self.last.iter().fold(String::new(), |all, line| all + "\n" + line);
        format!("{}{last}", plain::text(&self.picture))
    }
}

impl Live {
    /// Chooses where, as standard output is.
    #[must_use]
    pub fn new(form: Form) -> Self {
        Self(Arc::new(match form {
            Form::Json => Place::Json,
            Form::Text if std::io::stdout().is_terminal() && !super::is_listened_to() => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
                let style = ProgressStyle::with_template("{msg}");
                bar.set_style(style.expect("the template is one that indicatif knows"));
                Place::Here { bar, shown: Mutex::default(), teller: Teller::default() }
            }
            Form::Text => Place::Lines,
        }))
    }

    /// Returns where events go meanwhile: nothing else may write where it is drawn.
    #[must_use]
    pub fn events(&self) -> Events {
        match &*self.0 {
            Place::Here { .. } => Events::new(self.clone()),
            Place::Lines => super::events(Form::Text),
            Place::Json => super::events(Form::Json),
        }
    }

    /// Draws how it is now.
    pub fn draw(&self, picture: impl FnOnce() -> String) {
        self.change(|shown| shown.picture = picture());
    }

    /// Tells that something has changed: a line, or an event of a name.
    pub fn tell<T: Serialize>(&self, words: &str, name: &str, value: &T) {
        match &*self.0 {
            Place::Here { .. } => self.say(words),
            Place::Lines => super::data(&format!("{}\n", plain::saying(words))),
            Place::Json => super::data(&json_line(name, value)),
        }
    }

    /// Leaves the last picture where it is.
    pub fn end(&self) {
        if let Place::Here { bar, shown, .. } = &*self.0 {
            bar.finish_and_clear();
            let shown = shown.lock().expect("no holder of this lock can panic");
            super::data(&format!("{}\n", shown.text()));
        }
    }

    fn say(&self, words: &str) {
        self.change(|shown| {
            shown.last.push_back(plain::saying(words).into_owned());
            while shown.last.len() > LAST {
                shown.last.pop_front();
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Shown)) {
        if let Place::Here { bar, shown, .. } = &*self.0 {
            let mut shown = shown.lock().expect("no holder of this lock can panic");
            change(&mut shown);
            bar.set_message(shown.text());
            bar.tick();
        }
    }
}

impl Listener for Live {
    fn hear(&self, event: &Event) {
        let Place::Here { teller, .. } = &*self.0 else { return };
        if let Some(words) = teller.tell(event) {
            self.say(&words);
        }
    }
}
