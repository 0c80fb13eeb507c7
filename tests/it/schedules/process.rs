//! Processes that run cgw side by side, and what comes over each.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use cgw::cli::{Cli, Code, Outside, run_in};
use cgw::interrupt::Keyboard;
use cgw::sandbox::{Draws, Process, Sandbox};
use cgw::{time, ui};
use clap::Parser as _;

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Code(Code),
    Killed,
}

/// A run that has ended.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) words: Vec<String>,
    pub(super) ending: Ending,
    /// All that it has said.
    pub(super) said: String,
    pub(super) process: Process,
}

/// What comes over a process at a moment of its own, whatever it does then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Kill,
    CtrlC,
    Join,
    /// A person changes something by hand.
    ByHand,
}

/// Acts, each after a rest.
pub(super) type Acts = Vec<(Duration, Act)>;

/// Draws what comes over a process.
pub(super) fn acts(draws: &mut Draws) -> Acts {
    let mut acts = Acts::new();
    for (percent, act) in [(6, Act::Kill), (8, Act::CtrlC), (6, Act::Join), (8, Act::ByHand)] {
        if draws.percent("act", percent) {
            acts.push((moment(draws), act));
            if act == Act::CtrlC && draws.percent("act", 30) {
                acts.push((Duration::from_secs((draws.number("act") % 60).into()), act));
            }
        }
    }
    acts
}

/// From a second to 17 minutes, as often shorter as longer than half a minute.
fn moment(draws: &mut Draws) -> Duration {
    let part = f64::from(draws.number("moment")) / f64::from(u32::MAX);
    Duration::from_secs_f64((part * 10.0).exp2())
}

/// Where processes run.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) sandbox: Sandbox,
    /// All that is said, by whomever.
    pub(super) transcript: Rc<RefCell<String>>,
}

impl Place {
    pub(super) fn note(&self, text: &str) {
        if std::env::var_os("CGW_SEED").is_some() {
            print!("{text}");
        }
        self.transcript.borrow_mut().push_str(text);
    }

    /// Runs a command to its end, or until it is killed.
    pub(super) async fn run(
        self,
        number: u32,
        words: Vec<String>,
        process: Process,
        acts: Acts,
        by_hand: impl Fn(),
    ) -> Run {
        self.note(&format!("{number}$ cgw {}\n", words.join(" ")));
        let said = RefCell::new(String::new());
        let cli = Cli::try_parse_from(["cgw"].into_iter().chain(words.iter().map(String::as_str)));
        let keyboard = Keyboard::Elsewhere(process.interrupted.clone());
        let outside = Outside::sandboxed(self.sandbox.seen_by(&process), number, keyboard);
        let mut work = Box::pin(run_in(&outside, cli.expect("the words are right").command));
        // What is said while it is polled is its own.
        let heard = poll_fn(|cx| {
            let polled = work.as_mut().poll(cx);
            let text = ui::heard();
            if !text.is_empty() {
                said.borrow_mut().push_str(&text);
                self.note(
                    &text
                        .lines()
                        .fold(String::new(), |all, line| format!("{all}{number}  {line}\n")),
                );
            }
            polled
        });
        let comes_over = async {
            for (rest, act) in acts {
                time::sleep(rest).await;
                match act {
                    Act::Kill => process.killed.notify_one(),
                    Act::CtrlC => process.interrupted.notify_one(),
                    Act::Join => process.joined.notify_one(),
                    Act::ByHand => by_hand(),
                }
            }
            std::future::pending().await
        };
        let ending = tokio::select! {
            biased;
            () = process.killed.notified() => Ending::Killed,
            never = comes_over => match never {},
            code = heard => Ending::Code(code),
        };
        self.note(&format!("{number}= {ending:?}\n"));
        Run { words, ending, said: said.take(), process }
    }
}
