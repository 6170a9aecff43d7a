//! How long what is over is kept: by the days of the site, counted from the end of each session.

use super::*;
use crate::Input;

const DAY: u64 = 86_400;

/// Kate at 1000 and Jim at 1001, of a site that keeps what was said for so many days.
fn desk(days: Option<u64>) -> Desk {
    let mut desk = Desk::new(settings(days));
    desk.sit_down("1000");
    desk.sit_down("1001");
    desk
}

fn settings(days: Option<u64>) -> Config {
    let mut settings = config();
    settings.im.keep_transcripts = true;
    settings.im.keep_records = days.map(|days| Duration::from_secs(days * DAY));
    settings
}

/// A session that has ended, and that these have closed.
fn over(desk: &mut Desk, closed_by: &[&str]) -> SessionId {
    desk.sit_down("1001");
    let session = desk.connect("1000", "1001");
    desk.act("1000", ImVerb::End { session });
    for user in closed_by {
        desk.act(user, ImVerb::Done { session });
    }
    session
}

/// Records that are kept, and those with their text.
fn kept(desk: &Desk) -> [Vec<SessionId>; 2] {
    let store = &desk.world.store;
    let closed = store.closed.keys().copied();
    let said = store.said.keys().map(|(session, _)| *session);
    [
        closed.clone().collect(),
        closed.filter(|id| said.clone().any(|of| of == *id)).collect(),
    ]
}

#[test]
fn records_go_with_their_text_when_they_are_as_old_as_the_site_keeps_them_and_no_others() {
    let mut desk = desk(Some(3));
    let first = over(&mut desk, &["1000", "1001"]);
    let unclosed = over(&mut desk, &["1000"]);
    desk.run_s(DAY);
    let second = over(&mut desk, &["1000", "1001"]);
    desk.run_s(2 * DAY - 120);
    let both = if first < second {
        [first, second]
    } else {
        [second, first]
    };
    assert_eq!(kept(&desk), [both, both], "not three days old yet");
    desk.run_s(240);
    assert_eq!(kept(&desk), [[second], [second]]);
    desk.run_s(DAY);
    assert_eq!(kept(&desk), [vec![], vec![]]);
    assert_eq!(desk.texts("1001", unclosed), ["hello"], "who has not closed it sees it");
}

#[test]
fn a_site_that_keeps_records_for_ever_loses_none_until_it_says_how_long() {
    let mut desk = desk(None);
    let session = over(&mut desk, &["1000", "1001"]);
    desk.run_s(5 * DAY);
    assert_eq!(kept(&desk), [[session], [session]]);
    desk.world.input(Input::Reload(Box::new(settings(Some(6)))));
    desk.run_s(DAY / 2);
    assert_eq!(kept(&desk), [[session], [session]]);
    desk.run_s(DAY / 2 + 60);
    assert_eq!(kept(&desk), [vec![], vec![]]);
}
