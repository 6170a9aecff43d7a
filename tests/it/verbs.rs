//! Agents at work with real softphones that know one call: what the API wants done is heard at each of them.

use crate::support::baresip::{Account, Baresip, Speech};
use crate::support::node::{Setup, TestNode};
use crate::support::phone::Phone;
use crate::support::{http, log_in, tape, tone, wait_for};
use serde_json::{Value, json};

/// Tones whose harmonics do not meet, and the music of who is on hold.
const CUSTOMER: f64 = 620.0;
const AGENT: f64 = 440.0;
const COLLEAGUE: f64 = 1_140.0;
const BOSS: f64 = 1_790.0;
const MUSIC: f64 = 2_500.0;
/// The busy tone of the shipped configuration's country.
const BUSY: f64 = 425.0;

/// A node that plays [`MUSIC`] to who is on hold, and four phones, of which the customer's has called the agent's.
struct Office {
    customer: Baresip,
    agent: Baresip,
    colleague: Baresip,
    boss: Baresip,
    /// The interaction of the two.
    call: String,
    node: TestNode,
}

impl Office {
    fn open() -> Office {
        let setup = Setup::new();
        write_music(&setup);
        let node = setup.start();
        let phone = |user, tone_hz, answers| {
            Baresip::start(&Account {
                user,
                password: &format!("demo-{user}"),
                server: node.sip(),
                tone_hz,
                answers,
                writes_to: "1000",
                speech: Speech::PLAIN,
            })
        };
        let mut customer = phone("1005", CUSTOMER, false);
        let agent = phone("1001", AGENT, true).registered();
        let colleague = phone("1002", COLLEAGUE, true).registered();
        let boss = phone("1000", BOSS, true).registered();
        customer = customer.registered();
        customer.dial(&format!("sip:1001@{}", node.sip()));
        customer.hears(AGENT);
        agent.hears(CUSTOMER);
        let calls = node.get("/api/v1/calls");
        let call = calls["calls"][0]["id"].as_str().unwrap().to_owned();
        Office {
            customer,
            agent,
            colleague,
            boss,
            call,
            node,
        }
    }

    /// What a user wants done; the interaction that it was done to.
    fn does(&self, user: &str, verb: &str, call: &str, fields: &Value) -> Value {
        let token = log_in(&self.node, user);
        let path = format!("/api/v1/calls/{call}/{verb}");
        let (status, answer) = http(self.node.http(), "POST", &path, Some(&token), fields);
        assert_eq!(status, 200, "{verb}: {answer}");
        answer["interaction"].clone()
    }

    fn agent_does(&self, verb: &str) {
        self.does("1001", verb, &self.call, &Value::Null);
    }

    /// The agent asks the colleague; the consultation.
    fn consult(&self) -> String {
        let consultation = self.does("1001", "consult", &self.call, &json!({ "target": "1002" }));
        self.colleague.hears(AGENT);
        consultation["id"].as_str().unwrap().to_owned()
    }

    /// The agent speaks to the customer, and nobody else hears or is heard.
    fn two_talk(&self) {
        self.customer.hears_mix(&[AGENT], &[MUSIC, COLLEAGUE, BOSS]);
        self.agent.hears_mix(&[CUSTOMER], &[MUSIC, COLLEAGUE, BOSS]);
    }

    /// The agent speaks to the colleague, and the customer hears nothing of it.
    fn consultation_is_private(&self) {
        self.agent.hears_mix(&[COLLEAGUE], &[CUSTOMER]);
        self.colleague.hears_mix(&[AGENT], &[CUSTOMER, MUSIC]);
        self.customer.goes_on_hearing(&[MUSIC], &[AGENT, COLLEAGUE]);
    }

    /// What was recorded of the call, which ends.
    fn recorded(mut self) -> [Vec<i16>; 2] {
        self.customer.hang_up();
        tape::channels(&self.node)
    }

    fn close(mut self) {
        self.customer.hang_up();
        wait_for("the end of all calls", || {
            (self.node.metric("tandem_calls") == 0.0).then_some(())
        });
    }
}

fn write_music(setup: &Setup) {
    let directory = setup.directory().join("moh");
    std::fs::create_dir_all(&directory).unwrap();
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(directory.join("a.wav"), spec).unwrap();
    for sample in tone::sine(8_000, MUSIC, 60.0) {
        file.write_sample(sample).unwrap();
    }
    file.finalize().unwrap();
}

#[test]
fn agents_hold_consult_toggle_confer_and_drop_and_each_phone_hears_what_it_should() {
    let office = Office::open();
    office.agent_does("hold");
    office.customer.hears_mix(&[MUSIC], &[AGENT]);
    office.customer.goes_on_hearing(&[MUSIC], &[AGENT]);
    office.agent_does("resume");
    office.two_talk();

    let consultation = office.consult();
    office.consultation_is_private();
    office.agent_does("toggle");
    office.two_talk();
    office.colleague.hears_mix(&[MUSIC], &[AGENT, CUSTOMER]);
    office.agent_does("toggle");
    office.consultation_is_private();

    let joined = office.does("1001", "complete-conference", &consultation, &Value::Null);
    office.customer.hears_mix(&[AGENT, COLLEAGUE], &[CUSTOMER, MUSIC]);
    office.agent.hears_mix(&[CUSTOMER, COLLEAGUE], &[AGENT, MUSIC]);
    office.colleague.hears_mix(&[CUSTOMER, AGENT], &[COLLEAGUE, MUSIC]);

    let parties = joined["parties"].as_array().unwrap();
    let added = parties.iter().find(|party| party["user"] == "1002@127.0.0.1").unwrap();
    office.does("1001", "drop", &office.call, &json!({ "party": added["id"] }));
    office.colleague.logged("session closed");
    office.two_talk();

    let consultation = office.consult();
    office.does("1001", "complete-transfer", &consultation, &Value::Null);
    office.agent.logged("session closed");
    office.customer.hears_mix(&[COLLEAGUE], &[AGENT, MUSIC]);
    office.colleague.hears_mix(&[CUSTOMER], &[AGENT, MUSIC]);
    office.close();
}

#[test]
fn a_supervisor_listens_unheard_whispers_to_the_agent_alone_and_barges_in() {
    let office = Office::open();
    let supervise = |mode| office.does("1000", mode, &office.call, &Value::Null);
    supervise("monitor");
    office.boss.hears_mix(&[CUSTOMER, AGENT], &[BOSS]);
    office.customer.goes_on_hearing(&[AGENT], &[BOSS]);
    office.agent.goes_on_hearing(&[CUSTOMER], &[BOSS]);

    supervise("whisper");
    office.agent.hears_mix(&[CUSTOMER, BOSS], &[AGENT]);
    office.customer.goes_on_hearing(&[AGENT], &[BOSS]);
    office.boss.hears_mix(&[CUSTOMER, AGENT], &[BOSS]);

    supervise("barge");
    office.customer.hears_mix(&[AGENT, BOSS], &[CUSTOMER]);
    office.agent.hears_mix(&[CUSTOMER, BOSS], &[AGENT]);
    supervise("monitor");
    office.two_talk();
    office.boss.hears_mix(&[CUSTOMER, AGENT], &[BOSS]);
    office.close();
}

#[test]
fn what_a_supervisor_whispers_is_on_no_channel_of_a_recording_whenever_that_began() {
    for began in ["before", "meanwhile"] {
        let office = Office::open();
        let record = || drop(office.does("1001", "record", &office.call, &json!({ "state": "on" })));
        if began == "before" {
            record();
            tape::a_second_more(&office.node);
        }
        office.does("1000", "whisper", &office.call, &Value::Null);
        office.agent.hears_mix(&[CUSTOMER, BOSS], &[AGENT]);
        if began == "meanwhile" {
            record();
        }
        tape::a_second_more(&office.node);
        office.agent.goes_on_hearing(&[CUSTOMER, BOSS], &[AGENT]);
        let [customers, agents] = office.recorded();
        tape::assert_only(&customers, CUSTOMER, &[AGENT, BOSS, MUSIC]);
        tape::assert_only(&agents, AGENT, &[CUSTOMER, BOSS, MUSIC]);
    }
}

#[test]
fn whom_an_agent_consults_is_busy_and_that_is_heard_for_some_seconds_by_nobody_else() {
    let office = Office::open();
    let mut busy = Phone::new(office.node.sip(), "1003");
    assert_eq!(busy.register().status(), 200);
    office.does("1001", "consult", &office.call, &json!({ "target": "1003" }));
    let invite = busy.receive();
    busy.answer(&invite, 486);
    office.agent.hears_mix(&[BUSY], &[CUSTOMER, MUSIC]);
    office.customer.goes_on_hearing(&[MUSIC], &[BUSY, AGENT]);
    office.agent.is_sent_no_more();
    office.customer.goes_on_hearing(&[MUSIC], &[BUSY, AGENT]);
    office.agent_does("resume");
    office.two_talk();
    office.close();
}
