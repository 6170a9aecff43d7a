//! SRTP in offer and answer (RFC 4568): which stream is taken, which keys are offered, and what is no fall back.

use super::{Negotiation, OfferAnswerError, Ours, Theirs, is_audio, is_secure};
use crate::sdp::crypto::{Crypto, SrtpUse};
use crate::sdp::{SessionDescription, Stream};
use crate::srtp::KeyPair;

impl Negotiation {
    /// The stream of an offer to take: encrypted where that can be, for who offers both would have it so.
    pub(super) fn choose(&self, offer: &SessionDescription) -> Result<usize, OfferAnswerError> {
        let streams = || (0..).zip(&offer.streams).filter(|(_, stream)| is_audio(stream));
        let secure = |stream: &Stream| is_secure(&stream.protocol);
        let keyed = |stream: &Stream| self.keys.is_some() && !Crypto::read_all(stream).is_empty();
        let both = streams().find(|(_, stream)| secure(stream) && keyed(stream));
        let with_keys = both.or_else(|| streams().find(|(_, stream)| keyed(stream)));
        if let Some((at, _)) = with_keys {
            return Ok(at);
        }
        let must = self.must_encrypt();
        match streams().find(|(_, stream)| !secure(stream)) {
            Some((at, _)) if !must => Ok(at),
            Some(_) => Err(OfferAnswerError::ClearRefused),
            None if streams().next().is_none() => Err(OfferAnswerError::NoAudio),
            None if self.keys.is_none() => Err(OfferAnswerError::KeysInClear),
            None => Err(OfferAnswerError::NoKey),
        }
    }

    /// What was encrypted stays so (CVE-2022-39269 is a fall back to RTP).
    pub(super) fn must_encrypt(&self) -> bool {
        self.crypto.is_some() || self.policy.wanted == SrtpUse::Required
    }

    pub(super) fn read(&self, session: &SessionDescription, at: usize) -> Result<Theirs, OfferAnswerError> {
        let mut theirs = Theirs::read(session, at)?;
        if let (Some(_), Some(stream)) = (&self.keys, session.streams.get(at)) {
            theirs.crypto = Crypto::read_all(stream);
        }
        Ok(theirs)
    }

    /// RFC 4568 section 5.1.3: an answer has one line, with tag and suite of one that was offered.
    pub(super) fn answered_keys(
        &self,
        ours: &Ours,
        theirs: &Theirs,
    ) -> Result<(Option<Crypto>, Option<KeyPair>), OfferAnswerError> {
        let Some(line) = theirs.crypto.first() else {
            let secure = is_secure(&ours.lines[ours.at].protocol);
            return match (secure, self.must_encrypt()) {
                (true, _) => Err(OfferAnswerError::NoKey),
                (false, true) => Err(OfferAnswerError::ClearRefused),
                (false, false) => Ok((None, None)),
            };
        };
        let chosen = |crypto: &&Crypto| (crypto.tag, crypto.key.suite()) == (line.tag, line.key.suite());
        let crypto = ours.crypto.iter().find(chosen).ok_or(OfferAnswerError::NoKey)?;
        let pair = KeyPair {
            ours: crypto.key.clone(),
            theirs: line.key.clone(),
        };
        Ok((Some(crypto.clone()), Some(pair)))
    }

    /// Protocol and keys of our offer: what is in use, else what is wanted.
    pub(super) fn offered_keys(&self) -> (Box<str>, Vec<Crypto>) {
        let in_use = self
            .sound_at
            .and_then(|at| self.lines.get(at))
            .map(|line| &line.protocol);
        let of_kind = |usual: &str, secure: bool| {
            let same = in_use.filter(|protocol| is_secure(protocol) == secure);
            same.cloned().unwrap_or_else(|| usual.into())
        };
        let Some(keys) = &self.keys else {
            return (of_kind("RTP/AVP", false), Vec::new());
        };
        match (&self.crypto, self.policy.wanted) {
            (Some(crypto), _) => (
                in_use.cloned().unwrap_or_else(|| "RTP/SAVP".into()),
                keys.offered(Some(crypto)),
            ),
            (None, SrtpUse::Off) => (of_kind("RTP/AVP", false), Vec::new()),
            (None, SrtpUse::Optional) => (of_kind("RTP/AVP", false), keys.offered(None)),
            (None, SrtpUse::Required) => (of_kind("RTP/SAVP", true), keys.offered(None)),
        }
    }
}
