//! Any order of subscriptions, refreshes, calls, registrations, publications, reloads, restarts and lost packets: numbers never
//! go back, nothing is told after the end, and in the end every watcher knows what is so.

use super::*;
use crate::config::Config;
use crate::testing::Faults;
use model::Willing;
use sip::Body;
use std::collections::BTreeMap;

/// Worlds that are played, each with [`STEPS`] steps.
const WORLDS: u64 = 30;
const STEPS: usize = 60;
/// 1001 and 1002 are agents of group 2000 and watched; 1000 and 1003 watch.
const PEOPLE: [&str; 4] = ["1000", "1001", "1002", "1003"];
const PACKAGES: [&str; 3] = ["presence", "dialog", "message-summary"];

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.roll(choices.len())]
    }
}

/// A subscription as its phone sees it.
struct Watcher {
    phone: usize,
    package: &'static str,
    whom: String,
    is_list: bool,
    answer: Message,
    cseq: u32,
    version: Option<u32>,
    is_over: bool,
    last: Vec<u8>,
}

struct Play {
    world: World,
    dice: Dice,
    config: Config,
    watchers: BTreeMap<Vec<u8>, Watcher>,
    log: Vec<String>,
    /// Packets were lost, or the switch died.
    is_rough: bool,
}

#[test]
fn whatever_happens_numbers_rise_and_watchers_know_what_is_so() {
    let mut told = 0;
    for seed in 0..WORLDS {
        let mut play = Play::new(seed);
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play.all()));
        if let Err(panic) = played {
            println!("world {seed} fails after {:#?}", play.log);
            std::panic::resume_unwind(panic);
        }
        told += play.watchers.values().filter(|watcher| !watcher.is_over).count();
    }
    assert!(told > 100, "only {told} subscriptions lived to the end");
}

impl Play {
    fn new(seed: u64) -> Play {
        let mut config = ends::agents_of_a_group(2);
        config.users[0].contacts = ["1001", "2000", "1003"].map(Into::into).into();
        config.subscriptions.per_user = 12;
        let mut world = World::new(config.clone(), seed);
        for user in PEOPLE {
            let phone = world.phone(user);
            world.register(phone);
            world.phones[phone].is_strict = false;
            world.phones[phone].on_invite = OnInvite::AnswerAfter(Duration::from_millis(300));
        }
        Play {
            world,
            dice: Dice(seed),
            config,
            watchers: BTreeMap::new(),
            log: Vec::new(),
            is_rough: false,
        }
    }

    fn all(&mut self) {
        for _ in 0..STEPS {
            let phone = self.dice.roll(PEOPLE.len());
            let what = self.dice.roll(14);
            self.log.push(format!("{} does {what}", PEOPLE[phone]));
            self.step(phone, what);
            self.world.run_ms([1, 20, 120, 600][self.dice.roll(4)]);
            self.read();
            assert_eq!(self.world.switch.audit(), Ok(()));
            let most = PEOPLE.len() as u64 * 12;
            assert!(alive(&self.world) <= most, "each user has 12 at most");
        }
        self.world.network.faults = Faults::default();
        self.world.run(Duration::from_secs(40));
        self.read();
        self.compare();
        self.world.run(Duration::from_secs(700));
        assert_eq!(
            (alive(&self.world), self.world.store.subscriptions.len()),
            (0, 0),
            "nobody refreshed"
        );
        assert_eq!(self.world.switch.audit(), Ok(()));
    }

    fn step(&mut self, phone: usize, what: usize) {
        let world = &mut self.world;
        match what {
            0..4 => self.subscribe(phone),
            4 => {
                let expires = [600, 600, 60, 0][self.dice.roll(4)];
                self.renew(expires);
            }
            5 => {
                let agent = self.dice.of(&["1001", "1002"]);
                let willing = [Willing::Ready, Willing::NotReady, Willing::LoggedOff][self.dice.roll(3)];
                ends::says(world, agent, willing);
            }
            6 => drop(world.register_for(phone, [0, 3_600][self.dice.roll(2)])),
            7 => drop(world.call(phone, self.dice.of(&["1001", "1002", "9196"]))),
            8 => {
                let calls = world.phones[phone].calls.len();
                if calls > 0 {
                    world.hang_up(phone, self.dice.roll(calls));
                }
            }
            9 => self.publish(phone),
            10 if self.dice.roll(3) == 0 => {
                self.is_rough = true;
                world.restart();
            }
            11 => {
                let loss = [0, 0, 150][self.dice.roll(3)];
                self.is_rough |= loss > 0;
                world.network.faults = Faults {
                    loss,
                    duplication: loss,
                    reordering: loss,
                };
            }
            12 => {
                let audience = [Audience::Everyone, Audience::Everyone, Audience::Group][self.dice.roll(3)];
                self.config.subscriptions.watch_presence = audience;
                world.reload(self.config.clone());
            }
            _ => world.run(Duration::from_secs([1, 5, 20][self.dice.roll(3)])),
        }
    }

    fn subscribe(&mut self, phone: usize) {
        let package = self.dice.of(&PACKAGES);
        let whom = match package {
            "message-summary" => PEOPLE[phone],
            _ => self.dice.of(&["1001", "1002", "1003", "2000", "contacts"]),
        };
        let expires = [600, 600, 60][self.dice.roll(3)];
        let is_list = matches!(whom, "2000" | "contacts");
        self.log.push(format!("watches {package} of {whom}"));
        let answer = self.asks(phone, package, whom, is_list, expires);
        let Some(answer) = answer.filter(|answer| answer.status() == 200) else {
            return;
        };
        let watcher = Watcher {
            phone,
            package,
            whom: whom.to_owned(),
            is_list,
            cseq: 0,
            version: None,
            is_over: false,
            last: Vec::new(),
            answer: answer.clone(),
        };
        self.watchers.insert(answer.call_id().to_vec(), watcher);
    }

    fn asks(&mut self, phone: usize, package: &str, whom: &str, is_list: bool, expires: u32) -> Option<Message> {
        let contact = format!("<{}>", self.world.phones[phone].contact());
        let mut headers = Headers::new()
            .with(Name::Event, package)
            .with(Name::Expires, expires.to_string())
            .with(Name::Contact, contact);
        if is_list {
            headers.add(Name::Supported, "eventlist");
        }
        let number = self.world.with(phone, |phone, now| {
            phone.request(now, Method::Subscribe, whom, headers, None)
        });
        self.world.finish(phone, number);
        self.world.phones[phone].answer(number).cloned()
    }

    /// One of the subscriptions that go on is refreshed or given up.
    fn renew(&mut self, expires: u32) {
        let alive: Vec<Vec<u8>> = self
            .watchers
            .iter()
            .filter(|(_, w)| !w.is_over)
            .map(|(id, _)| id.clone())
            .collect();
        if alive.is_empty() {
            return;
        }
        let id = alive[self.dice.roll(alive.len())].clone();
        self.refresh(&id, expires);
    }

    fn is_forgotten(&mut self, id: &[u8]) -> bool {
        self.refresh(id, 600);
        self.watchers[id].is_over
    }

    fn refresh(&mut self, id: &[u8], expires: u32) {
        let watcher = &self.watchers[id];
        self.log
            .push(format!("renews {} of {} for {expires}", watcher.package, watcher.whom));
        let (phone, answer) = (watcher.phone, watcher.answer.clone());
        let contact = format!("<{}>", self.world.phones[phone].contact());
        let headers = Headers::new()
            .with(Name::Event, watcher.package)
            .with(Name::Expires, expires.to_string())
            .with(Name::Contact, contact);
        let number = self.world.with(phone, |phone, now| {
            phone.request_inside(now, Method::Subscribe, &answer, headers)
        });
        let status = self.world.finish(phone, number);
        if status == 481 {
            // RFC 6665 section 4.1.2.2: the phone forgets it.
            self.watchers.get_mut(id).unwrap().is_over = true;
        }
    }

    fn publish(&mut self, phone: usize) {
        let (basic, note) = (self.dice.of(&["open", "closed"]), self.dice.of(&["a", "b", "c"]));
        let document = format!(
            "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:x@y\"><tuple id=\"a\"><status><basic>{basic}</basic>\
             </status><note>{note}</note></tuple></presence>"
        );
        let body = Body {
            content_type: "application/pidf+xml".into(),
            content: document.into(),
        };
        let headers = Headers::new().with(Name::Event, "presence").with(Name::Expires, "60");
        let number = self.world.with(phone, |p, now| {
            let user = p.user.clone();
            p.request(now, Method::Publish, &user, headers, Some(body))
        });
        self.world.finish(phone, number);
    }

    /// Takes what came, and looks whether it may.
    fn read(&mut self) {
        for phone in 0..PEOPLE.len() {
            for notify in std::mem::take(&mut self.world.phones[phone].requests) {
                if notify.method() == Method::Notify {
                    self.read_one(&notify);
                }
            }
        }
    }

    fn read_one(&mut self, notify: &Message) {
        // A fetch, or a subscription whose 200 was lost: nobody looks at it.
        let Some(watcher) = self.watchers.get_mut(notify.call_id()) else {
            return;
        };
        let what = format!("{} of {}", watcher.package, watcher.whom);
        // On a bad network one can come late; the phone's dialog drops it by its number (RFC 3261 section 12.2.2).
        if notify.cseq() <= watcher.cseq {
            assert!(self.is_rough, "{what}: CSeq {} after {}", notify.cseq(), watcher.cseq);
            return;
        }
        assert!(!watcher.is_over, "{what}: told after its end");
        watcher.cseq = notify.cseq();
        let state = notify.header(Name::SubscriptionState).unwrap();
        watcher.is_over = state.starts_with(b"terminated");
        let text = String::from_utf8_lossy(notify.body_bytes());
        // The first one is XML's own.
        let numbered = text.split(" version=\"").nth(2);
        if let Some(version) = numbered.filter(|_| watcher.is_list || watcher.package == "dialog") {
            let version = version.split('"').next().unwrap().parse().unwrap();
            assert!(
                watcher.version < Some(version),
                "{what}: version {version} after {:?}",
                watcher.version
            );
            watcher.version = Some(version);
        }
        if !notify.body().is_empty() {
            watcher.last = notify.body_bytes().to_vec();
        }
    }

    /// What a watcher was told last is what is told who asks now. Lists tell parts, and are compared by their own tests.
    fn compare(&mut self) {
        let living = self.watchers.values().filter(|w| !w.is_over && !w.is_list);
        let living: Vec<_> = living
            .map(|w| {
                (
                    w.answer.call_id().to_vec(),
                    (w.phone, w.package, w.whom.clone(), w.last.clone()),
                )
            })
            .collect();
        for (id, (phone, package, whom, last)) in living {
            self.world.phones[phone].requests.clear();
            let answer = self.asks(phone, package, &whom, false, 0).expect("an answer");
            self.world.run_ms(50);
            let requests = std::mem::take(&mut self.world.phones[phone].requests);
            let fetched = requests.iter().find(|request| request.call_id() == answer.call_id());
            let is_so = fetched.is_some_and(|fetched| said(&last) == said(fetched.body_bytes()));
            // The word of the end was lost, and the switch died before it could repeat it: the phone learns it at its refresh.
            let is_known = is_so || self.is_rough && self.is_forgotten(&id);
            if !is_known {
                let fetched = fetched.map(|fetched| said(fetched.body_bytes()));
                panic!(
                    "{} was told of {package} of {whom}: {}\nand is told now: {fetched:?}",
                    PEOPLE[phone],
                    said(&last)
                );
            }
        }
    }
}

/// What a document says, without its number and without calls that are over.
fn said(document: &[u8]) -> String {
    let text = String::from_utf8_lossy(document).into_owned();
    let Some((_, rest)) = text.split_once("<dialog-info ") else {
        return text;
    };
    let dialogs = rest.split("<dialog ").skip(1);
    let live: Vec<&str> = dialogs
        .filter(|dialog| !dialog.contains(">terminated<"))
        .map(|d| d.split("</dialog>").next().unwrap())
        .collect();
    live.join("\n")
}
