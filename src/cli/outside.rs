//! What lies outside a run of cgw: AWS and servers, real or simulated, and the process that it is.

use std::rc::Rc;
use std::str::FromStr as _;

use aws_credential_types::Credentials;

use super::shared::Shared;
use super::{Cli, Common, Stopped};
use crate::aws::Clients;
use crate::event::Events;
use crate::interrupt::{Interrupt, Keyboard, Trigger};
use crate::lease::Holder;
use crate::resource::Dice;
use crate::sandbox::Sandbox;
use crate::spec::Declared;
use crate::ui;

/// What lies outside a run of cgw.
#[derive(Debug, Clone)]
pub struct Outside {
    sandbox: Option<Sandbox>,
    keyboard: Keyboard,
    holder: Holder,
    shared: Option<Rc<Shared>>,
}

impl Outside {
    /// Returns what a command line asks for.
    pub(super) fn of(cli: &Cli) -> Result<Self, Stopped> {
        let sandbox = match &cli.sandbox {
            Some(folder) => {
                let sandbox = Sandbox::open(folder, cli.sandbox_speed)?;
                let (folder, speed) = (folder.display(), cli.sandbox_speed);
                ui::talk(&format!(
                    "this is the sandbox in {folder}, {speed} times faster than real: nothing of it exists"
                ));
                Some(sandbox)
            }
            None => None,
        };
        Ok(Self { sandbox, keyboard: Keyboard::default(), holder: Holder::this(), shared: None })
    }

    /// Returns a sandbox, in which a simulated process runs at whose keyboard somebody sits.
    #[must_use]
    pub fn sandboxed(sandbox: Sandbox, process: u32, keyboard: Keyboard) -> Self {
        let (sandbox, holder) = (Some(sandbox), Holder::simulated(process));
        Self { sandbox, keyboard, holder, shared: None }
    }

    /// Returns what lies outside a run that shares something with others.
    pub(super) fn with(&self, shared: Rc<Shared>) -> Self {
        Self { shared: Some(shared), ..self.clone() }
    }

    /// Returns what a run shares, with others or with itself alone.
    pub(super) fn shared(&self, common: &Common) -> Result<Rc<Shared>, Stopped> {
        match &self.shared {
            Some(shared) => Ok(shared.clone()),
            None => Shared::alone(self, common),
        }
    }

    /// Returns the sandbox, if this is one.
    pub(super) fn sandbox(&self) -> Option<&Sandbox> {
        self.sandbox.as_ref()
    }

    /// Returns the two ends of a VPN that a sandbox has, for whoever names none.
    pub(super) fn ends(&self) -> Result<Declared, Stopped> {
        let seed = self.sandbox.as_ref().map(Sandbox::seeded).transpose()?.flatten();
        Ok(seed.map_or_else(Declared::default, |seed| Declared {
            vpc: seed.cloud_vpc.parse().ok(),
            instance: seed.instance.parse().ok(),
            ping: seed.ping.parse().ok(),
            ..Declared::default()
        }))
    }

    /// Returns the process, as the lock knows it.
    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Returns fresh dice; in a sandbox they fall as its own seed has it.
    pub(super) fn dice(&self) -> Dice {
        let chance = self.sandbox.as_ref().and_then(|sandbox| sandbox.chance().ok());
        chance.map_or_else(Dice::new, Dice::seeded)
    }

    /// Makes what is pulled when somebody interrupts.
    pub(super) fn trigger(&self) -> (Trigger, Interrupt) {
        Trigger::new(self.keyboard.clone())
    }

    /// Makes what makes clients.
    pub(super) fn clients(&self, events: Events, interrupt: Interrupt) -> Clients {
        let clients = Clients::new(events, interrupt);
        match &self.sandbox {
            Some(sandbox) => clients
                .with_http_client(sandbox.http_client())
                .with_credentials(Credentials::new("SANDBOX", "any", None, None, "sandbox")),
            None => clients,
        }
    }

    /// Returns the region that is meant where none is named.
    pub(super) async fn default_region(&self, profile: Option<&str>) -> Option<String> {
        match &self.sandbox {
            Some(_) => Some(Sandbox::REGION.to_owned()),
            None => Clients::default_region(profile).await,
        }
    }
}

/// Reads how many times faster the sandbox's time goes.
pub(super) fn speed(text: &str) -> Result<f64, String> {
    match f64::from_str(text) {
        Ok(speed) if (0.1..=10_000.0).contains(&speed) => Ok(speed),
        Ok(_) | Err(_) => Err("give a number from 0.1 to 10000".to_owned()),
    }
}
