//! Who is at a page and who has a phone alone: each verb of a session among three of them in every combination, while a page goes
//! and comes back in the middle. Phones have no verbs: one of the first two at least is at a page.

use super::*;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum By {
    Page,
    Phone,
}

/// Kate (1000) began it with Jim (1001); Bob (1002) comes later. Where in [`Desk`] their phones are.
struct Table {
    desk: Desk,
    session: SessionId,
    phones: [Option<usize>; 3],
}

const NAMES: [&str; 3] = ["1000", "1001", "1002"];
const KATE: usize = 0;
const JIM: usize = 1;
const BOB: usize = 2;

/// All kinds of the three, and who of the first two is at a page and acts.
fn combinations() -> impl Iterator<Item = ([By; 3], usize)> {
    let both = [By::Page, By::Phone];
    let pairs = both.into_iter().flat_map(move |kate| both.map(|jim| [kate, jim]));
    let all = pairs.flat_map(move |[kate, jim]| both.map(|bob| [kate, jim, bob]));
    all.filter_map(|kinds| Some((kinds, kinds[..BOB].iter().position(|by| *by == By::Page)?)))
}

impl Table {
    /// Kate and Jim are in a session.
    fn of(kinds: [By; 3]) -> Table {
        let mut desk = Desk::new(config());
        let mut phones = [None; 3];
        for (who, by) in kinds.into_iter().enumerate() {
            match by {
                By::Page => desk.sit_down(NAMES[who]),
                By::Phone => phones[who] = Some(desk.phone(NAMES[who])),
            }
        }
        let session = match phones[KATE] {
            None => desk.invite("1000", "1001", "hello"),
            Some(phone) => {
                let sent = desk.world.message(phone, "1001", "hello");
                assert_eq!(desk.world.finish(phone, sent), 202);
                desk.bar("1001")[0].session.id
            }
        };
        let mut table = Table { desk, session, phones };
        table.accept(JIM);
        table
    }

    fn accept(&mut self, who: usize) {
        let session = self.session;
        if self.phones[who].is_none() {
            self.desk.act(NAMES[who], ImVerb::Accept { session });
        }
        // A phone accepts by taking what it gets.
        self.desk.run_s(1);
    }

    fn act(&mut self, who: usize, verb: impl FnOnce(SessionId) -> ImVerb) {
        self.desk.act(NAMES[who], verb(self.session));
        self.desk.run_s(1);
    }

    /// Says something by whatever this one has; phones write to one of those in the session.
    fn say(&mut self, who: usize, to: usize, text: &str) {
        match self.phones[who] {
            None => drop(self.desk.say(NAMES[who], self.session, text)),
            Some(phone) => {
                let sent = self.desk.world.message(phone, NAMES[to], text);
                assert_eq!(self.desk.world.finish(phone, sent), 202);
            }
        }
        self.desk.run_s(1);
    }

    /// What this one was last told by the others, without words of the switch.
    fn heard(&mut self, who: usize) -> String {
        let texts = match self.phones[who] {
            None => self.desk.texts(NAMES[who], self.session),
            Some(phone) => self.desk.world.phones[phone].texts(),
        };
        let said = texts.into_iter().rfind(|text| !text.starts_with('('));
        said.unwrap_or_default()
    }

    /// Each of these says something and all others of them hear it; who is not of them does not.
    fn all_hear_each_other(&mut self, those: &[usize]) {
        for &who in those {
            let to = those.iter().copied().find(|other| *other != who).unwrap();
            let text = format!("by {who} of {}", those.len());
            self.say(who, to, &text);
            for other in (KATE..=BOB).filter(|other| *other != who) {
                let takes_part = those.contains(&other);
                let heard = takes_part
                    || self
                        .desk
                        .bar(NAMES[other])
                        .iter()
                        .any(|one| one.session.id == self.session);
                if heard {
                    assert_eq!(self.heard(other) == text, takes_part, "{text}: {other}");
                }
            }
        }
    }

    /// A page is closed, something is said, and it comes back: nothing is missing, and it can go on.
    fn goes_and_comes(&mut self, who: usize, other: usize) {
        self.desk.get_up(NAMES[who]);
        self.say(other, who, "are you gone?");
        self.desk.sit_down(NAMES[who]);
        assert_eq!(self.heard(who), "are you gone?");
        self.say(who, other, "back again");
        assert_eq!(self.heard(other), "back again");
    }

    fn party(&mut self, by: usize, of: usize) -> PartyId {
        id_of(&self.desk.seen(NAMES[by], self.session).session, NAMES[of])
    }
}

#[test]
fn who_is_added_and_dropped_hears_all_in_between_in_every_combination_of_page_and_phone() {
    let mut seen = 0;
    for (kinds, actor) in combinations() {
        let mut table = Table::of(kinds);
        let other = if actor == KATE { JIM } else { KATE };
        table.all_hear_each_other(&[KATE, JIM]);
        let target = || NAMES[BOB].into();
        table.act(actor, |session| ImVerb::Add {
            session,
            target: target(),
        });
        table.goes_and_comes(actor, other);
        table.accept(BOB);
        table.all_hear_each_other(&[KATE, JIM, BOB]);
        table.goes_and_comes(actor, BOB);
        let party = table.party(actor, BOB);
        table.act(actor, |session| ImVerb::Drop { session, party });
        table.all_hear_each_other(&[KATE, JIM]);
        table.goes_and_comes(actor, other);
        table.act(actor, |session| ImVerb::End { session });
        assert_eq!(table.desk.world.switch.audit(), Ok(()), "{kinds:?}");
        seen += 1;
    }
    assert_eq!(seen, 6);
}

#[test]
fn a_transfer_puts_a_page_or_a_phone_in_the_place_of_a_page_beside_either() {
    for (kinds, actor) in combinations() {
        let mut table = Table::of(kinds);
        let other = if actor == KATE { JIM } else { KATE };
        let target = || NAMES[BOB].into();
        table.act(actor, |session| ImVerb::Transfer {
            session,
            target: target(),
        });
        if table.phones[BOB].is_none() {
            // It is with both until it is taken.
            table.goes_and_comes(actor, other);
        }
        table.accept(BOB);
        let seen = table.desk.seen(NAMES[actor], table.session).session;
        assert_eq!(
            party(&seen, NAMES[actor]).standing,
            ImStanding::Transferred,
            "{kinds:?}"
        );
        table.all_hear_each_other(&[other, BOB]);
        for who in [other, BOB].into_iter().filter(|who| kinds[*who] == By::Page) {
            let rest = if who == BOB { other } else { BOB };
            table.goes_and_comes(who, rest);
        }
        assert_eq!(table.desk.world.switch.audit(), Ok(()), "{kinds:?}");
    }
}
