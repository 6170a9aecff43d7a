//! Letters: MESSAGEs written one after the other, so that their order is known.

use super::client::Purpose;
use super::{Cx, DOMAIN, Do, Phone, Timer};
use crate::text::{Request, Text};

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
        cx.ledger.on_letter(&id, &call_id, self.index, reader);
        let uri = format!("sip:{}@{DOMAIN}", 1000 + reader);
        let request = Request {
            method: "MESSAGE",
            from: format!("<{}>;tag={}", self.uri(), self.name("m")),
            to: format!("<{uri}>"),
            uri,
            call_id,
            cseq: 1,
            more: String::new(),
            body: Some(("text/plain", id.clone())),
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

    /// A letter for us. Some phones think about it for longer than its sender is let wait.
    pub fn on_letter(&mut self, cx: &mut Cx<'_>, key: &str) {
        if cx.random.permille(cx.settings.slow) {
            let after = cx.random.millis(8_500, 14_000);
            cx.out.push(Do::After(after, Timer::Take(key.to_owned())));
        } else {
            self.take(cx, key);
        }
    }

    pub fn take(&mut self, cx: &mut Cx<'_>, key: &str) {
        let Some(letter) = self.request_of(key) else { return };
        if !letter.get("X-IM-Session").is_empty() {
            if let Err(why) = cx.ledger.talk.on_taken(&letter, self.user, self.index) {
                cx.ledger.violated(cx.now, letter.call_id(), &why);
            }
            return self.respond(cx, key, 200, "", None);
        }
        cx.ledger
            .on_taken(cx.now, letter.body.trim(), self.user, self.index, letter.call_id());
        self.respond(cx, key, 200, "", None);
    }
}
