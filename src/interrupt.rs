//! Tells those who wait that nothing more is to be begun.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::time;

/// What was waited for was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Where somebody presses Ctrl-C.
#[derive(Debug, Clone, Default)]
pub enum Keyboard {
    /// At this process's terminal.
    #[default]
    Terminal,
    /// Wherever each press is notified of.
    Elsewhere(Arc<Notify>),
}

impl Keyboard {
    /// Ends when somebody presses Ctrl-C.
    pub async fn pressed(&self) {
        match self {
            Self::Terminal => {
                if tokio::signal::ctrl_c().await.is_err() {
                    // Nobody can press it here.
                    std::future::pending::<()>().await;
                }
            }
            Self::Elsewhere(notify) => notify.notified().await,
        }
    }
}

/// Interrupts all that listen.
#[derive(Debug, Clone)]
pub struct Trigger(watch::Sender<bool>, Keyboard);

/// Listens for the interrupt.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

impl Trigger {
    /// Makes a trigger and who listens to it.
    #[must_use]
    pub fn new(keyboard: Keyboard) -> (Self, Interrupt) {
        let (send, receive) = watch::channel(false);
        (Self(send, keyboard), Interrupt(receive))
    }

    /// Ends when somebody presses Ctrl-C; what follows of it is the caller's.
    pub async fn pressed(&self) {
        self.1.pressed().await;
    }

    /// Makes another one of the same keyboard.
    #[must_use]
    pub fn anew(&self) -> (Self, Interrupt) {
        Self::new(self.1.clone())
    }

    /// Interrupts; returns whether nobody had before.
    #[must_use]
    pub fn pull(&self) -> bool {
        !self.0.send_replace(true)
    }
}

impl Interrupt {
    /// Makes one that never comes.
    #[must_use]
    pub fn never() -> Self {
        Trigger::new(Keyboard::default()).1
    }

    /// Says whether it came.
    #[must_use]
    pub fn came(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when it comes.
    pub async fn come(&self) {
        if self.0.clone().wait_for(|came| *came).await.is_err() {
            // Whoever could pull the trigger is gone.
            std::future::pending::<()>().await;
        }
    }

    /// Waits for a span of time, if nothing interrupts.
    pub async fn sleep(&self, span: Duration) -> Result<(), Interrupted> {
        tokio::select! {
            biased;
            () = self.come() => Err(Interrupted),
            () = time::sleep(span) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rest_is_cut_short_and_the_next_does_not_begin() {
        let (trigger, interrupt) = Trigger::new(Keyboard::default());
        assert_eq!(interrupt.sleep(Duration::from_secs(1)).await, Ok(()));
        let begun = time::now();
        let pull = async {
            time::sleep(Duration::from_secs(2)).await;
            assert!(trigger.pull() && !trigger.pull());
        };
        let (rest, ()) = tokio::join!(interrupt.sleep(Duration::from_mins(5)), pull);
        assert_eq!(rest, Err(Interrupted));
        assert_eq!(interrupt.sleep(Duration::from_mins(5)).await, Err(Interrupted));
        assert!(interrupt.came());
        assert_eq!((time::now() - begun).as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trigger_that_is_gone_interrupts_nobody() {
        let (trigger, interrupt) = Trigger::new(Keyboard::default());
        drop(trigger);
        assert_eq!(interrupt.sleep(Duration::from_secs(1)).await, Ok(()));
    }
}
