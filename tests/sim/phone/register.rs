//! Registration: made, refreshed, given up.

use super::client::Purpose;
use super::{Cx, DOMAIN, Do, Phone, Timer};
use crate::text::{Request, Text};

impl Phone {
    /// Makes or refreshes the binding.
    pub fn register(&mut self, cx: &mut Cx<'_>) {
        let expires = cx.settings.expires;
        self.send_register(cx, expires);
    }

    /// Removes the binding; the device stays where it is and hears nothing more.
    pub fn unregister(&mut self, cx: &mut Cx<'_>) {
        self.registered = false;
        self.send_register(cx, 0);
    }

    fn send_register(&mut self, cx: &mut Cx<'_>, expires: u64) {
        self.registration.1 += 1;
        let request = Request {
            method: "REGISTER",
            uri: format!("sip:{DOMAIN}"),
            from: format!("<{}>;tag=r{}", self.uri(), self.index),
            to: format!("<{}>", self.uri()),
            call_id: self.registration.0.clone(),
            cseq: self.registration.1,
            more: format!(
                "Contact: {};expires={expires};+sip.instance=\"<urn:x:{}>\"\r\n{}",
                self.contact(),
                self.index,
                if self.is_modern() {
                    "Accept: text/plain, message/cpim\r\n"
                } else {
                    ""
                }
            ),
            body: None,
        };
        self.request(cx, request, Purpose::Register);
    }

    pub fn on_registered(&mut self, cx: &mut Cx<'_>, answer: Option<&Text>) {
        let again = match answer {
            None => cx.random.millis(500, 3_000),
            Some(text) if text.status() == 200 => {
                let contact = self.contact();
                let bound = text.all("Contact").any(|value| value.starts_with(&contact));
                if !bound {
                    // The answer to our farewell.
                    return;
                }
                let first = !std::mem::replace(&mut self.registered, true);
                if first && cx.random.permille(200) {
                    self.subscribe(cx);
                }
                cx.ledger.count("registered");
                let life = cx.settings.expires * 1000;
                cx.random.millis(life / 2, life * 8 / 10)
            }
            // 401: the switch died in between, and died again.
            Some(text) if text.status() >= 500 || text.status() == 401 => cx.random.millis(2_000, 10_000),
            Some(text) => {
                let what = format!("REGISTER is refused with {}", text.status());
                cx.ledger.violated(cx.now, text.call_id(), &what);
            }
        };
        cx.out.push(Do::After(again, Timer::Refresh));
    }

    /// Asks for messages waiting, as phones do after they registered.
    fn subscribe(&mut self, cx: &mut Cx<'_>) {
        let request = Request {
            method: "SUBSCRIBE",
            uri: self.uri(),
            from: format!("<{}>;tag={}", self.uri(), self.name("s")),
            to: format!("<{}>", self.uri()),
            call_id: self.name("mwi"),
            cseq: 1,
            more: format!(
                "Contact: {}\r\nEvent: message-summary\r\nAccept: application/simple-message-summary\r\nExpires: 60\r\n",
                self.contact()
            ),
            body: None,
        };
        self.request(cx, request, Purpose::Any);
    }
}
