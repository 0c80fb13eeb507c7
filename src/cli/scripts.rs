//! `scripts`: writes what runs on the server into a folder.

use std::path::PathBuf;

use clap::Args;

use super::session::{Asked, Session};
use super::{Code, Common, Outside, Stopped, Whereabouts};
use crate::address::Address;
use crate::playbook::{self, Bundle};
use crate::preflight::{Stop, examine};
use crate::resource::{Kind as _, State, VpnConnection};
use crate::{server, topology};

/// Options of `scripts`.
#[derive(Debug, Clone, Args)]
pub struct Scripts {
    /// The folder; only its owner may enter it
    pub folder: PathBuf,
    /// What is common.
    #[command(flatten)]
    pub common: Common,
    /// Where the stack is.
    #[command(flatten)]
    pub at: Whereabouts,
}

/// Writes the bundle, the guide's two netsh commands, and AWS's own files.
pub(super) async fn scripts(outside: &Outside, options: Scripts) -> Result<Code, Stopped> {
    let session = Session::open(outside, &options.common, Asked::from(&options.at)).await?;
    if !session.exists {
        return Err(session.is_unknown());
    }
    session.must_know_own_steps()?;
    let situation = examine(&session.request()).map_err(|stop| match stop {
        Stop::Refused(refusals) => Stopped::from(refusals),
        Stop::Choose(_) => Stopped::refused("which server?", "name it with --instance"),
    })?;
    let plan = session.plan(&topology::desired(&situation));
    let Some((id, State::VpnConnection(connection))) =
        plan.known().remove(&Address::new(&session.stack, VpnConnection::NAME, ""))
    else {
        return Err(Stopped::refused(
            format!("the stack {} has no VPN connection that stays", session.stack),
            "make it with `cgw up` first",
        ));
    };
    let id = id.owner();
    let parameters = topology::parameters(&situation);
    let wrong = |text: String| Stopped::refused(text, "");
    let bundle = Bundle::render(&parameters, id, &connection.tunnels)
        .map_err(|error| wrong(error.to_string()))?;
    let configuration = connection.configuration.as_ref();
    playbook::check(&bundle, &parameters, &connection.tunnels, configuration)
        .map_err(|what| wrong(format!("the scripts do not carry what AWS has: {what}")))?;
    let mut more = Vec::new();
    for (n, (name, tunnel)) in playbook::NETSH.into_iter().zip(&connection.tunnels).enumerate() {
        let text = playbook::netsh_file(&parameters, id, n, tunnel)
            .map_err(|error| wrong(error.to_string()))?;
        more.push((name, text));
    }
    more.extend(configuration.map(|xml| (playbook::CONFIGURATION, xml.clone())));
    match session.cloud_reader().sample_configuration(id.as_str()).await {
        Ok(Some(text)) => more.push((playbook::SAMPLE, text)),
        Ok(None) => session.events.note("AWS has no sample for Windows Server"),
        Err(error) => session.events.note(format!("without AWS's own sample: {error}")),
    }
    let scripts = bundle.all();
    let others = more.iter().map(|(name, text)| (*name, text.expose().as_bytes()));
    server::write_folder(&options.folder, scripts.chain(others)).map_err(Stopped::from)?;
    let folder = options.folder.display();
    session.events.note(format!(
        "wrote {folder}: run run.ps1 there as Administrator, then confirm.ps1 from a new session, or \
         the two tunnel-N.cmd; the files \
         hold pre-shared keys, delete them afterwards"
    ));
    Ok(Code::Done)
}
