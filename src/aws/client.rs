//! The clients: a [`Reader`] can only read, a [`Writer`] can change.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::types::ActiveVpnTunnelStatus;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use serde::Serialize;

use super::action::{Action, Effect};
use super::bucket::Buckets;
use super::error::{Error, Verdict};
use crate::event::{Event, Events};
use crate::interrupt::Interrupt;
use crate::secret::Secret;
use crate::time::{self, Backoff, Instant, SdkClock};

/// Where objects live: everything in one place is read once and shares one client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The AWS profile; `None`: what the environment says.
    pub profile: Option<String>,
    /// The region, such as `eu-west-1`.
    pub region: String,
    /// Another endpoint than AWS's own, such as LocalStack's.
    pub endpoint: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.region)?;
        self.profile.iter().try_for_each(|profile| write!(f, " (profile {profile})"))
    }
}

/// Makes clients, one a place.
#[derive(Debug)]
pub struct Clients {
    events: Events,
    interrupt: Interrupt,
    credentials: Option<Credentials>,
    http: Option<SharedHttpClient>,
    made: BTreeMap<Place, Reader>,
}

impl Clients {
    /// Begins without any client; all will say what happens, and rest no longer when interrupted.
    #[must_use]
    pub fn new(events: Events, interrupt: Interrupt) -> Self {
        Self { events, interrupt, credentials: None, http: None, made: BTreeMap::new() }
    }

    /// Uses these credentials where no profile is named, instead of the SDK's default chain.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), ..self }
    }

    /// Sends all calls to this instead of over the network.
    #[must_use]
    pub fn with_http_client(self, http: SharedHttpClient) -> Self {
        Self { http: Some(http), ..self }
    }

    /// Returns the region that the environment or the profile names.
    pub async fn default_region(profile: Option<&str>) -> Option<String> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        loader.load().await.region().map(ToString::to_string)
    }

    /// Returns the reader for a place.
    ///
    /// Credentials, SSO, proxies and `AWS_*` are the SDK's own default chain, unless a profile is
    /// named; its retries are off, because they send a CreateVpnGateway twice when a reply is lost.
    pub async fn reader(&mut self, place: &Place) -> Reader {
        if let Some(reader) = self.made.get(place) {
            return reader.clone();
        }
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(place.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(5))
                    .operation_attempt_timeout(Duration::from_secs(45))
                    .build(),
            )
            .time_source(SdkClock)
            .sleep_impl(SdkClock);
        // What answers instead of AWS asks nobody who calls.
        if let Some(profile) = place.profile.as_ref().filter(|_| self.http.is_none()) {
            // The default chain asks the environment first: a profile that was named would not
            // count where it holds keys, and the two sides may be two accounts.
            let region = Some(Region::new(place.region.clone()));
            let keys = ProfileFileCredentialsProvider::builder()
                .configure(&ProviderConfig::without_region().with_region(region))
                .profile_name(profile)
                .build();
            loader = loader.profile_name(profile).credentials_provider(keys);
        } else if let Some(credentials) = &self.credentials {
            loader = loader.credentials_provider(credentials.clone());
        }
        if let Some(http) = &self.http {
            loader = loader.http_client(http.clone());
        }
        if let Some(endpoint) = &place.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let config = loader.load().await;
        let reader = Reader {
            ec2: Client::new(&config),
            ssm: aws_sdk_ssm::Client::new(&config),
            sts: aws_sdk_sts::Client::new(&config),
            place: place.clone(),
            events: self.events.clone(),
            interrupt: self.interrupt.clone(),
            buckets: Arc::default(),
            is_ahead: false,
        };
        self.made.insert(place.clone(), reader.clone());
        reader
    }
}

/// Reads one place.
///
/// INVARIANT: gives the SDK's client to nobody, so that whoever holds only readers cannot change
/// anything.
#[derive(Debug, Clone)]
pub struct Reader {
    ec2: Client,
    ssm: aws_sdk_ssm::Client,
    sts: aws_sdk_sts::Client,
    place: Place,
    events: Events,
    interrupt: Interrupt,
    buckets: Arc<Buckets>,
    /// Whether its calls wait behind no others.
    is_ahead: bool,
}

/// How long a read goes on over a connection that cannot be made.
const UNREACHABLE: Duration = Duration::from_secs(3);
/// How long a call goes on against throttling and server errors.
const THROTTLED: Duration = Duration::from_mins(3);
/// How long a call goes on whatever comes: as long as AWS was seen to take for anything.
const LONGEST: Duration = Duration::from_mins(20);
/// How long a change that may be sent twice goes on over lost replies.
const LOST: Duration = Duration::from_mins(1);

/// How long a call goes on: each kind of error has its own limit, and all of them one together. The
/// rests grow over all of them.
#[derive(Default)]
struct Patience {
    rests: Option<Backoff>,
    last: Option<(Verdict, Instant)>,
}

impl Patience {
    fn next_rest(&mut self, verdict: Verdict, limit: Duration) -> Option<Duration> {
        let (first, longest) = (Duration::from_millis(200), Duration::from_secs(10));
        let rests = self.rests.get_or_insert_with(|| Backoff::new(first, longest, LONGEST));
        if self.last.is_none_or(|(was, _)| was != verdict) {
            self.last = Some((verdict, time::now() + limit));
        }
        let left = self.last?.1.saturating_duration_since(time::now());
        if left.is_zero() { None } else { Some(rests.next_rest()?.min(left)) }
    }
}

impl Reader {
    /// Returns where it reads.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Returns where it says what happens.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Returns what cuts its rests short.
    #[must_use]
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Returns a reader of the same place that another interrupt cuts short.
    #[must_use]
    pub fn with_interrupt(&self, interrupt: Interrupt) -> Self {
        Self { interrupt, ..self.clone() }
    }

    /// Returns a reader of the same place that goes on when interrupted.
    pub(super) fn to_the_end(&self) -> Self {
        self.with_interrupt(Interrupt::never())
    }

    /// Asks which account the credentials are of (STS GetCallerIdentity, which needs no permission).
    pub async fn account(&self) -> Option<String> {
        let identity = self.sts.get_caller_identity().send().await.ok()?;
        identity.account().map(str::to_owned)
    }

    /// Sends one call, again where the table of errors says so.
    ///
    /// A lost reply of a call that makes something is an error with [`Verdict::Lost`]: only who
    /// knows what it should have made can look for it.
    pub(super) async fn call<T, E, F>(
        &self,
        action: Action,
        send: impl Fn(&Client) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        self.send(action, || send(&self.ec2)).await
    }

    /// Sends one call to Systems Manager, like [`Reader::call`].
    pub(super) async fn call_ssm<T, E, F>(
        &self,
        action: Action,
        send: impl Fn(&aws_sdk_ssm::Client) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        self.send(action, || send(&self.ssm)).await
    }

    async fn send<T, E, F>(&self, action: Action, send: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let reply = self.send_while(action, async || Ok::<_, Error>(true), send).await?;
        Ok(reply.expect("it always holds"))
    }

    async fn send_while<T, E, F, H>(
        &self,
        action: Action,
        holds: impl AsyncFn() -> Result<bool, H>,
        send: impl Fn() -> F,
    ) -> Result<Option<T>, H>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        H: From<Error>,
    {
        let mut patience = Patience::default();
        loop {
            if self.is_ahead {
                self.buckets.take_ahead(action).await;
            } else {
                self.buckets.take(action).await;
            }
            if !holds().await? {
                return Ok(None);
            }
            let begun = time::now();
            let error = match send().await {
                Ok(answer) => {
                    tracing::debug!(target: "cgw::aws", action = action.name(), place = %self.place, ms = begun.elapsed().as_millis(), "ok");
                    return Ok(Some(answer));
                }
                Err(error) => Error::from_sdk(action, &error),
            };
            tracing::debug!(target: "cgw::aws", action = action.name(), place = %self.place, code = error.code, verdict = ?error.verdict, told = error.message, "refused");
            let limit = match (error.verdict, action.effect()) {
                (Verdict::Again, _) => THROTTLED,
                (Verdict::NotYet(limit), _) => limit,
                (Verdict::Lost, Effect::Read) => UNREACHABLE,
                (Verdict::Lost, Effect::Set) => LOST,
                (Verdict::Lost, Effect::Make)
                | (Verdict::AlreadySo | Verdict::Gone | Verdict::No, _) => return Err(error.into()),
            };
            let Some(rest) = patience.next_rest(error.verdict, limit) else {
                return Err(error.into());
            };
            let code = error.code.as_ref().map(|code| format!("{code}: ")).unwrap_or_default();
            let why = format!("{code}{}", error.message);
            self.events.say(&Event::Retrying { action: action.name(), why });
            if self.interrupt.sleep(rest).await.is_err() {
                return Err(error.into());
            }
        }
    }

    /// Returns the sample configuration that AWS itself offers for Windows Server, or `None` where
    /// AWS offers none.
    pub async fn sample_configuration(&self, connection: &str) -> Result<Option<Secret>, Error> {
        let types = self
            .call(Action::GetVpnConnectionDeviceTypes, |ec2| {
                ec2.get_vpn_connection_device_types().send()
            })
            .await?;
        // The id of the type is found in no public text: it is looked up by its three names.
        let windows = types.vpn_connection_device_types().iter().find(|t| {
            t.vendor() == Some("Microsoft") && t.platform().is_some_and(|p| p.contains("Windows"))
        });
        let Some(id) = windows.and_then(|t| t.vpn_connection_device_type_id()) else {
            return Ok(None);
        };
        // Windows' rules with a pre-shared key speak IKEv1, for which AWS has only this sample.
        let sample = self
            .call(Action::GetVpnConnectionDeviceSampleConfiguration, |ec2| {
                ec2.get_vpn_connection_device_sample_configuration()
                    .vpn_connection_id(connection)
                    .vpn_connection_device_type_id(id)
                    .internet_key_exchange_version("ikev1")
                    .sample_type("compatibility")
                    .send()
            })
            .await?;
        Ok(sample.vpn_connection_device_sample_configuration().map(Secret::new))
    }

    /// Returns what AWS has negotiated for a tunnel, by its address of it.
    pub async fn active_tunnel_status(
        &self,
        connection: &str,
        outside: Ipv4Addr,
    ) -> Result<Option<ActiveVpnTunnelStatus>, Error> {
        let outside = outside.to_string();
        let reply = self
            .call(Action::GetActiveVpnTunnelStatus, |ec2| {
                ec2.get_active_vpn_tunnel_status()
                    .vpn_connection_id(connection)
                    .vpn_tunnel_outside_ip_address(&outside)
                    .send()
            })
            .await?;
        Ok(reply.active_vpn_tunnel_status)
    }
}

/// Changes one place.
///
/// INVARIANT: made only by `Approved::hands`; the architecture test holds that.
#[derive(Debug, Clone)]
pub struct Writer(Reader);

impl Writer {
    /// Turns a reader into a writer.
    #[must_use]
    pub fn new(reader: Reader) -> Self {
        Self(reader)
    }

    /// Returns the reader of the same place.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.0
    }

    /// Returns a writer that goes on when interrupted: for what must not be left behind.
    #[must_use]
    pub fn to_the_end(&self) -> Self {
        Self(self.0.to_the_end())
    }

    /// Returns a writer whose calls wait behind no others: for the few that must not come late.
    #[must_use]
    pub fn ahead(&self) -> Self {
        Self(Reader { is_ahead: true, ..self.0.clone() })
    }

    /// Sends one changing call; see the table of actions for what happens when its reply is lost.
    pub async fn call<T, E, F>(
        &self,
        action: Action,
        send: impl Fn(&Client) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        self.0.call(action, send).await
    }

    /// Sends one changing call like [`Writer::call`], each time only if something holds at that
    /// moment: it may have waited its turn, or be sent again. Returns `None` if it does not hold.
    pub async fn call_while<T, E, F, H>(
        &self,
        action: Action,
        holds: impl AsyncFn() -> Result<bool, H>,
        send: impl Fn(&Client) -> F,
    ) -> Result<Option<T>, H>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        H: From<Error>,
    {
        self.0.send_while(action, holds, || send(&self.0.ec2)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rests_grow_also_where_errors_take_turns() {
        let mut patience = Patience::default();
        let minute = Duration::from_mins(1);
        let turns = [Verdict::Again, Verdict::NotYet(minute)].into_iter().cycle();
        let rests: Vec<u128> = turns
            .take(7)
            .map(|verdict| patience.next_rest(verdict, minute).unwrap().as_millis())
            .collect();
        assert_eq!(rests, [200, 400, 800, 1600, 3200, 6400, 10_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_of_error_has_its_own_patience_and_all_together_one() {
        let minute = Duration::from_mins(1);
        let (fresh, state) = (Verdict::NotYet(minute), Verdict::NotYet(20 * minute));
        let begun = time::now();
        let mut patience = Patience::default();
        let mut outlast = async |verdict, limit| {
            while let Some(rest) = patience.next_rest(verdict, limit) {
                time::sleep(rest).await;
            }
            (time::now() - begun).as_millis().div_ceil(1000)
        };
        assert_eq!(outlast(fresh, minute).await, 60);
        assert_eq!(outlast(Verdict::Again, 3 * minute).await, 240, "the first limit is no more");
        assert_eq!(outlast(state, 20 * minute).await, 1200, "twenty minutes for all");
        assert_eq!(outlast(fresh, minute).await, 1200);
    }
}
