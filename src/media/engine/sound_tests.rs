//! Players, recorders and ears, as a worker drives them: with a file thread that is as fast as the test wants.

mod inspecting;
mod playing;
mod recording;
mod studio;
