//! What was said while a page was closed, went to the phones of its user, and was seen at the page before they had it.

use super::*;
use crate::config::Copies;
use crate::testing::OnMessage;

/// Kate and Jim are in a session by their pages; Jim has left his, and a phone that is switched off.
fn left(settings: Config) -> (Desk, usize, SessionId) {
    let mut desk = Desk::new(settings);
    desk.sit_down("1000");
    desk.sit_down("1001");
    let jim = desk.phone("1001");
    let session = desk.connect("1000", "1001");
    desk.world.register_for(jim, 0);
    desk.get_up("1001");
    (desk, jim, session)
}

/// He is back at a page that shows all there is.
fn sees(desk: &mut Desk, session: SessionId, displayed: bool) {
    desk.sit_down("1001");
    let seq = desk.seen("1001", session).session.last_seq;
    desk.act(
        "1001",
        ImVerb::Read {
            session,
            seq,
            displayed,
        },
    );
    desk.run_s(1);
}

#[test]
fn what_was_seen_at_a_page_does_not_come_to_a_phone_later() {
    for restarts in [false, true] {
        let (mut desk, jim, session) = left(config());
        for text in ["two", "three"] {
            desk.say("1000", session, text);
            desk.run_s(1);
        }
        assert_eq!(
            (desk.world.store.messages.len(), desk.figure("messages_waiting")),
            (2, 2)
        );
        if restarts {
            desk.world.restart();
        }
        sees(&mut desk, session, true);
        assert_eq!(
            (desk.world.store.messages.len(), desk.figure("messages_waiting")),
            (0, 0)
        );
        // He goes again: what is said then is for the phone, and nothing else is.
        desk.get_up("1001");
        desk.say("1000", session, "four");
        assert_eq!(desk.world.register(jim), 200);
        desk.run_s(1);
        assert_eq!(desk.world.phones[jim].texts(), ["four"]);
    }
}

#[test]
fn what_no_page_has_shown_or_each_device_is_to_have_comes_to_the_phone() {
    for (copies, copy_to_phones, displayed) in [
        (Copies::User, false, false),
        (Copies::Device, false, true),
        (Copies::User, true, true),
    ] {
        let mut settings = config();
        (settings.im.copies, settings.im.copy_to_phones) = (copies, copy_to_phones);
        let (mut desk, jim, session) = left(settings);
        desk.say("1000", session, "two");
        desk.run_s(1);
        sees(&mut desk, session, displayed);
        assert_eq!(desk.world.register(jim), 200);
        desk.run_s(1);
        assert_eq!(desk.world.phones[jim].texts().last().unwrap(), "two");
    }
}

#[test]
fn what_is_on_its_way_to_a_phone_that_says_nothing_is_not_sent_again_when_it_was_seen() {
    for wait_s in [2, 10, 40, 50] {
        let (mut desk, jim, session) = left(config());
        assert_eq!(desk.world.register(jim), 200);
        desk.world.phones[jim].on_message = OnMessage::Ignore;
        for text in ["two", "three"] {
            desk.say("1000", session, text);
        }
        desk.run_s(wait_s);
        sees(&mut desk, session, true);
        desk.world.phones[jim].on_message = OnMessage::Take;
        assert_eq!(desk.world.register(jim), 200);
        desk.run_s(1_000);
        assert_eq!(desk.world.phones[jim].texts(), [""; 0], "after {wait_s} s");
        assert_eq!(
            (desk.world.store.messages.len(), desk.figure("messages_under_way")),
            (0, 0)
        );
        assert_eq!(desk.world.switch.audit(), Ok(()));
    }
}

#[test]
fn who_takes_part_by_phone_gets_all_there_whatever_a_page_shows() {
    let mut desk = Desk::with(&["1000"]);
    let jim = desk.phone("1001");
    let session = desk.invite("1000", "1001", "one");
    desk.run_s(1);
    desk.world.register_for(jim, 0);
    desk.say("1000", session, "two");
    desk.run_s(1);
    sees(&mut desk, session, true);
    assert_eq!(desk.world.register(jim), 200);
    desk.run_s(1);
    assert_eq!(desk.world.phones[jim].texts(), ["one", "two"]);
}
