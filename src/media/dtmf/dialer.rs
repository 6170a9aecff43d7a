//! Key presses on their way to a device, 20 ms by 20 ms.

use super::event_of;
use clock::Mono;
use std::collections::VecDeque;
use std::time::Duration;

/// Updates of a press come this often (RFC 4733 section 2.5.1.2 leaves it to us; packets of sound come as often).
const STEP: Duration = Duration::from_millis(20);

/// The end of a press is said three times (RFC 4733 section 2.5.1.4).
const ENDS: u8 = 3;

/// Silence between presses: ITU-T Q.24 asks receivers to tell apart what lies 40 ms apart, and some want more.
const PAUSE: Duration = Duration::from_millis(80);

/// Presses waiting at most: a credit card, its date, and room to spare.
const MAX_WAITING: usize = 64;

/// What is to be done for the present press.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// It begins, goes on, or has ended, after having been held so long.
    Key {
        event: u8,
        held: Duration,
        /// The first packet of it.
        begins: bool,
        /// Its end; said several times.
        ends: bool,
    },
    /// The pause after it, or nothing more to do.
    Silence,
}

/// The presses one device is yet to hear.
#[derive(Debug, Default)]
pub(crate) struct Dialer {
    waiting: VecDeque<(u8, Duration)>,
    present: Option<Press>,
    next: Mono,
}

#[derive(Debug)]
struct Press {
    event: u8,
    length: Duration,
    held: Duration,
    ends: u8,
}

impl Dialer {
    /// Appends presses; false if some were no keys or too many.
    pub fn dial(&mut self, now: Mono, digits: &str, duration: Duration) -> bool {
        let length = duration.clamp(Duration::from_millis(40), Duration::from_secs(6));
        if self.is_idle() {
            self.next = self.next.max(now);
        }
        let taken = digits
            .chars()
            .filter_map(event_of)
            .take(MAX_WAITING - self.waiting.len());
        let before = self.waiting.len();
        self.waiting.extend(taken.map(|event| (event, length)));
        self.waiting.len() - before == digits.chars().count()
    }

    /// Nothing is left to do.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.present.is_none()
    }

    /// When to ask [`Dialer::advance`] next.
    pub fn due(&self) -> Option<Mono> {
        (!self.is_idle()).then_some(self.next)
    }

    /// The next step. A dialer that was asked late goes on in its own time.
    pub fn advance(&mut self, now: Mono) -> Pulse {
        let begins = self.present.is_none();
        if begins {
            let Some((event, length)) = self.waiting.pop_front() else {
                return Pulse::Silence;
            };
            self.present = Some(Press {
                event,
                length,
                held: Duration::ZERO,
                ends: 0,
            });
        }
        let at = if now.since(self.next) > PAUSE { now } else { self.next };
        let Some(press) = &mut self.present else {
            return Pulse::Silence;
        };
        self.next = at + STEP;
        press.held = (press.held + STEP).min(press.length);
        let ends = press.held == press.length;
        press.ends += u8::from(ends);
        let (event, held, done) = (press.event, press.held, press.ends == ENDS);
        if done {
            self.present = None;
            self.next = at + PAUSE;
        }
        Pulse::Key {
            event,
            held,
            begins,
            ends,
        }
    }
}
