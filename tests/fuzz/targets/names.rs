//! Ids, networks and all other values that are given as one word: what is taken prints as it is read
//! again, and what is refused is refused in one line.

#![no_main]

use std::fmt::{Debug, Display};
use std::num::NonZeroU16;
use std::str::FromStr;

use cgw::address::{AllocationId, InstanceId, RouteTableId, Stack, SubnetId, VpcId};
use cgw::lease::Holder;
use cgw::server::Restart;
use cgw::spec::{Choice, Cidr, Endpoint, Fingerprint, List, Via};
use cgw::tunnel::Crypto;
use cgw_fuzz::is_one_saying;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for printed in [
        id::<VpcId>(text),
        id::<InstanceId>(text),
        id::<SubnetId>(text),
        id::<RouteTableId>(text),
        id::<AllocationId>(text),
        id::<Stack>(text),
    ] {
        // It can be a part of a path, a name or a command.
        let is_plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
        assert!(printed.is_none_or(|name| name.len() <= 48 && name.chars().all(is_plain)));
    }
    if let Some(net) = same::<Cidr>(text) {
        assert_eq!(net.0, net.0.trunc());
    }
    same::<List<Cidr>>(text);
    same::<List<NonZeroU16>>(text);
    same::<List<RouteTableId>>(text);
    same::<Choice<RouteTableId>>(text);
    same::<Endpoint>(text);
    same::<Fingerprint>(text);
    same::<Crypto>(text);
    same::<Via>(text);
    if let Ok(holder) = text.parse::<Holder>() {
        assert_eq!(holder.to_string().parse(), Ok(holder));
    }
    if let Ok(Restart::At(time)) = text.parse() {
        assert_eq!(time.len(), 5);
    }
    // Whatever is said of a text, in whatever words.
    is_one_saying(text);
});

fn id<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) -> Option<String> {
    let id = same::<T>(text)?.to_string();
    assert_eq!(id, text);
    Some(id)
}

fn same<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(value) => {
            let printed = value.to_string();
            assert_eq!(printed.parse::<T>().ok().as_ref(), Some(&value), "{printed}");
            Some(value)
        }
        Err(error) => {
            is_one_saying(&error.to_string());
            None
        }
    }
}
