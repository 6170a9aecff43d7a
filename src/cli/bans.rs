//! `bans ...`: the questions and what is told of the answers.

use crate::BansVerb;
use crate::client::escaped;
use crate::remote::{counted, read};
use crate::table::table;
use crate::time::span;
use hyper::Method;
use model::BanView;
use serde_json::{Value, json};

pub(crate) fn question(verb: &BansVerb) -> (Method, String) {
    let all = "/api/v1/bans";
    match verb {
        BansVerb::List => (Method::GET, all.to_owned()),
        BansVerb::Add { .. } => (Method::POST, all.to_owned()),
        BansVerb::Drop {
            address: Some(address), ..
        } => (Method::DELETE, format!("{all}/{}", escaped(address))),
        BansVerb::Drop { address: None, .. } => (Method::DELETE, all.to_owned()),
    }
}

pub(crate) fn body(verb: &BansVerb) -> Option<Value> {
    match verb {
        BansVerb::Add { address, seconds } => Some(json!({ "address": address, "for_s": seconds })),
        _ => None,
    }
}

/// The answer in words; `None` if it has not the shape we know.
pub(crate) fn told(verb: &BansVerb, answer: &Value) -> Option<String> {
    match verb {
        BansVerb::List => Some(told_list(&read::<Vec<BanView>>(&answer["bans"])?)),
        BansVerb::Add { address, seconds } => Some(format!("{address} is banned for {}", span(*seconds))),
        BansVerb::Drop { .. } => Some(format!("{} ended", counted(answer["done"].as_u64()?, "ban"))),
    }
}

fn told_list(bans: &[BanView]) -> String {
    let row = |ban: &BanView| {
        [
            ban.source.to_string(),
            ban.why.to_string(),
            span(ban.expires_s),
            ban.dropped.to_string(),
        ]
    };
    let rows: Vec<_> = bans.iter().map(row).collect();
    table(["SOURCE", "WHY", "EXPIRES", "DROPPED"], &rows, "nobody is banned")
}
