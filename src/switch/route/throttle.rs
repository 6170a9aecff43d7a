//! What trunks want less of (RFC 7339): those that are asked (`oc = true`) say in their answers how many of a hundred new
//! requests are not to be sent to them for a while. So many are refused here, which costs the trunk nothing. Calls for help and
//! what belongs to a dialog are sent as ever.

use super::{TrunkIndex, number_outside, trunk_at};
use crate::config::{Action, Config, Pattern};
use crate::core::Core;
use clock::Mono;
use sip::{Flow, Message};
use std::cell::Cell;
use std::net::IpAddr;
use std::time::Duration;

/// What a trunk that says no time means (section 4.3).
const USUAL_VALIDITY_MS: u64 = 500;
/// What is said holds no longer than this, whatever is said: a trunk that is not heard again is not left out for ever.
const LONGEST: Duration = Duration::from_secs(60);

/// What each of them wants, the latest word; there are no more of them than trunks.
#[derive(Debug, Default)]
pub(crate) struct Throttles {
    is_asking: bool,
    wishes: Vec<(TrunkIndex, Wish)>,
    held_back: Cell<u64>,
}

#[derive(Debug)]
struct Wish {
    percent: u64,
    until: Mono,
    /// Of `oc-seq`: an older word does not count.
    sequence: (u64, u64),
    /// Hundredths of requests that are owed to it: refusals are spread evenly.
    owed: Cell<u64>,
}

impl Throttles {
    /// Other trunks are asked, or they have other numbers: what was said before means nothing.
    pub(crate) fn reload(&mut self, asked: &[IpAddr]) {
        self.wishes.clear();
        self.is_asking = !asked.is_empty();
    }

    /// Requests that were not sent.
    pub(crate) fn held_back(&self) -> u64 {
        self.held_back.get()
    }
}

/// Where those are who are asked.
pub(crate) fn asked(config: &Config) -> Vec<IpAddr> {
    let trunks = config.trunks.iter().filter(|trunk| trunk.asks_load);
    trunks.flat_map(|trunk| &trunk.sources).copied().collect()
}

/// Takes note of what an answer says of its sender's load.
pub(crate) fn note(core: &mut Core, now: Mono, flow: Flow, answer: &Message) {
    if !core.throttles.is_asking {
        return;
    }
    let Some((percent, validity, sequence)) = said(answer) else {
        return;
    };
    let Some(trunk) = trunk_at(core, flow.peer.ip()).filter(|trunk| trunk.of(core).asks_load) else {
        return;
    };
    let wishes = &mut core.throttles.wishes;
    let place = wishes.iter().position(|(of, _)| *of == trunk);
    let (owed, is_old) = place.map_or((0, false), |place| {
        let before = &wishes[place].1;
        (before.owed.get(), before.until > now && sequence < before.sequence)
    });
    if is_old {
        return;
    }
    wishes.retain(|(of, _)| *of != trunk);
    if percent > 0 && !validity.is_zero() {
        let until = now + validity.min(LONGEST);
        let wish = Wish {
            percent,
            until,
            sequence,
            owed: Cell::new(owed),
        };
        wishes.push((trunk, wish));
    }
}

/// Whether one more request to a number outside is to be kept from its trunk.
pub(crate) fn holds_back(core: &Core, now: Mono, trunk: TrunkIndex, number: &str) -> bool {
    let Throttles { wishes, held_back, .. } = &core.throttles;
    let in_force = |(of, wish): &&(TrunkIndex, Wish)| *of == trunk && wish.until > now;
    let Some((_, wish)) = wishes
        .iter()
        .find(in_force)
        .filter(|_| !is_for_help(core, trunk, number))
    else {
        return false;
    };
    let owed = wish.owed.get() + wish.percent;
    wish.owed.set(owed % 100);
    held_back.set(held_back.get() + owed / 100);
    owed >= 100
}

fn is_for_help(core: &Core, trunk: TrunkIndex, number: &str) -> bool {
    let mut rules = core.config.dialplan.iter().filter(|rule| rule.is_emergency);
    rules.any(|rule| match (&rule.action, &rule.matches) {
        (Action::Trunk(outside), Pattern::Exact(dialled)) => {
            outside.trunk == trunk.of(core).name && *number_outside(outside, dialled) == *number
        }
        _ => false,
    })
}

/// `oc`, `oc-validity` and `oc-seq` of our Via, if they are filled in and mean the loss algorithm, which all understand.
fn said(answer: &Message) -> Option<(u64, Duration, (u64, u64))> {
    let params = answer.via()?.params;
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
    let percent = number(params.get("oc")?).filter(|percent| *percent <= 100)?;
    let algorithm = params.text("oc-algo");
    if algorithm.is_some_and(|algorithm| !algorithm.eq_ignore_ascii_case(b"loss")) {
        return None;
    }
    let validity = params.get("oc-validity").and_then(number).unwrap_or(USUAL_VALIDITY_MS);
    let sequence = params.get("oc-seq").map_or(Some((0, 0)), |text| {
        let mut parts = text.splitn(2, |byte| *byte == b'.');
        Some((number(parts.next()?)?, parts.next().and_then(number).unwrap_or(0)))
    });
    Some((percent, Duration::from_millis(validity), sequence?))
}
