//! What phones show of the other side, kept true when the other side changes (R112): UPDATE with P-Asserted-Identity, and with
//! Remote-Party-ID for those that read only that, where the device takes it, else a re-INVITE that offers again what holds; of a conference, `isfocus` in our Contact (RFC 4579).

use super::{Calls, LegKey, State, TIMER_DISPLAY, leg_timer};
use crate::arena::Key;
use crate::core::{Cx, aor_uri};
use crate::interaction::Interaction;
use crate::route::Target;
use model::{Aor, Direction, PartyId};
use sip::{Headers, Name};
use std::time::Duration;

/// A device that is in the midst of something else is told this much later.
const AGAIN: Duration = Duration::from_millis(500);

/// What a device is shown when it talks to several.
const FOCUS: &str = "Conference";

impl Calls {
    /// Tells each device in a call whom it talks to now, if that is news.
    pub(super) fn refresh_displays(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        for id in self.present(call) {
            let device = self
                .interactions
                .get(call)
                .and_then(|call| self.answering(call.party(id)?));
            if let Some(leg) = device {
                self.refresh_display(cx, leg);
            }
        }
    }

    /// Tells one device.
    pub(super) fn refresh_display(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let Some((shown, focus)) = self.to_show(cx, key) else {
            return;
        };
        let Some(leg) = self
            .legs
            .get_mut(key)
            .filter(|leg| leg.is_up() && leg.told.as_ref() != Some(&shown))
        else {
            return;
        };
        let flow = leg.session.flow();
        let focus = flow.and_then(|flow| Some(cx.core.contact(&focus?, flow.transport, flow.local)));
        leg.session.set_focus(focus.as_deref());
        let headers = match focus {
            Some(_) => Headers::new(),
            None => Headers::new()
                .with(Name::PAssertedIdentity, &*shown)
                .with(Name::RemotePartyId, remote_party(&shown, leg.direction)),
        };
        let sent = leg.inform(cx, &headers) || self.offer_with(cx, key, &headers);
        match self.legs.get_mut(key) {
            Some(leg) if sent => leg.told = Some(shown),
            Some(_) => self.try_again(cx, key, TIMER_DISPLAY),
            None => {}
        }
    }

    /// Sets a timer of this kind for a device that is in the midst of something else; one, however often that is found.
    pub(super) fn try_again(&mut self, cx: &mut Cx<'_>, key: LegKey, kind: u32) {
        let Some(leg) = self.legs.get_mut(key).filter(|leg| !leg.is_over()) else {
            return;
        };
        if leg.again.iter().all(|(waits, _)| *waits != kind) {
            let alarm = cx.core.endpoint.set_timer(cx.now.mono + AGAIN, leg_timer(key), kind);
            leg.again.push((kind, alarm));
        }
    }

    /// The moment has come.
    pub(super) fn on_again(&mut self, cx: &mut Cx<'_>, key: LegKey, kind: u32) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        leg.again.retain(|(waits, _)| *waits != kind);
        match kind {
            TIMER_DISPLAY => self.refresh_display(cx, key),
            _ => self.on_settled(cx, key),
        }
    }

    /// What a device is to show; and of a conference the user part of its focus, by which its members can be watched.
    fn to_show(&self, cx: &Cx<'_>, key: LegKey) -> Option<(Box<str>, Option<Box<str>>)> {
        let call = self.legs.get(key)?.interaction;
        let interaction = self.interactions.get(call)?;
        match interaction.call.state {
            State::Service(Target::Room) => {
                let room = self.dialled_service(cx.core, call).1;
                return Some((FOCUS.into(), Some(room.into())));
            }
            State::Service(_) => {
                let service = aor_uri(&Aor::new(self.dialled_service(cx.core, call).1, &cx.core.config.domain));
                return Some((format!("<{service}>").into(), None));
            }
            _ => {}
        }
        let own: PartyId = interaction.parties[interaction.party_of(key)?].id;
        match self.others(call, own).as_slice() {
            [] => None,
            [other] => {
                let asserted = interaction.party(*other)?.asserted.clone();
                Some((
                    asserted.unwrap_or_else(|| "\"Anonymous\" <sip:anonymous@anonymous.invalid>".into()),
                    None,
                ))
            }
            _ => Some((FOCUS.into(), Some(interaction.id.to_string().into()))),
        }
    }
}

/// The same for phones that know no P-Asserted-Identity (draft-ietf-sip-privacy-04 section 5.1). To who called, the other side is
/// the called one. Who is not to be known has no address in it.
fn remote_party(shown: &str, direction: Direction) -> String {
    let party = match direction {
        Direction::In => "called",
        Direction::Out => "calling",
    };
    let privacy = if shown.contains("@anonymous.invalid") {
        "full"
    } else {
        "off"
    };
    format!("{shown};party={party};privacy={privacy};screen=yes")
}
