//! Letters: MESSAGEs written one after the other, so that their order is known.

use super::client::Purpose;
use super::{Cx, DOMAIN, Do, Phone, Timer};
use crate::ledger::Mark;
use crate::text::{Request, Text, uri_of};
use std::time::Duration;

impl Phone {
    /// Writes a letter to a user, behind those that wait.
    pub fn write(&mut self, cx: &mut Cx<'_>, reader: usize) {
        let number = cx.ledger.counted("letters");
        cx.ledger.count("letters");
        self.letters.push_back((format!("letter-{number:09}"), reader));
        self.write_next(cx);
    }

    pub fn write_next(&mut self, cx: &mut Cx<'_>) {
        if self.is_writing || !self.online {
            return;
        }
        let Some((id, reader)) = self.letters.pop_front() else {
            return;
        };
        self.is_writing = true;
        let call_id = self.name("im");
        let asks = self.is_modern() && cx.random.permille(cx.settings.envelopes);
        let expires_s = cx
            .random
            .permille(cx.settings.short)
            .then(|| 20 + cx.random.below(200) as u64);
        let (who, expires) = (
            (self.index, self.user, reader),
            expires_s.map(|s| cx.now + Duration::from_secs(s)),
        );
        cx.ledger.on_letter(&id, &call_id, who, (asks, expires));
        let uri = format!("sip:{}@{DOMAIN}", 1000 + reader);
        let body = match asks {
            true => (
                "message/cpim",
                envelope(&id, "positive-delivery, negative-delivery, display"),
            ),
            false => ("text/plain", id.clone()),
        };
        let request = Request {
            method: "MESSAGE",
            from: format!("<{}>;tag={}", self.uri(), self.name("m")),
            to: format!("<{uri}>"),
            uri,
            call_id,
            cseq: 1,
            more: expires_s.map_or_else(String::new, |seconds| format!("Expires: {seconds}\r\n")),
            body: Some(body),
        };
        self.request(cx, request, Purpose::Letter(id));
    }

    pub fn on_letter_answered(&mut self, cx: &mut Cx<'_>, id: &str, answer: Option<&Text>) {
        let status = answer.map_or(408, Text::status);
        cx.ledger.on_letter_answered(cx.now, id, status);
        self.is_writing = false;
        let pause = cx.random.millis(0, 300);
        cx.out.push(Do::After(pause, Timer::Write));
    }

    /// A letter for us. Some phones think about it for longer than its sender is let wait; some do not want it.
    pub fn on_letter(&mut self, cx: &mut Cx<'_>, key: &str) {
        let Some(letter) = self.request_of(key) else { return };
        if let Some(status) = self.refusal(cx, &letter) {
            cx.ledger.on_refused(letter.words(), self.index, status);
            self.respond(cx, key, status, "", None);
        } else if cx.random.permille(cx.settings.slow) {
            let after = cx.random.millis(8_500, 14_000);
            cx.out.push(Do::After(after, Timer::Take(key.to_owned())));
        } else {
            self.take(cx, key);
        }
    }

    /// What a device has it takes again.
    fn refusal(&self, cx: &mut Cx<'_>, letter: &Text) -> Option<u16> {
        let has = cx.ledger.has(letter.words(), self.index) || cx.ledger.talk.has(letter.words(), self.index);
        if has || Mark::of(&letter.body).is_some() || !cx.random.permille(cx.settings.refuse) {
            return None;
        }
        Some([415, 486, 488, 503, 480, 603][cx.random.below(6)])
    }

    pub fn take(&mut self, cx: &mut Cx<'_>, key: &str) {
        let Some(letter) = self.request_of(key) else { return };
        if let Some(mark) = Mark::of(&letter.body) {
            let id = crate::text::element(&letter.body, "message-id").to_owned();
            cx.ledger
                .on_told(cx.now, &id, self.user, crate::text::user_of(letter.get("From")), mark);
            return self.respond(cx, key, 200, "", None);
        }
        if !letter.get("X-IM-Session").is_empty() {
            if let Err(why) = cx.ledger.talk.on_taken(cx.now, &letter, self.user, self.index) {
                cx.ledger.violated(cx.now, letter.call_id(), &why);
            }
            return self.respond(cx, key, 200, "", None);
        }
        cx.ledger
            .on_taken(cx.now, letter.words(), self.user, self.index, letter.call_id());
        self.respond(cx, key, 200, "", None);
        if let Some(id) = letter.asks_display().filter(|_| cx.random.permille(500)) {
            self.say_displayed(cx, id, &letter);
        }
    }

    /// Tells who wrote a letter that it was seen (RFC 5438 section 7.2).
    fn say_displayed(&mut self, cx: &mut Cx<'_>, id: &str, letter: &Text) {
        cx.ledger.on_displayed(letter.words());
        let uri = uri_of(letter.get("From")).to_owned();
        let xml = format!(
            "<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>{id}</message-id><datetime>2026-01-01T00:00:00Z</datetime>\
             <display-notification><status><displayed/></status></display-notification></imdn>"
        );
        let request = Request {
            method: "MESSAGE",
            from: format!("<{}>;tag={}", self.uri(), self.name("m")),
            to: format!("<{uri}>"),
            uri,
            call_id: self.name("seen"),
            cseq: 1,
            more: String::new(),
            body: Some(("message/imdn+xml", xml)),
        };
        self.request(cx, request, Purpose::Any);
    }
}

/// RFC 3862, with what RFC 5438 has for it.
fn envelope(id: &str, wishes: &str) -> String {
    format!(
        "NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {id}\r\nimdn.Disposition-Notification: {wishes}\r\n\r\n\
         Content-Type: text/plain\r\n\r\n{id}"
    )
}
