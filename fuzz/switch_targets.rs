//! What the fuzz target of the switch does with its input; its corpus is replayed by the tests of the switch crate.

/// Plays the input as a script of what happens to a switch with phones around it.
pub fn switch(input: &[u8]) {
    switch::testing::play(input);
}
