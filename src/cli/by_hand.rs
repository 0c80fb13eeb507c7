//! Waits for a person who runs the scripts, and proves the tunnel by what they paste.

use std::path::Path;
use std::time::Duration;

use super::change::interruptible;
use super::prove::conclude;
use super::session::Session;
use super::{Code, Common, Stopped};
use crate::server::{Proof, Unread};
use crate::time::Backoff;
use crate::ui;

/// Waits for a person to run the scripts and for AWS to show a tunnel as up, and has the person
/// paste the proof, if there is a person.
pub(super) async fn by_hand(
    session: &mut Session,
    common: &Common,
    folder: &Path,
) -> Result<Code, Stopped> {
    let ping = session.declared.ping.map_or("ADDRESS".to_owned(), |ping| ping.to_string());
    let question = format!(
        "Run what is in {} on the server, and prove.ps1 -Ping {ping} there last. Is that done?",
        folder.display()
    );
    if ui::confirm(&question) != Some(true) {
        session.events.note("not proven: `cgw status` shows a tunnel as UP once it is");
        return Ok(Code::Done);
    }
    let trigger = session.trigger.clone();
    interruptible(&trigger, wait_until_up(session)).await?;
    let Some(proof) = pasted() else {
        session
            .events
            .note("not proven: that AWS shows a tunnel as up says nothing of what goes through it");
        return Ok(Code::Done);
    };
    let ping = session.declared.ping;
    interruptible(&trigger, conclude(session, common, &proof, ping)).await
}

/// Waits until AWS shows a tunnel as up.
async fn wait_until_up(session: &Session) -> Result<(), Stopped> {
    let mut rests =
        Backoff::new(Duration::from_secs(5), Duration::from_secs(20), Duration::from_mins(10));
    session.events.note("waiting until AWS shows a tunnel as up, some minutes");
    loop {
        let connection = session.connection().await?;
        let mut measured = connection.iter().flat_map(|(_, state)| &state.telemetry);
        if let Some(up) = measured.find(|tunnel| tunnel.is_up) {
            session.events.note(format!("the tunnel {} is up", up.outside));
            return Ok(());
        }
        let rest = rests.next_rest().ok_or_else(|| {
            Stopped::with(
                Code::Failed,
                "AWS shows no tunnel as up",
                "only traffic from the server starts a tunnel: run prove.ps1 -Ping ADDRESS there, \
                 with a host in the VPC",
            )
        })?;
        if session.cloud_reader().interrupt().sleep(rest).await.is_err() {
            return Err(session.interrupted().await);
        }
    }
}

/// The proof that a person pastes, perhaps in the pieces that a console made of its line; `None` if
/// they leave it out.
fn pasted() -> Option<Proof> {
    let mut text = String::new();
    let mut question = "Paste the line that begins with cgw-proof (nothing: leave it out)";
    loop {
        let answer = ui::line(question).filter(|answer| !answer.trim().is_empty())?;
        text.push_str(answer.trim());
        match Proof::read(&text) {
            Ok(proof) => return Some(proof),
            Err(Unread::Cut) => question = "And the rest of that line",
            Err(Unread::Other) => {
                text.clear();
                question = "That is another line: paste the one that begins with cgw-proof";
            }
        }
    }
}
