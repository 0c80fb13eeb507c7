//! The administrator's password, from the API to its text.

use std::time::Duration;

use cgw::address::AwsId;
use cgw::aws::password::{self, Error};

use super::{Server, endpoint};
use crate::cloud::Cloud;

#[tokio::test]
async fn the_password_of_a_windows_instance_opens_with_the_key_of_its_launch() {
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key.pem");
    let cloud = Cloud::seeded(&["--key-file", key.to_str().unwrap()]);
    let server = Server { cloud, ..Server::that_hangs() };
    let (_, reader) = server.clients(&endpoint()).await;
    let instance = AwsId::new(server.cloud.id("instance"));
    let data = reader.password_data(&instance, Duration::ZERO).await.unwrap();
    let password = password::open(&data, &std::fs::read(&key).unwrap(), None).unwrap();
    assert_eq!(password.expose(), "Example-Passw0rd.For.Tests");
    // A Linux instance has none, as a Windows instance in its first minutes.
    let linux = server.cloud.seed["decoys"]["strangers"]["linux"]["instance"].as_str().unwrap();
    let error = reader.password_data(&AwsId::new(linux), Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, Error::NotThere), "{error:?}");
}
