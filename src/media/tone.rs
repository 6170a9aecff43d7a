//! Tones as data: frequencies, level and cadence.

use smallvec::SmallVec;

/// A sum of sines, steady or cadenced.
#[derive(Clone, Debug, PartialEq)]
pub struct Tone {
    /// Frequencies in Hz, at most four, each as loud as the others.
    pub hz: SmallVec<[f32; 4]>,
    /// Level of the whole in dBm0 (0 dBm0 is a sine 3.14 dB below full scale of G.711).
    pub level_dbm0: f32,
    /// Milliseconds on, off, on, off ...; empty is steady.
    pub cadence_ms: SmallVec<[u16; 4]>,
    /// How often the cadence is repeated; `None` is for ever.
    pub repeat: Option<u16>,
}

impl Tone {
    /// 1004 Hz at 0 dBm0, for ever: the milliwatt of test extension 9197.
    #[must_use]
    pub fn milliwatt() -> Tone {
        Tone::steady(1004.0, 0.0)
    }

    /// One frequency for ever.
    #[must_use]
    pub fn steady(hz: f32, level_dbm0: f32) -> Tone {
        Tone {
            hz: SmallVec::from_slice(&[hz]),
            level_dbm0,
            cadence_ms: SmallVec::new(),
            repeat: None,
        }
    }
}

/// What a caller is told by a tone.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Dial now.
    Dial,
    /// The other side rings.
    Ringback,
    /// The other side is busy.
    Busy,
    /// The way is blocked.
    Congestion,
}

/// Call progress tones of a country: frequencies, then cadences, of dial tone, ringback, busy, congestion.
///
/// Each was compared with the table that Asterisk ships (`configs/samples/indications.conf.sample`), whose sources are the ITU's list
/// of tones in national networks (ITU-T E.180 supplement 2, `tones-0203`) and, for Great Britain, SIN 350. Canada does not stand
/// there: it has the tones of North America (ITU-T E.300 supplement 3). For France the list names no congestion; that table's stands
/// here.
struct National {
    country: &'static str,
    hz: [&'static [f32]; 4],
    cadence_ms: [&'static [u16]; 4],
}

static NATIONAL: [National; 13] = [
    National {
        country: "DE",
        hz: [&[425.0]; 4],
        cadence_ms: [&[], &[1000, 4000], &[480, 480], &[240, 240]],
    },
    National {
        country: "AT",
        hz: [&[420.0]; 4],
        cadence_ms: [&[], &[1000, 5000], &[400, 400], &[200, 200]],
    },
    National {
        country: "BE",
        hz: [&[425.0]; 4],
        cadence_ms: [&[], &[1000, 3000], &[500, 500], &[167, 167]],
    },
    National {
        country: "CA",
        hz: NORTH_AMERICA,
        cadence_ms: [&[], &[2000, 4000], &[500, 500], &[250, 250]],
    },
    National {
        country: "CH",
        hz: [&[425.0]; 4],
        cadence_ms: [&[], &[1000, 4000], &[500, 500], &[200, 200]],
    },
    National {
        country: "ES",
        hz: [&[425.0]; 4],
        cadence_ms: [&[], &[1500, 3000], &[200, 200], &[200, 200, 200, 200, 200, 600]],
    },
    National {
        country: "FR",
        hz: [&[440.0]; 4],
        cadence_ms: [&[], &[1500, 3500], &[500, 500], &[250, 250]],
    },
    National {
        country: "GB",
        hz: [&[350.0, 440.0], &[400.0, 450.0], &[400.0], &[400.0]],
        cadence_ms: [&[], &[400, 200, 400, 2000], &[375, 375], &[400, 350, 225, 525]],
    },
    National {
        country: "IT",
        hz: [&[425.0]; 4],
        cadence_ms: [&[200, 200, 600, 1000], &[1000, 4000], &[500, 500], &[200, 200]],
    },
    National {
        country: "NL",
        hz: [&[425.0]; 4],
        cadence_ms: [&[], &[1000, 4000], &[500, 500], &[250, 250]],
    },
    National {
        country: "PL",
        hz: [&[425.0]; 4],
        cadence_ms: [&[], &[1000, 4000], &[500, 500], &[500, 500]],
    },
    National {
        country: "SE",
        hz: [&[425.0]; 4],
        cadence_ms: [&[], &[1000, 5000], &[250, 250], &[250, 750]],
    },
    National {
        country: "US",
        hz: NORTH_AMERICA,
        cadence_ms: [&[], &[2000, 4000], &[500, 500], &[250, 250]],
    },
];

const NORTH_AMERICA: [&[f32]; 4] = [&[350.0, 440.0], &[440.0, 480.0], &[480.0, 620.0], &[480.0, 620.0]];

/// A country whose tones are known. The default has 425 Hz and the cadences of Germany, which most of Europe has or knows.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Country(u8);

impl Country {
    /// By its ISO 3166 name (`GB`), in whatever case.
    #[must_use]
    pub fn named(name: &str) -> Option<Country> {
        let at = NATIONAL
            .iter()
            .position(|national| national.country.eq_ignore_ascii_case(name))?;
        u8::try_from(at).ok().map(Country)
    }

    /// Its ISO 3166 name.
    #[must_use]
    pub fn name(self) -> &'static str {
        NATIONAL[usize::from(self.0)].country
    }

    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NATIONAL.iter().map(|national| national.country)
    }
}

impl Tone {
    /// A country's tone, for ever, at -16 dBm0.
    #[must_use]
    pub fn progress(country: Country, what: Progress) -> Tone {
        let national = &NATIONAL[usize::from(country.0)];
        let at = what as usize;
        Tone {
            hz: SmallVec::from_slice(national.hz[at]),
            level_dbm0: -16.0,
            cadence_ms: SmallVec::from_slice(national.cadence_ms[at]),
            repeat: None,
        }
    }

    /// A short beep: 1 kHz for 200 ms, before a recording or when somebody joins.
    #[must_use]
    pub fn beep() -> Tone {
        Tone {
            cadence_ms: SmallVec::from_slice(&[200]),
            repeat: Some(1),
            ..Tone::steady(1000.0, -16.0)
        }
    }
}

/// Peak of a sine at 0 dBm0: mu-law's largest sample is a sine of 3.17 dBm0 (G.711 table 6).
const PEAK_0_DBM0: f32 = 22_302.0;

/// A tone being played.
#[derive(Clone, Debug)]
pub struct ToneGenerator {
    tone: Tone,
    rate: u32,
    amplitude: f32,
    oscillators: SmallVec<[Oscillator; 4]>,
    /// Samples played of the present cadence step.
    played: u32,
    step: usize,
    rounds: u16,
}

/// A point that turns on a circle; its height is the sine.
#[derive(Clone, Debug)]
struct Oscillator {
    at: (f32, f32),
    turn: (f32, f32),
}

impl ToneGenerator {
    /// Begins a tone at `rate` samples per second. Frequencies beyond half the rate are left out.
    #[must_use]
    pub fn new(tone: &Tone, rate: u32) -> ToneGenerator {
        let audible = |hz: &&f32| **hz > 0.0 && **hz < rate as f32 / 2.0;
        let oscillators: SmallVec<[Oscillator; 4]> = tone
            .hz
            .iter()
            .filter(audible)
            .take(4)
            .map(|&hz| Oscillator::new(hz, rate))
            .collect();
        let share = (oscillators.len().max(1) as f32).sqrt();
        let amplitude = PEAK_0_DBM0 * 10f32.powf(tone.level_dbm0.clamp(-90.0, 3.0) / 20.0) / share;
        ToneGenerator {
            tone: tone.clone(),
            rate,
            amplitude,
            oscillators,
            played: 0,
            step: 0,
            rounds: 0,
        }
    }

    /// Goes on at another rate where it is.
    pub fn set_rate(&mut self, rate: u32) {
        if self.rate == rate {
            return;
        }
        let mut next = ToneGenerator::new(&self.tone, rate);
        for (oscillator, before) in next.oscillators.iter_mut().zip(&self.oscillators) {
            oscillator.at = before.at;
        }
        let played = u64::from(self.played) * u64::from(rate) / u64::from(self.rate.max(1));
        (next.played, next.step, next.rounds) = (played as u32, self.step, self.rounds);
        *self = next;
    }

    /// Fills `out` with the next samples; false when the tone had already ended, and `out` is silence.
    pub fn fill(&mut self, out: &mut [i16]) -> bool {
        if self.ended() {
            out.fill(0);
            return false;
        }
        for sample in &mut *out {
            *sample = self.next_sample();
        }
        self.oscillators.iter_mut().for_each(Oscillator::normalise);
        true
    }

    /// Nothing more will sound.
    #[must_use]
    pub fn ended(&self) -> bool {
        !self.tone.cadence_ms.is_empty() && self.tone.repeat.is_some_and(|repeat| self.rounds >= repeat)
    }

    fn next_sample(&mut self) -> i16 {
        let sounding = self.step.is_multiple_of(2) && !self.ended();
        self.advance();
        if !sounding {
            return 0;
        }
        let sum: f32 = self.oscillators.iter_mut().map(Oscillator::next).sum();
        (sum * self.amplitude) as i16
    }

    fn advance(&mut self) {
        let Some(&ms) = self.tone.cadence_ms.get(self.step) else {
            return;
        };
        self.played += 1;
        if self.played >= u32::from(ms) * self.rate / 1000 {
            (self.played, self.step) = (0, self.step + 1);
            if self.step == self.tone.cadence_ms.len() {
                (self.step, self.rounds) = (0, self.rounds.saturating_add(1));
            }
        }
    }
}

impl Oscillator {
    fn new(hz: f32, rate: u32) -> Oscillator {
        let (sin, cos) = (std::f64::consts::TAU * f64::from(hz) / f64::from(rate)).sin_cos();
        Oscillator {
            at: (1.0, 0.0),
            turn: (cos as f32, sin as f32),
        }
    }

    fn next(&mut self) -> f32 {
        let ((x, y), (cos, sin)) = (self.at, self.turn);
        self.at = (x * cos - y * sin, x * sin + y * cos);
        y
    }

    /// Rounding lets the circle drift outwards or inwards; once a frame it is put back.
    fn normalise(&mut self) {
        let length = self.at.0.hypot(self.at.1);
        self.at = (self.at.0 / length, self.at.1 / length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goertzel::level_dbm0;

    #[test]
    fn the_milliwatt_is_1004_hz_at_0_dbm0_for_an_hour() {
        let mut generator = ToneGenerator::new(&Tone::milliwatt(), 8000);
        let mut frame = [0; 8000];
        for _ in 0..3600 {
            assert!(generator.fill(&mut frame));
        }
        assert!(level_dbm0(&frame, 1004.0, 8000).abs() < 0.1);
        assert!(level_dbm0(&frame, 1104.0, 8000) < -50.0);
    }

    #[test]
    fn countries_have_their_own_tones_and_unknown_ones_that_of_europe() {
        let country = |name| Country::named(name).unwrap_or_default();
        let ringback = Tone::progress(country("us"), Progress::Ringback);
        assert_eq!(
            (&ringback.hz[..], &ringback.cadence_ms[..]),
            (&[440.0, 480.0][..], &[2000, 4000][..])
        );
        assert_eq!(
            Tone::progress(country("XX"), Progress::Busy),
            Tone::progress(country("DE"), Progress::Busy)
        );
        let mut generator = ToneGenerator::new(&Tone::progress(country("GB"), Progress::Ringback), 8000);
        let mut ring = [0; 8000];
        generator.fill(&mut ring);
        for hz in [400.0, 450.0] {
            assert!((level_dbm0(&ring[..3200], hz, 8000) + 19.0).abs() < 0.2);
        }
        assert!(ring[3200..4800].iter().all(|&sample| sample == 0));
    }

    #[test]
    fn every_country_rings_more_slowly_than_it_is_busy_and_each_stands_once() {
        for (at, national) in NATIONAL.iter().enumerate() {
            let country = Country::named(national.country).unwrap();
            assert_eq!(country.name(), national.country);
            let round = |what| Tone::progress(country, what).cadence_ms.iter().sum::<u16>();
            let (ringback, busy) = (round(Progress::Ringback), round(Progress::Busy));
            assert!(ringback > 2 * busy && busy > 0, "{}", national.country);
            assert!(round(Progress::Congestion) > 0, "{}", national.country);
            assert!(NATIONAL[..at].iter().all(|other| other.country != national.country));
        }
        let spain = Tone::progress(Country::named("es").unwrap(), Progress::Congestion);
        assert_eq!((spain.cadence_ms.len(), &spain.hz[..]), (6, &[425.0][..]));
    }

    /// Ringback, busy and congestion in the manner of the published tables: frequencies, then seconds on and off.
    #[test]
    fn the_tones_of_each_country_are_those_of_the_published_tables() {
        let published = [
            ("AT", "420: 1 5", "420: .4 .4", "420: .2 .2"),
            ("BE", "425: 1 3", "425: .5 .5", "425: .167 .167"),
            ("CA", "440+480: 2 4", "480+620: .5 .5", "480+620: .25 .25"),
            ("CH", "425: 1 4", "425: .5 .5", "425: .2 .2"),
            ("DE", "425: 1 4", "425: .48 .48", "425: .24 .24"),
            ("ES", "425: 1.5 3", "425: .2 .2", "425: .2 .2 .2 .2 .2 .6"),
            ("FR", "440: 1.5 3.5", "440: .5 .5", "440: .25 .25"),
            ("GB", "400+450: .4 .2 .4 2", "400: .375 .375", "400: .4 .35 .225 .525"),
            ("IT", "425: 1 4", "425: .5 .5", "425: .2 .2"),
            ("NL", "425: 1 4", "425: .5 .5", "425: .25 .25"),
            ("PL", "425: 1 4", "425: .5 .5", "425: .5 .5"),
            ("SE", "425: 1 5", "425: .25 .25", "425: .25 .75"),
            ("US", "440+480: 2 4", "480+620: .5 .5", "480+620: .25 .25"),
        ];
        assert_eq!(published.len(), Country::names().count());
        for (name, ringback, busy, congestion) in published {
            let country = Country::named(name).expect("a country that is known");
            for (what, text) in [
                (Progress::Ringback, ringback),
                (Progress::Busy, busy),
                (Progress::Congestion, congestion),
            ] {
                let (hz, seconds) = text.split_once(": ").unwrap();
                let hz: Vec<f32> = hz.split('+').map(|hz| hz.parse().unwrap()).collect();
                let ms = |seconds: &str| (seconds.parse::<f32>().unwrap() * 1_000.0).round() as u16;
                let cadence: Vec<u16> = seconds.split(' ').map(ms).collect();
                let tone = Tone::progress(country, what);
                assert_eq!(
                    (&tone.hz[..], &tone.cadence_ms[..]),
                    (&hz[..], &cadence[..]),
                    "{name} {what:?}"
                );
            }
        }
    }

    #[test]
    fn a_beep_ends_by_itself() {
        let mut generator = ToneGenerator::new(&Tone::beep(), 8000);
        assert!(generator.fill(&mut [0; 1600]));
        assert!(generator.ended());
    }

    #[test]
    fn a_cadence_sounds_pauses_and_ends() {
        let tone = Tone {
            cadence_ms: SmallVec::from_slice(&[100, 50]),
            repeat: Some(2),
            ..Tone::steady(440.0, -10.0)
        };
        let mut generator = ToneGenerator::new(&tone, 8000);
        let mut all = [1i16; 8000];
        assert!(generator.fill(&mut all));
        let loud = |from: usize, to: usize| all[from * 8..to * 8].iter().any(|&s| s != 0);
        assert!(loud(0, 100) && !loud(100, 150) && loud(150, 250) && !loud(250, 1000));
        assert!(generator.ended() && !generator.fill(&mut all));
    }
}
