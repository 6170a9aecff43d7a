//! A room's matrix, and the question the engine asks it: what does this member hear?

use super::mix::RoomMix;
use super::player::Player;
use super::stream::Streams;
use crate::plan::{Audience, Edge, Gain, LegId, Matrix, PlayerId, Rate, RoomId, Sound, Source};
use std::collections::{BTreeMap, BTreeSet};

/// Named edges of one room. Control names edges for special members only; a conference needs none.
const MAX_EDGES: usize = 16_384;

/// Sounds at once in one room.
const MAX_PLAYERS: usize = 64;

pub(super) struct Room {
    pub id: RoomId,
    pub members: Vec<(LegId, usize)>,
    pub players: Vec<Player>,
    /// Somebody is fed a mix.
    pub mixes: bool,
    pub mix: RoomMix,
    matrix: Matrix,
    edges: BTreeMap<(LegId, Source), Gain>,
    /// Members nobody hears.
    muted: BTreeSet<LegId>,
    /// Members that hear no member.
    deaf: BTreeSet<LegId>,
}

/// What a member hears.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Hears {
    Nothing,
    /// One leg as loud as it sends, and nothing else: the slot of that leg.
    Only(usize),
    Several,
}

impl Room {
    pub fn new(id: RoomId, matrix: Matrix, most: Rate) -> Room {
        Room {
            id,
            members: Vec::new(),
            players: Vec::new(),
            mixes: false,
            mix: RoomMix::new(most),
            matrix,
            edges: BTreeMap::new(),
            muted: BTreeSet::new(),
            deaf: BTreeSet::new(),
        }
    }

    pub fn join(&mut self, leg: LegId, slot: usize) {
        self.members.push((leg, slot));
    }

    /// Forgets the member and every edge from or to it.
    pub fn leave(&mut self, leg: LegId) {
        self.members.retain(|&(member, _)| member != leg);
        self.restrict(leg, false, false);
        self.edges
            .retain(|&(to, from), _| to != leg && from != Source::Leg(leg));
    }

    /// Who is heard by nobody, and who hears no member.
    pub fn restrict(&mut self, leg: LegId, muted: bool, deaf: bool) {
        for (set, wanted) in [(&mut self.muted, muted), (&mut self.deaf, deaf)] {
            match wanted {
                true => set.insert(leg),
                false => set.remove(&leg),
            };
        }
    }

    /// Nobody hears this member.
    pub fn is_muted(&self, leg: LegId) -> bool {
        self.muted.contains(&leg)
    }

    /// Changes edges between members; false if one names a stranger or there are too many.
    pub fn set_edges(&mut self, edges: &[Edge]) -> bool {
        edges.iter().filter(|edge| !self.set_edge(edge)).count() == 0
    }

    fn set_edge(&mut self, edge: &Edge) -> bool {
        let key = (edge.to, edge.from);
        let Some(gain) = edge.gain else {
            self.edges.remove(&key);
            return true;
        };
        let known = |leg| self.members.iter().any(|&(member, _)| member == leg);
        let from_member = match edge.from {
            Source::Leg(leg) => known(leg),
            Source::Player(_) => true,
        };
        let fits = known(edge.to) && from_member && self.edges.len() < MAX_EDGES;
        if fits {
            self.edges.insert(key, gain);
        }
        fits
    }

    /// Starts a sound; false if there are too many.
    pub fn play(&mut self, id: PlayerId, sound: Sound, to: Audience, streams: &mut Streams) -> bool {
        self.end_player(id, streams);
        let fits = self.players.len() < MAX_PLAYERS;
        if fits {
            self.players.push(Player::new(id, sound, to));
        }
        fits
    }

    /// Sounds that were added begin, at the rate the room has with them.
    pub fn begin_players(&mut self, streams: &mut Streams) {
        let rate = self.mix.rate;
        self.players.iter_mut().for_each(|player| player.begin(streams, rate));
    }

    pub fn stop(&mut self, id: PlayerId, streams: &mut Streams) {
        self.end_player(id, streams);
        self.edges.retain(|&(_, from), _| from != Source::Player(id));
    }

    /// All sounds end: the room is closed.
    pub fn silence(&mut self, streams: &mut Streams) {
        self.players.drain(..).for_each(|mut player| player.end(streams));
    }

    fn end_player(&mut self, id: PlayerId, streams: &mut Streams) {
        self.players.retain_mut(|player| {
            let ends = player.id == id;
            if ends {
                player.end(streams);
            }
            !ends
        });
    }

    /// How loud `to` hears `player`.
    pub fn player_gain(&self, player: &Player, to: LegId) -> Gain {
        let named = self.edges.get(&(to, Source::Player(player.id))).copied();
        named.unwrap_or(match player.to {
            Audience::Room => Gain::UNITY,
            Audience::Leg(leg) if leg == to => Gain::UNITY,
            Audience::Leg(_) | Audience::Edges => Gain::MUTE,
        })
    }

    /// How loud `to` hears a member that talks.
    pub fn gain(&self, from: Source, to: LegId) -> Gain {
        if self.deaf.contains(&to) || matches!(from, Source::Leg(leg) if self.is_muted(leg)) {
            return Gain::MUTE;
        }
        let unnamed = || match self.matrix {
            Matrix::Everyone if from != Source::Leg(to) => Gain::UNITY,
            Matrix::Everyone | Matrix::Nobody => Gain::MUTE,
        };
        self.edges.get(&(to, from)).copied().unwrap_or_else(unnamed)
    }

    /// Somebody may hear what everybody hears.
    pub fn has_plain_listeners(&self) -> bool {
        self.matrix == Matrix::Everyone
    }

    /// Somebody may hear something else than the rest.
    pub fn has_exceptions(&self) -> bool {
        let own_sound = |player: &Player| matches!(player.to, Audience::Leg(_));
        let named = !self.edges.is_empty() || !self.deaf.is_empty();
        self.matrix == Matrix::Nobody || named || self.players.iter().any(own_sound)
    }

    /// This member has an edge or a sound of its own.
    pub fn is_exception(&self, to: LegId) -> bool {
        let named = || {
            self.edges
                .range((to, Source::Leg(LegId(0)))..)
                .next()
                .is_some_and(|(&(leg, _), _)| leg == to)
        };
        let own_sound = |player: &Player| player.to == Audience::Leg(to);
        let restricted = self.matrix == Matrix::Nobody || self.deaf.contains(&to);
        restricted || named() || self.players.iter().any(own_sound)
    }

    /// What `to` hears. Costs the edges of `to`, not the members, unless it hears exactly one of them.
    pub fn hears(&self, to: LegId) -> Hears {
        if self
            .players
            .iter()
            .any(|player| !self.player_gain(player, to).is_mute())
        {
            return Hears::Several;
        }
        // Who hears nobody because of a restriction is sent silence, so that his phone knows the call is alive.
        if self.deaf.contains(&to) || self.muted.iter().any(|&muted| muted != to) {
            return Hears::Several;
        }
        let mut named_others = 0;
        let mut loud = None;
        for (from, gain) in self.edges_to(to) {
            named_others += usize::from(from != to);
            match loud {
                _ if gain.is_mute() => {}
                None => loud = Some((from, gain)),
                Some(_) => return Hears::Several,
            }
        }
        let others = match self.matrix {
            Matrix::Everyone => self.members.len().saturating_sub(1 + named_others),
            Matrix::Nobody => 0,
        };
        match (others, loud) {
            (0, None) => Hears::Nothing,
            (0, Some((from, Gain::UNITY))) => self.slot(from).map_or(Hears::Nothing, Hears::Only),
            (1, None) => self.only_unnamed(to).map_or(Hears::Nothing, Hears::Only),
            _ => Hears::Several,
        }
    }

    fn edges_to(&self, to: LegId) -> impl Iterator<Item = (LegId, Gain)> {
        let (first, last) = (Source::Leg(LegId(0)), Source::Leg(LegId(u64::MAX)));
        self.edges
            .range((to, first)..=(to, last))
            .filter_map(|(&(_, from), &gain)| match from {
                Source::Leg(leg) => Some((leg, gain)),
                Source::Player(_) => None,
            })
    }

    fn only_unnamed(&self, to: LegId) -> Option<usize> {
        let unnamed = |leg: LegId| leg != to && !self.edges.contains_key(&(to, Source::Leg(leg)));
        self.members
            .iter()
            .find(|&&(leg, _)| unnamed(leg))
            .map(|&(_, slot)| slot)
    }

    fn slot(&self, leg: LegId) -> Option<usize> {
        self.members
            .iter()
            .find(|&&(member, _)| member == leg)
            .map(|&(_, slot)| slot)
    }
}

#[cfg(test)]
impl Room {
    /// No member, and nothing that was said of one: whatever plays is control's.
    pub fn remembers_nobody(&self) -> bool {
        let named = !self.edges.is_empty() || !self.muted.is_empty() || !self.deaf.is_empty();
        let plays_keys = self.players.iter().any(|player| player.id.0 > u64::from(u32::MAX));
        self.members.is_empty() && !named && !plays_keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::Tone;

    const A: LegId = LegId(1);
    const B: LegId = LegId(2);
    const C: LegId = LegId(3);

    fn room(matrix: Matrix, legs: &[LegId]) -> Room {
        let mut room = Room::new(RoomId(1), matrix, Rate::Full);
        legs.iter().zip(10..).for_each(|(&leg, slot)| room.join(leg, slot));
        room
    }

    fn edge(from: LegId, to: LegId, gain: Gain) -> Edge {
        Edge {
            from: Source::Leg(from),
            to,
            gain: Some(gain),
        }
    }

    #[test]
    fn two_members_hear_each_other_and_three_hear_several() {
        let mut room = room(Matrix::Everyone, &[A]);
        assert_eq!(room.hears(A), Hears::Nothing);
        room.join(B, 11);
        assert_eq!((room.hears(A), room.hears(B)), (Hears::Only(11), Hears::Only(10)));
        room.join(C, 12);
        assert_eq!(room.hears(A), Hears::Several);
        room.leave(C);
        assert_eq!(room.hears(A), Hears::Only(11));
    }

    #[test]
    fn muting_one_of_three_leaves_a_pair_for_that_listener() {
        let mut room = room(Matrix::Everyone, &[A, B, C]);
        assert!(room.set_edges(&[edge(C, A, Gain::MUTE)]));
        assert_eq!((room.hears(A), room.hears(B)), (Hears::Only(11), Hears::Several));
        assert!(room.set_edges(&[Edge {
            gain: None,
            ..edge(C, A, Gain::MUTE)
        }]));
        assert_eq!(room.hears(A), Hears::Several);
    }

    #[test]
    fn an_echo_is_an_edge_to_oneself() {
        let mut room = room(Matrix::Everyone, &[A]);
        room.set_edges(&[edge(A, A, Gain::UNITY)]);
        assert_eq!(room.hears(A), Hears::Only(10));
    }

    #[test]
    fn a_whisper_at_another_level_is_mixed() {
        let mut room = room(Matrix::Nobody, &[A, B]);
        assert_eq!(room.hears(A), Hears::Nothing);
        room.set_edges(&[edge(B, A, Gain::from_db(-6.0))]);
        assert_eq!(room.hears(A), Hears::Several);
        room.set_edges(&[edge(B, A, Gain::UNITY)]);
        assert_eq!(room.hears(A), Hears::Only(11));
    }

    #[test]
    fn a_player_is_heard_by_its_audience() {
        let mut room = room(Matrix::Everyone, &[A, B]);
        let (tone, mut streams) = (Sound::Tone(Tone::milliwatt()), Streams::default());
        room.play(PlayerId(1), tone, Audience::Leg(A), &mut streams);
        assert_eq!((room.hears(A), room.hears(B)), (Hears::Several, Hears::Only(10)));
        room.stop(PlayerId(1), &mut streams);
        assert_eq!(room.hears(A), Hears::Only(11));
    }

    #[test]
    fn nobody_hears_the_muted_and_the_deaf_hear_nobody_until_they_leave() {
        let mut room = room(Matrix::Everyone, &[A, B]);
        room.restrict(A, true, false);
        assert_eq!((room.hears(A), room.hears(B)), (Hears::Only(11), Hears::Several));
        assert_eq!(
            (room.gain(Source::Leg(A), B), room.gain(Source::Leg(B), A)),
            (Gain::MUTE, Gain::UNITY)
        );
        room.set_edges(&[edge(A, B, Gain::UNITY)]);
        assert_eq!(room.gain(Source::Leg(A), B), Gain::MUTE);
        room.restrict(A, false, true);
        assert_eq!(
            (room.gain(Source::Leg(A), B), room.gain(Source::Leg(B), A)),
            (Gain::UNITY, Gain::MUTE)
        );
        assert!(room.is_exception(A) && room.has_exceptions());
        room.leave(A);
        room.join(A, 10);
        assert_eq!((room.hears(A), room.hears(B)), (Hears::Only(11), Hears::Only(10)));
    }

    #[test]
    fn edges_of_strangers_are_refused_and_those_of_leavers_forgotten() {
        let mut room = room(Matrix::Everyone, &[A, B]);
        assert!(!room.set_edges(&[edge(C, A, Gain::UNITY)]));
        room.set_edges(&[edge(B, A, Gain::MUTE)]);
        assert_eq!(room.hears(A), Hears::Nothing);
        room.leave(B);
        room.join(B, 11);
        assert_eq!(room.hears(A), Hears::Only(11));
    }
}
