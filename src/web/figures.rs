//! `/metrics` in the text format of Prometheus. The figures are gathered when somebody asks.

use metrics::{Counter, Gauge, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusBuilder;

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Without the prefix `tandem_`.
    pub name: &'static str,
    /// What tells it from others of the same name, for example `("method", "INVITE")`.
    pub label: Option<(&'static str, &'static str)>,
    /// The value now.
    pub value: u64,
    /// `true`: may fall; `false`: only rises, and is shown with the suffix `_total`.
    pub gauge: bool,
}

impl Figure {
    /// A figure that only rises.
    #[must_use]
    pub fn counter(name: &'static str, value: u64) -> Figure {
        Figure {
            name,
            label: None,
            value,
            gauge: false,
        }
    }

    /// A figure that may fall.
    #[must_use]
    pub fn gauge(name: &'static str, value: u64) -> Figure {
        Figure {
            name,
            label: None,
            value,
            gauge: true,
        }
    }

    /// The same figure with a label.
    #[must_use]
    pub fn labelled(self, key: &'static str, value: &'static str) -> Figure {
        Figure {
            label: Some((key, value)),
            ..self
        }
    }
}

static METADATA: Metadata<'static> = Metadata::new("tandem", Level::INFO, None);

/// A recorder of its own for each scrape: nothing global, so two nodes can live in one process.
pub(crate) fn render(figures: &[Figure]) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    figures.iter().for_each(|figure| record(&recorder, figure));
    recorder.handle().render()
}

fn record(recorder: &impl Recorder, figure: &Figure) {
    let labels: Vec<Label> = figure
        .label
        .iter()
        .map(|(key, value)| Label::from_static_parts(key, value))
        .collect();
    let suffix = if figure.gauge || figure.name.ends_with("_total") {
        ""
    } else {
        "_total"
    };
    let key = Key::from_parts(format!("tandem_{}{suffix}", figure.name), labels);
    if figure.gauge {
        let gauge: Gauge = recorder.register_gauge(&key, &METADATA);
        #[allow(clippy::cast_precision_loss)] // figures stay far below 2^53
        gauge.set(figure.value as f64);
    } else {
        let counter: Counter = recorder.register_counter(&key, &METADATA);
        counter.absolute(figure.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_prometheus_text() {
        let text = render(&[
            Figure::gauge("calls", 3),
            Figure::counter("requests", 7).labelled("method", "INVITE"),
            Figure::counter("requests", 2).labelled("method", "BYE"),
            Figure::counter("challenges_total", 1),
        ]);
        let lines: Vec<&str> = text.lines().collect();
        for line in [
            "# TYPE tandem_calls gauge",
            "tandem_calls 3",
            "# TYPE tandem_requests_total counter",
            "tandem_requests_total{method=\"INVITE\"} 7",
            "tandem_requests_total{method=\"BYE\"} 2",
            "tandem_challenges_total 1",
        ] {
            assert!(lines.contains(&line), "{line} in\n{text}");
        }
    }

    #[test]
    fn two_scrapes_know_nothing_of_each_other() {
        render(&[Figure::gauge("old", 1)]);
        assert!(!render(&[Figure::gauge("new", 1)]).contains("old"));
    }
}
