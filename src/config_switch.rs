//! switch.toml: who we are, where we listen, and the numbers of every part.

use crate::config_section::{At, Section, Setting, did_you_mean};
use crate::config_toml::{Kind, Place, Value};
use crate::config_values::{LogFormat, PortRange};
use media::tone::Country;
use net::files::FileSettings;
use net::resolve::ResolveSettings;
use net::rtp::Io;
use net::tls::TlsFiles;
use sip::Transport;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use switch::config::{
    Algorithm, Audience, Beyond, Calls, HoldMode, Limits, Media, Registrar, Silent, Subscriptions, Timers,
};

/// One socket we want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// How.
    pub transport: Transport,
    /// Where; port 0 lets the system choose.
    pub address: SocketAddr,
    /// What peers are told instead: an address, and a port if that differs too.
    pub advertise: Option<(IpAddr, Option<u16>)>,
    /// Digest algorithms offered here; empty: those of security.toml.
    pub digest: Vec<Algorithm>,
    pub(crate) place: Place,
}

/// Where the data lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Holds the database, the keys and the socket of the command line; made on first use, for its owner only.
    pub directory: PathBuf,
    /// `sqlite:FILE` or `memory:`.
    pub url: String,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `info`, or per module: `info,switch=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// What switch.toml says.
pub(crate) struct SwitchFile {
    pub(crate) domain: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) listen: Vec<Listen>,
    pub(crate) tls: TlsFiles,
    pub(crate) http: Option<At<SocketAddr>>,
    pub(crate) https: Option<At<SocketAddr>>,
    pub(crate) http_limits: web::Limits,
    pub(crate) dns: ResolveSettings,
    pub(crate) origins: Vec<String>,
    pub(crate) csv: Option<PathBuf>,
    pub(crate) media: Media,
    pub(crate) ports: PortRange,
    pub(crate) cores: Vec<usize>,
    pub(crate) io: Io,
    pub(crate) files: FileSettings,
    pub(crate) data: Data,
    pub(crate) registrar: Registrar,
    pub(crate) calls: Calls,
    pub(crate) drain_limit: Duration,
    pub(crate) timers: Timers,
    pub(crate) limits: Limits,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) log: Log,
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

impl SwitchFile {
    pub(crate) fn read(mut top: Section<'_>, directory: &Path) -> SwitchFile {
        let mut media_section = top.inner("media");
        let (data, keep_records) = data(top.inner("store"), directory);
        let files = files(&mut media_section, directory, &data.directory);
        let io = media_section.or("io", Io::default());
        let (media, ports, cores) = media(media_section);
        let limits_and_max_calls = limits(top.inner("limits"));
        let (calls, drain_limit) = calls(top.inner("calls"), limits_and_max_calls.1, keep_records);
        let ([http, https], http_limits) = http(top.inner("http"));
        SwitchFile {
            domain: domain(&mut top),
            aliases: top.or("aliases", Vec::new()),
            listen: listen(&mut top),
            tls: crate::config_tls::read(top.inner("tls"), directory),
            http,
            https,
            http_limits,
            dns: dns(top.inner("dns")),
            origins: origins(top.inner("websocket")),
            csv: csv(top.inner("cdr"), directory),
            media,
            ports,
            cores,
            io,
            files,
            data,
            registrar: registrar(top.inner("registrar")),
            calls,
            drain_limit,
            timers: timers(top.inner("timers")),
            limits: limits_and_max_calls.0,
            subscriptions: subscriptions(top.inner("subscriptions")),
            log: log(top.inner("log")),
        }
    }
}

fn domain(top: &mut Section<'_>) -> String {
    let found: At<String> = match top.need("domain") {
        Some(found) => found,
        None => return String::new(),
    };
    let is_host = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || ".-[]:".contains(c));
    if found.value.is_empty() || !is_host(&found.value) {
        top.problem(
            &found.place,
            format!("`domain`: expected a host name or address, found {:?}", found.value),
        );
    }
    found.value.to_ascii_lowercase()
}

/// `[[listen]]` tables, or after `--set switch.listen=` plain urls with commas between them.
fn listen(top: &mut Section<'_>) -> Vec<Listen> {
    let given = top.has("listen");
    let found = match top.take("listen").map(|value| (value.place, value.kind)) {
        None => Vec::new(),
        Some((place, Kind::Text(urls))) => urls.split(',').filter_map(|url| listen_at(top, &place, url)).collect(),
        Some((_, Kind::List(items))) => items.into_iter().filter_map(|item| listen_item(top, item)).collect(),
        Some((place, other)) => {
            top.problem(
                &place,
                format!("`listen`: expected tables [[listen]], found {}", other.name()),
            );
            return Vec::new();
        }
    };
    if !given {
        top.problem(
            &top.place(),
            "no listener: add [[listen]] with url = \"udp://127.0.0.1:5060\"".to_owned(),
        );
    }
    twice(top, &found);
    found
}

fn listen_item(top: &Section<'_>, item: Value) -> Option<Listen> {
    match item.kind {
        Kind::Text(url) => listen_at(top, &item.place, &url),
        Kind::Table(table) => listen_table(top.same_problems(table)),
        other => {
            top.problem(
                &item.place,
                format!("`listen`: expected a table [[listen]], found {}", other.name()),
            );
            None
        }
    }
}

fn listen_table(mut section: Section<'_>) -> Option<Listen> {
    let url: Option<At<String>> = section.need("url");
    let advertise: Option<Advertise> = section.read("advertise");
    let digest = section.or("digest", Vec::new());
    let url = url?;
    let mut listen = listen_at(&section, &url.place, &url.value)?;
    listen.advertise = advertise.map(|advertise| (advertise.0, advertise.1));
    listen.digest = digest;
    Some(listen)
}

fn listen_at(section: &Section<'_>, place: &Place, url: &str) -> Option<Listen> {
    match parse_url(url.trim()) {
        Ok((_, address)) if address.ip().is_unspecified() => {
            let text = format!("`url`: {}: {NO_WILDCARD}", address.ip());
            section.problem(place, text);
            None
        }
        Ok((transport, address)) => {
            let (advertise, digest, place) = (None, Vec::new(), place.clone());
            Some(Listen {
                transport,
                address,
                advertise,
                digest,
                place,
            })
        }
        Err(wrong) => {
            section.problem(place, format!("`url`: {wrong}"));
            None
        }
    }
}

/// Via, Contact and SDP must name the address a peer reaches us at, and answers must leave from there.
const NO_WILDCARD: &str = "peers must be told an address: name each address by itself";

const SCHEMES: [&str; 5] = ["udp", "tcp", "tls", "ws", "wss"];

pub(crate) fn parse_url(url: &str) -> Result<(Transport, SocketAddr), String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("expected a url like \"udp://127.0.0.1:5060\", found {url:?}"));
    };
    let transport = match scheme {
        "udp" => Transport::Udp,
        "tcp" => Transport::Tcp,
        "tls" => Transport::Tls,
        "ws" => Transport::Ws,
        "wss" => Transport::Wss,
        _ => {
            let hint = did_you_mean(scheme, SCHEMES.into_iter());
            return Err(format!(
                "expected one of {}://, found {scheme:?}{hint}",
                SCHEMES.join("://, ")
            ));
        }
    };
    // Those of RFC 3261 section 19.1.2, and of the scheme where that is HTTP's (RFC 7118 section 7).
    let usual = match transport {
        Transport::Udp | Transport::Tcp => 5060,
        Transport::Tls => 5061,
        Transport::Ws => 80,
        Transport::Wss => 443,
    };
    let with_port = rest.parse().ok();
    let without = || {
        rest.trim_matches(['[', ']'])
            .parse()
            .ok()
            .map(|ip| SocketAddr::new(ip, usual))
    };
    match with_port.or_else(without) {
        Some(address) => Ok((transport, address)),
        None => Err(format!(
            "expected an IP address and port after {scheme}://, found {rest:?}"
        )),
    }
}

fn twice(top: &Section<'_>, listen: &[Listen]) {
    for (i, this) in listen.iter().enumerate() {
        let same = |other: &&Listen| (other.transport, other.address) == (this.transport, this.address);
        if let Some(first) = listen[..i].iter().find(same).filter(|_| this.address.port() != 0) {
            top.problem(&this.place, format!("the same url as at {}", first.place));
        }
    }
}

/// An address, or an address and port.
struct Advertise(IpAddr, Option<u16>);

impl Setting for Advertise {
    fn read(value: &Value) -> Result<Advertise, String> {
        if let Ok(address) = SocketAddr::read(value) {
            return Ok(Advertise(address.ip(), Some(address.port())));
        }
        let wrong = |_| "expected an IP address, or an address and port, that peers can reach".to_owned();
        IpAddr::read(value).map(|ip| Advertise(ip, None)).map_err(wrong)
    }
    fn shown(&self) -> String {
        self.0.to_string()
    }
}

fn media(mut section: Section<'_>) -> (Media, PortRange, Vec<usize>) {
    let address: Option<At<IpAddr>> = section.read("address");
    let second: Option<At<IpAddr>> = section.read("second_address");
    let second_external = section.read("second_external");
    if let (Some(first), Some(at)) = (&address, &second)
        && (first.value.is_ipv4() == at.value.is_ipv4() || at.value.is_unspecified())
    {
        let text = "`second_address`: expected an address of the other family than `address`".to_owned();
        section.problem(&at.place, text);
    }
    let media = Media {
        local: address.as_ref().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |at| at.value),
        advertised: section.read("external"),
        second: second.map(|at| (at.value, second_external)),
        timeout: section.within("timeout", 60 * SECOND, 5 * SECOND..=DAY),
        port_rest: section.within("port_rest", 2 * SECOND, Duration::ZERO..=5 * SECOND),
        ports_ahead: section.within("ports_ahead", usual_ports_ahead(), 2..=8_192),
        workers: match section.within("workers", 0, 0..=256) {
            0 => usual_workers(),
            workers => workers,
        },
        sdes_over_clear: section.or("sdes_over_clear", false),
        inband_dtmf: section.or("inband_dtmf", false),
        tones: section.or("tones", Country::default()),
    };
    if let Some(at) = address.filter(|at| at.value.is_unspecified()) {
        section.problem(&at.place, format!("`address`: {}: {NO_WILDCARD}", at.value));
    }
    let ports = section.or(
        "ports",
        PortRange {
            first: 16_384,
            last: 32_767,
        },
    );
    let cores = section.or("cores", Vec::new());
    section.later(&["local_networks"], "a second face towards local networks");
    (media, ports, cores)
}

impl Setting for Country {
    fn read(value: &Value) -> Result<Country, String> {
        let name = String::read(value)?;
        Country::named(&name).ok_or_else(|| {
            let names: Vec<_> = Country::names().collect();
            format!("expected a country whose tones are known: {}", names.join(", "))
        })
    }
    fn shown(&self) -> String {
        self.name().to_owned()
    }
}

/// Where sound is kept: what the operator gives from the configuration directory, what we make from the data directory.
fn files(section: &mut Section<'_>, config: &Path, data: &Path) -> FileSettings {
    FileSettings {
        prompts: config.join(section.or::<PathBuf>("prompts", "prompts".into())),
        music: config.join(section.or::<PathBuf>("music", "moh".into())),
        recordings: data.join(section.or::<PathBuf>("recordings", "recordings".into())),
    }
}

/// As many as 512 calls take that come at one moment, but no more than an eighth of the descriptors that we may have.
fn usual_ports_ahead() -> u16 {
    u16::try_from(crate::process::descriptor_limit() / 16).map_or(1_024, |pairs| pairs.clamp(32, 1_024))
}

/// One for each core but one, which belongs to the switch.
fn usual_workers() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u16::try_from(cores.saturating_sub(1).clamp(1, 256)).unwrap_or(1)
}

fn data(mut section: Section<'_>, config: &Path) -> (Data, Option<Duration>) {
    let directory: PathBuf = section.or("directory", "../run".into());
    let url: Option<At<String>> = section.read("url");
    if let Some(url) = url
        .as_ref()
        .filter(|url| url.value != "memory:" && !url.value.starts_with("sqlite:"))
    {
        let scheme = url.value.split(':').next().unwrap_or_default();
        let text = format!("`url`: {scheme:?} is not a store we have; write \"sqlite:FILE\" or \"memory:\"");
        section.problem(&url.place, text);
    }
    let keep_cdrs_days = section.within("keep_cdrs_days", 90, 0..=36_500);
    let data = Data {
        directory: config.join(directory),
        url: url.map_or_else(|| "sqlite:tandem.db".to_owned(), |url| url.value),
    };
    (data, (keep_cdrs_days > 0).then(|| keep_cdrs_days * DAY))
}

/// Where HTTP listens, in clear and under TLS, and what it may cost.
fn http(mut section: Section<'_>) -> ([Option<At<SocketAddr>>; 2], web::Limits) {
    let usual = web::Limits::default();
    let limits = web::Limits {
        websockets: section.within("websockets", usual.websockets, 1..=100_000),
        strangers_per_address: section.within("strangers_per_address", usual.strangers_per_address, 1..=128),
        tokens: web::Lives {
            idle: section.within("token_idle", usual.tokens.idle, 60 * SECOND..=DAY),
            total: section.within("token_life", usual.tokens.total, 60 * SECOND..=7 * DAY),
        },
        ..usual
    };
    ([section.read("listen"), section.read("listen_tls")], limits)
}

/// Whom to ask for host names.
fn dns(mut section: Section<'_>) -> ResolveSettings {
    ResolveSettings {
        servers: section.or("servers", Vec::new()),
        ..ResolveSettings::default()
    }
}

/// Whose pages may open a websocket for SIP.
fn origins(mut section: Section<'_>) -> Vec<String> {
    let origins: Option<At<Vec<String>>> = section.read("origins");
    let Some(At { value, place }) = origins else {
        return Vec::new();
    };
    let is_origin = |text: &String| text == "*" || text.contains("://") && !text.ends_with('/');
    if let Some(wrong) = value.iter().find(|text| !is_origin(text)) {
        let text = format!("`origins`: expected origins like \"https://phone.example.org\" or \"*\", found {wrong:?}");
        section.problem(&place, text);
    }
    value
}

/// The directory of the files, if they are wanted.
fn csv(mut section: Section<'_>, config: &Path) -> Option<PathBuf> {
    let wanted = section.or("csv", false);
    let directory: PathBuf = section.or("directory", "../run/cdr".into());
    wanted.then(|| config.join(directory))
}

fn registrar(mut section: Section<'_>) -> Registrar {
    let service_route = service_route(&mut section);
    let registrar = Registrar {
        service_route,
        min_expires: section.within("min_expires", 60 * SECOND, SECOND..=DAY),
        max_expires: section.within("max_expires", 3600 * SECOND, SECOND..=7 * DAY),
        default_expires: section.within("default_expires", 3600 * SECOND, SECOND..=7 * DAY),
        max_contacts: section.within("max_contacts", 10, 1..=100),
        beyond: section.or("beyond", Beyond::Refuse),
        qualify: Some(section.within("qualify", Duration::ZERO, Duration::ZERO..=DAY)).filter(|time| !time.is_zero()),
        silent: section.or("silent", Silent::Mark),
    };
    let between = registrar.min_expires..=registrar.max_expires;
    if !between.contains(&registrar.default_expires) {
        let text = "`default_expires` must lie between `min_expires` and `max_expires`".to_owned();
        section.problem(&section.place(), text);
    }
    registrar
}

/// Addresses of loose routers, in angles.
fn service_route(section: &mut Section<'_>) -> Vec<Box<str>> {
    let routes: Option<At<Vec<String>>> = section.read("service_route");
    let Some(At { value, place }) = routes else {
        return Vec::new();
    };
    let is_route = |text: &String| {
        let route = sip::header::NameAddr::parse(text.as_bytes());
        text.starts_with('<') && route.is_ok_and(|route| route.uri().is_ok_and(|uri| uri.is_sip() && uri.is_loose()))
    };
    if let Some(wrong) = value.iter().find(|text| !is_route(text)) {
        let text = format!("`service_route`: expected routes like \"<sip:edge.example.org;lr>\", found {wrong:?}");
        section.problem(&place, text);
    }
    value.into_iter().map(String::into_boxed_str).collect()
}

fn calls(mut section: Section<'_>, max_calls: usize, keep_records: Option<Duration>) -> (Calls, Duration) {
    let ring_timeout = section.within("ring_timeout", 60 * SECOND, SECOND..=600 * SECOND);
    let drain_limit = section.within("drain_limit", 30 * SECOND, Duration::ZERO..=DAY);
    (
        Calls {
            ring_timeout,
            max_calls,
            keep_records,
            hold: section.or("hold", HoldMode::Music),
            end_without_us: section.or("end_without_us", true),
            show_supervisors: section.or("show_supervisors", false),
            originate_auto_answer: section.or("originate_auto_answer", false),
        },
        drain_limit,
    )
}

fn timers(mut section: Section<'_>) -> Timers {
    let ms = Duration::from_millis;
    let timers = Timers {
        t1: section.within("t1", ms(500), ms(10)..=ms(10_000)),
        t2: section.within("t2", ms(4_000), ms(10)..=ms(60_000)),
        t4: section.within("t4", ms(5_000), ms(10)..=ms(60_000)),
        session_expires: Some(section.within("session_expires", 1800 * SECOND, Duration::ZERO..=DAY))
            .filter(|s| !s.is_zero()),
        min_se: section.within("min_se", 90 * SECOND, 90 * SECOND..=DAY),
    };
    if timers.session_expires.is_some_and(|expires| expires < timers.min_se) {
        let text = "`session_expires` must be 0s or at least `min_se` (RFC 4028 section 5)".to_owned();
        section.problem(&section.place(), text);
    }
    if timers.t2 < timers.t1 {
        section.problem(
            &section.place(),
            "`t2` must not be shorter than `t1` (RFC 3261 section 17.1.2.1)".to_owned(),
        );
    }
    timers
}

fn limits(mut section: Section<'_>) -> (Limits, usize) {
    let limits = Limits {
        max_transactions: section.within("transactions", 100_000, 100..=5_000_000),
        max_bindings: section.within("bindings", 100_000, 10..=5_000_000),
        max_subscriptions: section.within("subscriptions", 50_000, 10..=5_000_000),
        queue_delay: section.within(
            "queue_delay",
            Duration::from_millis(100),
            Duration::from_millis(10)..=Duration::from_secs(1),
        ),
    };
    (limits, section.within("calls", 2_000, 1..=100_000))
}

fn subscriptions(mut section: Section<'_>) -> Subscriptions {
    let ms = Duration::from_millis;
    Subscriptions {
        // Below 100 ms a restart could give a CSeq twice: see switch::subscribe.
        notify_interval: section.within("notify_interval", ms(500), ms(100)..=ms(60_000)),
        per_user: section.within("per_user", 200, 1..=10_000),
        watch_calls: section.or("watch_calls", Audience::Everyone),
        watch_peers: section.or("watch_peers", Audience::Everyone),
        watch_presence: section.or("watch_presence", Audience::Everyone),
        lamps_show_breaks: section.or("lamps_show_breaks", true),
    }
}

fn log(mut section: Section<'_>) -> Log {
    let level: Option<At<String>> = section.read("level");
    if let Some(level) = &level {
        let parsed = level.value.parse::<tracing_subscriber::filter::Targets>();
        if let Err(wrong) = parsed {
            let text = format!("`level`: expected a level like \"info\" or \"info,switch=debug\": {wrong}");
            section.problem(&level.place, text);
        }
    }
    Log {
        level: level.map_or_else(|| "info".to_owned(), |level| level.value),
        format: section.or("format", LogFormat::Text),
    }
}
