//! How an agent is in one medium: what they said, over what is real. Nobody is *set* busy: being busy is a lease on a leg or a
//! session that exists, and the leases are replaced as a whole by those that exist whenever that may have changed. So whatever
//! becomes of a call, a phone or a page, nobody is left busy. What the agent said is kept over a restart; leases are not.

use clock::{Mono, Now, Wall};
use model::{AgentStatus, ChannelView, Said, Willing};
use sip::endpoint::Alarm;
use smallvec::SmallVec;

/// What keeps an agent busy: a leg by voice, a session by instant message. The number is that of the thing.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Names the leg or session.
    pub(crate) of: u64,
    /// It is more than an attempt: somebody answered.
    pub(crate) is_up: bool,
}

/// One medium of one agent.
#[derive(Debug, Default)]
pub(super) struct Channel {
    leases: SmallVec<[Lease; 2]>,
    /// One of the present leases, or of those that were there together with them, was answered.
    was_up: bool,
    /// The time for what is left to do after a call.
    wraps: Option<Wrap>,
    status: AgentStatus,
    since: Wall,
    /// Since when nothing was to be done: what [`super::group::hunt`] compares.
    idle_since: Mono,
}

/// After-call work, until its timer or the agent ends it.
#[derive(Debug)]
pub(super) struct Wrap {
    /// Number of the timer.
    pub(super) number: u64,
    pub(super) alarm: Alarm,
}

/// What the status of a channel follows from, beside its leases.
#[derive(Copy, Clone, Debug)]
pub(super) struct Grounds<'a> {
    /// What the agent said; none: never anything.
    pub(super) said: Option<&'a Said>,
    /// What one is who never said anything.
    pub(super) unsaid: Willing,
    /// A device is registered or a page is open.
    pub(super) is_reachable: bool,
    /// So many leases at once.
    pub(super) capacity: usize,
}

impl Channel {
    /// These things exist now, and no others. True if the last has just ended and somebody had answered: there may be
    /// something left to do.
    pub(super) fn hold(&mut self, live: SmallVec<[Lease; 2]>) -> bool {
        let was_busy = !self.leases.is_empty();
        self.leases = live;
        self.was_up |= self.leases.iter().any(|lease| lease.is_up);
        let is_over = was_busy && self.leases.is_empty();
        is_over && std::mem::take(&mut self.was_up)
    }

    pub(super) fn wrap(&mut self, wrap: Wrap) {
        self.wraps = Some(wrap);
    }

    /// What is left to do is done.
    pub(super) fn unwrap_up(&mut self) -> Option<Wrap> {
        self.wraps.take()
    }

    /// Number of the timer of what is left to do.
    pub(super) fn wrapping(&self) -> Option<u64> {
        self.wraps.as_ref().map(|wrap| wrap.number)
    }

    /// Looks at the grounds anew; whether anything that is shown has changed.
    pub(super) fn settle(&mut self, now: Now, grounds: Grounds<'_>) -> bool {
        let status = self.status_by(grounds);
        if status == self.status {
            return false;
        }
        let before = std::mem::replace(&mut self.status, status);
        self.since = self.began(before, now, grounds);
        if status == AgentStatus::Ready {
            self.idle_since = now.mono;
        }
        true
    }

    fn status_by(&self, grounds: Grounds<'_>) -> AgentStatus {
        match grounds.said.map_or(grounds.unsaid, |said| said.willing) {
            Willing::LoggedOff => AgentStatus::LoggedOff,
            _ if !grounds.is_reachable => AgentStatus::LoggedOff,
            _ if self.leases.len() >= grounds.capacity => AgentStatus::Busy,
            _ if self.wraps.is_some() => AgentStatus::AfterCall,
            Willing::NotReady => AgentStatus::NotReady,
            Willing::Ready => AgentStatus::Ready,
        }
    }

    /// What was said before a restart counts since then, once the devices are there again.
    fn began(&self, before: AgentStatus, now: Now, grounds: Grounds<'_>) -> Wall {
        let said = grounds.said.map(|said| said.since).filter(|since| *since <= now.wall);
        let is_said = matches!(self.status, AgentStatus::NotReady | AgentStatus::Ready);
        said.filter(|_| is_said && before == AgentStatus::LoggedOff)
            .unwrap_or(now.wall)
    }

    pub(super) fn status(&self) -> AgentStatus {
        self.status
    }

    /// For the comparison of those who are ready: longest first.
    pub(super) fn idle_since(&self) -> (Mono, Wall) {
        (self.idle_since, self.since)
    }

    pub(super) fn leases(&self) -> &[Lease] {
        &self.leases
    }

    pub(super) fn view(&self, said: Option<&Said>) -> ChannelView {
        let reason = said.filter(|_| self.status == AgentStatus::NotReady);
        ChannelView {
            state: self.status,
            reason: reason.map(|said| said.reason.clone()).unwrap_or_default(),
            since: self.since,
            engaged: u32::try_from(self.leases.len()).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    fn at(ms: i64) -> Now {
        Now {
            mono: Mono(ms.unsigned_abs() * 1_000_000),
            wall: Wall(1_000_000 + ms),
        }
    }

    fn said(willing: Willing) -> Said {
        Said {
            willing,
            reason: "meal".into(),
            since: Wall(1_000_000),
        }
    }

    fn grounds(said: Option<&Said>) -> Grounds<'_> {
        Grounds {
            said,
            unsaid: Willing::LoggedOff,
            is_reachable: true,
            capacity: 1,
        }
    }

    fn lease(of: u64, is_up: bool) -> Lease {
        Lease { of, is_up }
    }

    #[test]
    fn busy_lasts_as_long_as_what_it_is_a_lease_on() {
        let (mut channel, ready) = (Channel::default(), said(Willing::Ready));
        assert!(channel.settle(at(0), grounds(Some(&ready))));
        assert!(!channel.hold(smallvec![lease(1, false)]));
        assert!(channel.settle(at(10), grounds(Some(&ready))));
        assert_eq!(channel.view(Some(&ready)).state, AgentStatus::Busy);
        assert!(!channel.hold(smallvec![lease(2, true)]), "one ended, another began");
        assert!(channel.hold(smallvec![]), "the call was answered, and is over");
        assert!(channel.settle(at(20), grounds(Some(&ready))));
        let view = channel.view(Some(&ready));
        assert_eq!(
            (view.state, view.since, view.engaged),
            (AgentStatus::Ready, Wall(1_000_020), 0)
        );
    }

    #[test]
    fn an_attempt_leaves_nothing_to_do() {
        let mut channel = Channel::default();
        channel.hold(smallvec![lease(1, false)]);
        assert!(!channel.hold(smallvec![]));
    }

    #[test]
    fn who_cannot_be_reached_is_logged_off_until_the_device_is_back() {
        let (mut channel, meal) = (Channel::default(), said(Willing::NotReady));
        channel.settle(at(0), grounds(Some(&meal)));
        assert_eq!(&*channel.view(Some(&meal)).reason, "meal");
        let away = Grounds {
            is_reachable: false,
            ..grounds(Some(&meal))
        };
        assert!(channel.settle(at(5_000), away));
        assert_eq!(
            channel.view(Some(&meal)),
            ChannelView {
                since: Wall(1_005_000),
                ..ChannelView::default()
            }
        );
        channel.settle(at(9_000), grounds(Some(&meal)));
        let view = channel.view(Some(&meal));
        assert_eq!(
            (view.state, view.since),
            (AgentStatus::NotReady, Wall(1_000_000)),
            "the meal went on"
        );
    }

    #[test]
    fn who_never_said_anything_is_what_the_configuration_says() {
        let mut channel = Channel::default();
        assert!(!channel.settle(at(0), grounds(None)));
        let by_registration = Grounds {
            unsaid: Willing::Ready,
            ..grounds(None)
        };
        channel.settle(at(0), by_registration);
        assert_eq!(channel.status(), AgentStatus::Ready);
    }

    #[test]
    fn several_sessions_fit_until_the_last_place_is_taken() {
        let (mut channel, ready) = (Channel::default(), said(Willing::Ready));
        let two = Grounds {
            capacity: 2,
            ..grounds(Some(&ready))
        };
        channel.hold(smallvec![lease(1, true)]);
        channel.settle(at(0), two);
        assert_eq!(channel.status(), AgentStatus::Ready);
        channel.hold(smallvec![lease(1, true), lease(2, false)]);
        channel.settle(at(0), two);
        assert_eq!(channel.status(), AgentStatus::Busy);
    }
}
