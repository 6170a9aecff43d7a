//! What the shell counts. Plain atomics: written by one thread, read by whoever renders `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A figure that rises, or a gauge that is set.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// `n` less; for gauges.
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Relaxed);
    }

    /// Exactly `n` from now on; for gauges.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// At least `n` from now on; for gauges that hold a maximum.
    pub fn raise(&self, n: u64) {
        self.0.fetch_max(n, Relaxed);
    }

    /// The figure now.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One figure as `/metrics` shows it: name without the `tandem_` prefix, value, `true` for a gauge.
pub type Figure = (&'static str, u64, bool);

/// Declares a struct of counters; a figure's name is the prefix and the field, and `gauge` marks what can fall.
#[macro_export]
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident, $prefix:literal { $($(#[$field_doc:meta])* $field:ident $($gauge:ident)?,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $crate::counters::Counter,)* }

        impl $name {
            /// Every figure, in a fixed order.
            #[must_use]
            pub fn figures(&self) -> Vec<$crate::counters::Figure> {
                vec![$((concat!($prefix, stringify!($field)), self.$field.value(), $crate::counters!(@ $($gauge)?)),)*]
            }
        }
    };
    (@ gauge) => { true };
    (@) => { false };
}

#[cfg(test)]
mod tests {
    counters! {
        /// For this test.
        Example, "example_" {
            /// Rises.
            seen,
            /// Falls too.
            open gauge,
        }
    }

    #[test]
    fn figures_carry_prefix_value_and_kind() {
        let example = Example::default();
        example.seen.add(2);
        example.open.add(3);
        example.open.sub(1);
        assert_eq!(
            example.figures(),
            [("example_seen", 2, false), ("example_open", 2, true)]
        );
    }
}
