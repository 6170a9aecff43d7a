//! Other requests inside a call.

use super::*;

#[test]
fn a_key_press_by_info_reaches_the_other_phone_and_its_answer_comes_back() {
    for status in [200, 415] {
        let Up {
            mut lab,
            mut kate,
            jim,
            mut kates,
            jims,
        } = up_without_keys();
        let keys = ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n");
        kate.send_in(
            &mut lab,
            &mut kates,
            Method::Info,
            "Info-Package: dtmf\r\nX-Other: 1\r\n",
            Some(keys),
        );
        let info = jim.expect_request(&mut lab, Method::Info);
        assert_eq!(
            (body(&info).as_str(), header(&info, Name::ContentType).as_str()),
            (keys.1, keys.0)
        );
        assert_eq!(header(&info, Name::InfoPackage), "dtmf");
        assert_eq!(info.header_named("X-Other"), None);
        kate.expect_nothing(&mut lab);
        jim.reply(&mut lab, &info, status, None);
        kate.expect(&mut lab, status);
        Up {
            lab,
            kate,
            jim,
            kates,
            jims,
        }
        .end();
    }
}

#[test]
fn an_info_that_nobody_answers_ends_with_its_call() {
    let Up {
        mut lab,
        mut kate,
        jim,
        mut kates,
        ..
    } = up_without_keys();
    kate.send_in(
        &mut lab,
        &mut kates,
        Method::Info,
        "",
        Some(("application/dtmf-relay", "Signal=5\r\n")),
    );
    jim.expect_request(&mut lab, Method::Info);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    let mut answers = [kate.next(&mut lab), kate.next(&mut lab)].map(|answer| (answer.method(), answer.status()));
    answers.sort_by_key(|&(_, status)| status);
    assert_eq!(answers, [(Method::Bye, 200), (Method::Info, 487)]);
    told_bye(&mut lab, &jim);
    lab.assert_clean();
}

#[test]
fn so_many_unanswered_requests_and_no_more() {
    let Up {
        mut lab,
        mut kate,
        jim,
        mut kates,
        ..
    } = up_without_keys();
    for _ in 0..17 {
        kate.send_in(
            &mut lab,
            &mut kates,
            Method::Info,
            "",
            Some(("application/dtmf-relay", "Signal=5\r\n")),
        );
    }
    kate.expect(&mut lab, 500);
    assert_eq!(lab.waiting(jim.flow.peer), 16);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    while jim.take(&mut lab).is_some() {}
    lab.assert_clean();
}

#[test]
fn a_text_inside_the_call_reaches_the_other_phone() {
    let Up {
        mut lab,
        mut kate,
        jim,
        mut kates,
        jims,
    } = up();
    kate.send_in(
        &mut lab,
        &mut kates,
        Method::Message,
        "",
        Some(("text/plain", "one moment")),
    );
    let text = jim.expect_request(&mut lab, Method::Message);
    assert_eq!(body(&text), "one moment");
    jim.reply(&mut lab, &text, 200, None);
    kate.expect(&mut lab, 200);
    let long = "x".repeat(17_000);
    kate.send_in(&mut lab, &mut kates, Method::Message, "", Some(("text/plain", &long)));
    kate.expect(&mut lab, 413);
    kate.send_in(&mut lab, &mut kates, Method::Info, "", Some(("text/plain", &long)));
    kate.expect(&mut lab, 413);
    Up {
        lab,
        kate,
        jim,
        kates,
        jims,
    }
    .end();
}

#[test]
fn who_may_not_write_may_not_inside_a_call_either() {
    let Up {
        mut lab,
        mut kate,
        jim,
        mut kates,
        jims,
    } = up();
    let mut config = lab::config();
    config.users[0].im = false;
    lab.input(crate::Input::Reload(Box::new(config)));
    kate.send_in(
        &mut lab,
        &mut kates,
        Method::Message,
        "",
        Some(("text/plain", "one moment")),
    );
    kate.expect(&mut lab, 403);
    jim.expect_nothing(&mut lab);
    Up {
        lab,
        kate,
        jim,
        kates,
        jims,
    }
    .end();
}

#[test]
fn what_the_switch_does_not_do_inside_a_call_is_refused_and_the_call_goes_on() {
    let Up {
        mut lab,
        mut kate,
        jim,
        mut kates,
        jims,
    } = up();
    for (method, extra, told) in [
        (Method::Options, "", 200),
        (Method::Refer, "Refer-To: <sip:1002@elsewhere.example>\r\n", 403),
        (Method::Subscribe, "Event: dialog\r\n", 489),
        (Method::Notify, "Event: refer\r\nSubscription-State: active\r\n", 481),
        (Method::Publish, "Event: presence\r\n", 405),
        (Method::Info, "Require: foo\r\n", 420),
    ] {
        kate.send_in(&mut lab, &mut kates, method, extra, None);
        let reply = kate.expect(&mut lab, told);
        if matches!(told, 200 | 405) {
            assert!(header(&reply, Name::Allow).contains("INVITE"));
        }
    }
    jim.expect_nothing(&mut lab);
    Up {
        lab,
        kate,
        jim,
        kates,
        jims,
    }
    .end();
}
