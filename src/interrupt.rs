//! Tells those who wait that nothing more is to be begun.

use std::time::Duration;

use tokio::sync::watch;

use crate::time;

/// What was waited for was cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Interrupts all that listen.
#[derive(Debug, Clone)]
pub struct Trigger(watch::Sender<bool>);

/// Listens for the interrupt.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

impl Trigger {
    /// Makes a trigger and who listens to it.
    #[must_use]
    pub fn new() -> (Self, Interrupt) {
        let (send, receive) = watch::channel(false);
        (Self(send), Interrupt(receive))
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
        Trigger::new().1
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
        let (trigger, interrupt) = Trigger::new();
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
        let (trigger, interrupt) = Trigger::new();
        drop(trigger);
        assert_eq!(interrupt.sleep(Duration::from_secs(1)).await, Ok(()));
    }
}
