//! Session descriptions on their way in and out, and what a device is told when one cannot be used (S2: that request
//! fails, nothing else).

use super::Failure;
use media::sdp::{OfferAnswerError, SessionDescription};
use model::EndReason;
use sip::{Body, Message, Name, Reply};
use std::borrow::Cow;

/// The description in a message; `None` if it has none.
///
/// # Errors
/// 415 for another kind of body that has to be understood, 400 for a description that cannot be read.
pub(crate) fn description(message: &Message) -> Result<Option<SessionDescription>, Failure> {
    let Some(body) = Body::of(message) else { return Ok(None) };
    if !is_sdp(&body.content_type) || is_encoded(message) {
        return if is_optional(message) {
            Ok(None)
        } else {
            Err(unsupported_type())
        };
    }
    parse(&body).map(Some)
}

/// The description in a body that a session handed over.
///
/// # Errors
/// As [`description`].
pub(crate) fn parse(body: &Body) -> Result<SessionDescription, Failure> {
    if !is_sdp(&body.content_type) {
        return Err(unsupported_type());
    }
    SessionDescription::parse(&body.content).map_err(|error| {
        let reply = Reply::new(400).reason(Cow::Owned(format!("Bad Session Description, {error}")));
        Failure::new(reply, EndReason::NoCommonCodec)
    })
}

/// A description of ours as a body.
#[must_use]
pub(crate) fn sdp(text: &str) -> Body {
    Body::sdp(text.as_bytes().to_vec())
}

/// The answer that takes nothing of an offer, for an ACK that has to bring one when the call is over already.
#[must_use]
pub(crate) fn decline(offer: &Body) -> Option<Body> {
    let offer = parse(offer).ok()?;
    Some(sdp(&media::sdp::decline(&offer)))
}

/// What a device is told when its offer leads nowhere.
#[must_use]
pub(crate) fn refusal(error: OfferAnswerError) -> Failure {
    let (status, warning) = match error {
        OfferAnswerError::NoAudio => (488, Some((304, "no audio over RTP"))),
        OfferAnswerError::NoFormat => (488, Some((305, "no common codec"))),
        OfferAnswerError::KeysInClear | OfferAnswerError::NoKey | OfferAnswerError::ClearRefused => {
            return refused(399, &error.to_string());
        }
        OfferAnswerError::Glare => (491, None),
        OfferAnswerError::Pending => (500, None),
        OfferAnswerError::Unexpected => (488, Some((399, "no offer to answer"))),
    };
    let mut reply = Reply::new(status);
    if let Some((code, text)) = warning {
        reply = reply.header(Name::Warning, format!("{code} tandem \"{text}\""));
    }
    if status == 500 {
        reply = reply.header(Name::RetryAfter, "5");
    }
    Failure::new(reply, EndReason::NoCommonCodec)
}

fn refused(code: u16, text: &str) -> Failure {
    let warning = format!("{code} tandem \"{text}\"");
    let reply = Reply::new(488).header(Name::Warning, warning);
    Failure::new(reply, EndReason::NoCommonCodec)
}

fn unsupported_type() -> Failure {
    let reply = Reply::new(415).header(Name::Accept, "application/sdp");
    Failure::new(reply, EndReason::NoCommonCodec)
}

fn is_sdp(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/sdp")
}

fn is_encoded(message: &Message) -> bool {
    message
        .header(Name::ContentEncoding)
        .is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

/// RFC 3261 section 20.11: `handling=optional` lets us pass over it.
fn is_optional(message: &Message) -> bool {
    message.header(Name::ContentDisposition).is_some_and(|value| {
        let text = String::from_utf8_lossy(value).to_ascii_lowercase();
        text.split(';')
            .skip(1)
            .any(|parameter| parameter.replace(' ', "") == "handling=optional")
    })
}
