//! The side that takes what others publish (RFC 3903 section 6): one entity tag for each publication, a new one with each
//! success. What is published, and by whom it may be, is the owner's business; so are the timers.

use super::Lifetimes;
use crate::draft::{Reply, Tag};
use crate::{Message, Name};
use clock::Mono;
use std::time::Duration;

/// What a PUBLISH wants (section 4: a table of body, SIP-If-Match and Expires).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The publication it is about; `None`: a new one.
    pub of: Option<Entity>,
    /// How long it is to last, in seconds; 0 ends it.
    pub expires: u32,
}

/// The value of SIP-If-Match: a tag of ours, or one that cannot be ours.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Entity(Option<Tag>);

/// The publications of one resource, oldest first.
#[derive(Clone, Debug)]
pub struct Publications<T> {
    alive: Vec<Publication<T>>,
}

/// One publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication<T> {
    /// Its entity tag.
    pub tag: Tag,
    /// When it ends.
    pub ends_at: Mono,
    /// What was published.
    pub content: T,
}

impl Publish {
    /// Reads a PUBLISH.
    ///
    /// # Errors
    /// 423 for too short a life; 400 for neither body nor SIP-If-Match.
    #[expect(clippy::result_large_err, reason = "the answer is sent as it is, once a request")]
    pub fn read(request: &Message, lifetimes: Lifetimes) -> Result<Publish, Reply> {
        let expires = lifetimes.grant(request).ok_or_else(|| lifetimes.too_brief())?;
        let of = request.header(Name::SipIfMatch).map(|tag| Entity(Tag::parse(tag)));
        if of.is_none() && request.body_bytes().is_empty() {
            return Err(Reply::new(400).reason("Nothing Published"));
        }
        Ok(Publish { of, expires })
    }
}

impl<T> Default for Publications<T> {
    fn default() -> Publications<T> {
        Publications { alive: Vec::new() }
    }
}

impl<T> Publications<T> {
    /// Carries out a PUBLISH: makes, refreshes (`content` is none), replaces or removes a publication, which has `tag` from now
    /// on. With more than `max` the oldest goes.
    ///
    /// # Errors
    /// 412: there is no such publication, or no longer (section 6 step 4).
    #[expect(clippy::result_large_err, reason = "the answer is sent as it is, once a request")]
    pub fn publish(
        &mut self,
        now: Mono,
        wish: Publish,
        content: Option<T>,
        (tag, max): (Tag, usize),
    ) -> Result<Reply, Reply> {
        self.expire(now);
        let place = match wish.of {
            None => None,
            Some(Entity(of)) => {
                let place = self.alive.iter().position(|one| Some(one.tag) == of);
                Some(place.ok_or_else(|| Reply::new(412))?)
            }
        };
        let before = place.map(|place| self.alive.remove(place));
        if let Some(content) = content
            .or(before.map(|before| before.content))
            .filter(|_| wish.expires > 0)
        {
            let ends_at = now + Duration::from_secs(wish.expires.into());
            self.alive.push(Publication { tag, ends_at, content });
            if self.alive.len() > max {
                self.alive.remove(0);
            }
        }
        Ok(Reply::new(200)
            .header(Name::SipEtag, tag.to_string())
            .header(Name::Expires, wish.expires.to_string()))
    }

    /// Drops what has run out; whether anything has.
    pub fn expire(&mut self, now: Mono) -> bool {
        let before = self.alive.len();
        self.alive.retain(|one| one.ends_at > now);
        self.alive.len() < before
    }

    /// When the next one runs out.
    #[must_use]
    pub fn next_end(&self) -> Option<Mono> {
        self.alive.iter().map(|one| one.ends_at).min()
    }

    /// What is published, newest first.
    pub fn contents(&self) -> impl Iterator<Item = &T> {
        self.alive.iter().rev().map(|one| &one.content)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.alive.len()
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.alive.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIMES: Lifetimes = Lifetimes {
        min: 60,
        default: 3_600,
        max: 7_200,
    };

    fn request(headers: &str, body: &str) -> Message {
        let text = format!(
            "PUBLISH sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: x\r\nCSeq: 1 PUBLISH\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Message::parse(text.into_bytes().into()).unwrap()
    }

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    /// Carries out a request; the status and what is published then.
    fn publish(
        all: &mut Publications<&'static str>,
        now: u64,
        asked: (&str, &'static str),
        tag: u64,
    ) -> (u16, Vec<&'static str>) {
        let (headers, body) = asked;
        let content = Some(body).filter(|body| !body.is_empty());
        let reply = match Publish::read(&request(headers, body), LIFETIMES) {
            Ok(wish) => all
                .publish(at(now), wish, content, (Tag(tag), 2))
                .unwrap_or_else(|refusal| refusal),
            Err(refusal) => refusal,
        };
        (reply.status, all.contents().copied().collect())
    }

    #[test]
    fn a_publication_is_made_refreshed_changed_and_removed_and_has_a_new_tag_each_time() {
        let all = &mut Publications::default();
        assert_eq!(publish(all, 0, ("", "open"), 1), (200, vec!["open"]));
        let of = |tag: u64, expires: u32| format!("SIP-If-Match: {tag:016x}\r\nExpires: {expires}\r\n");
        assert_eq!(publish(all, 10, (&of(1, 600), ""), 2), (200, vec!["open"]));
        assert_eq!(
            publish(all, 20, (&of(1, 600), ""), 3),
            (412, vec!["open"]),
            "an old tag"
        );
        assert_eq!(publish(all, 30, (&of(2, 600), "away"), 4), (200, vec!["away"]));
        assert_eq!(publish(all, 40, (&of(4, 0), ""), 5), (200, vec![]));
        assert_eq!(publish(all, 50, (&of(5, 600), ""), 6), (412, vec![]));
    }

    #[test]
    fn what_is_not_refreshed_runs_out() {
        let all = &mut Publications::default();
        publish(all, 0, ("Expires: 60\r\n", "open"), 1);
        assert_eq!(all.next_end(), Some(at(60)));
        assert!(!all.expire(at(59)) && all.expire(at(60)));
        assert!(all.is_empty());
        let late = "SIP-If-Match: 0000000000000001\r\n";
        assert_eq!(publish(all, 61, (late, ""), 2).0, 412);
    }

    #[test]
    fn a_resource_has_so_many_publications_and_the_oldest_goes() {
        let all = &mut Publications::default();
        for (tag, body) in [(1, "one"), (2, "two"), (3, "three")] {
            publish(all, 0, ("", body), tag);
        }
        assert_eq!(
            (all.contents().copied().collect::<Vec<_>>(), all.len()),
            (vec!["three", "two"], 2)
        );
    }

    #[test]
    fn senseless_wishes_are_refused() {
        let all = &mut Publications::default();
        assert_eq!(publish(all, 0, ("Expires: 5\r\n", "x"), 1).0, 423);
        assert_eq!(publish(all, 0, ("", ""), 1).0, 400);
        assert_eq!(publish(all, 0, ("SIP-If-Match: *\r\n", "x"), 1).0, 412);
        assert_eq!(
            publish(all, 0, ("Expires: 0\r\n", "x"), 1),
            (200, vec![]),
            "come and gone"
        );
    }
}
