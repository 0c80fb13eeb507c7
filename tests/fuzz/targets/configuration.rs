//! AWS's configuration file: what is read of it is read again from what is written of that.

#![no_main]

use std::fmt::Write as _;

use cgw::tunnel::{Configured, is_valid_key, read_configuration};
use cgw_fuzz::is_one_saying;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match read_configuration(text) {
        Ok(tunnels) => {
            for key in tunnels.iter().filter_map(|tunnel| tunnel.key.as_ref()) {
                assert!(!key.expose().is_empty() && key.expose() != "REDACTED");
                // What may go to a server needs no quoting anywhere.
                let is_inert = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
                assert!(!is_valid_key(key) || key.expose().chars().all(is_inert));
            }
            assert_eq!(read_configuration(&written(&tunnels)).unwrap(), tunnels);
        }
        Err(error) => is_one_saying(&error.to_string()),
    }
});

fn written(tunnels: &[Configured]) -> String {
    let mut xml = "<vpn_connection>".to_owned();
    for Configured { outside, gateway, key } in tunnels {
        let key = key.as_ref().map_or("", |key| key.expose());
        let mut escaped = String::new();
        // A carriage return that is written as it is would be read as a line feed.
        key.chars().for_each(|c| write!(escaped, "&#{};", u32::from(c)).unwrap());
        let end = |address| {
            let address = format!("<ip_address>{address}</ip_address>");
            format!("<tunnel_outside_address>{address}</tunnel_outside_address>")
        };
        write!(
            xml,
            "<ipsec_tunnel><customer_gateway>{}</customer_gateway><vpn_gateway>{}</vpn_gateway>\
             <ike><pre_shared_key>{escaped}</pre_shared_key></ike></ipsec_tunnel>",
            end(gateway),
            end(outside)
        )
        .unwrap();
    }
    xml + "</vpn_connection>"
}
